"""Feedback on the incidents of a model, wherever the model is."""

from __future__ import annotations

from pathlib import Path

from connectors.objects.names import above, is_remote, local_path
from connectors.objects.objects import Objects
from detector.artifact.description.manifest import MANIFEST
from detector.artifact.stored.stored import read_all
from detector.calibration.feedback import FILE, Feedback, feedback_of, read_feedback

FOLDER = "feedback"
"""Objects below it have some lines of feedback each; they are read in the order of their names."""


def feedback_at(location: str) -> tuple[Feedback, ...]:
    """Return the newest opinion on each incident of a model; empty if there is none.

    Args:
        location: a registry entry, one version of it, or the URI of either; a version has that of its entry.

    Raises:
        DetectorError: it cannot be read, or a line is damaged.
        ObjectsError: the store cannot be read.
    """
    if not is_remote(location):
        path = Path(local_path(location)).resolve()
        return read_feedback(path.parent if (path / MANIFEST).exists() else path)
    objects = Objects(location)
    if objects.read(MANIFEST) is not None:
        objects = Objects(above(location))
    contents = read_all(objects, [FILE, *objects.list(FOLDER)])
    lines = b"\n".join(content for content in contents if content.strip())
    return feedback_of(lines.decode(errors="replace"), f"{objects.uri}: {FOLDER}")
