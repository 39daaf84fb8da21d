"""Delete a version on object storage, unless somebody publishes it again or uses it meanwhile.

A process that publishes writes its event first, and looks for the files then. This one deletes a file first,
and looks for events then. So of two at once, at least one sees the other, and puts the files back.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from connectors.objects.objects import Objects
from detector.artifact import storage as artifacts
from detector.artifact.description.manifest import MANIFEST
from detector.artifact.stored.event_names import FOLDER, MOVES, EventName, names_of, next_name, removed_of
from detector.artifact.stored.stored import download
from detector.errors import ArtifactError
from detector.journal import Event


def delete(objects: Objects, version: str, before: Sequence[EventName], at: str) -> str:
    """Delete the files of a version, its description first, after the event of its removal was written.

    Args:
        objects: of the entry.
        version: the version.
        before: the events from before its removal.
        at: when it was removed, for the event that takes the removal back.

    Returns:
        What somebody did with the version meanwhile, in words: it stays. Empty if it is gone.

    Raises:
        ObjectsError: the store cannot be read or written.
    """
    files = objects.written(version)
    left = sorted(files, key=lambda one: (not one.endswith(f"/{MANIFEST}"), one))
    with tempfile.TemporaryDirectory(prefix="streamgauge-version-") as scratch:
        with contextlib.suppress(FileNotFoundError):  # another process deletes it too
            download(objects, files, Path(scratch))
        names = names_of(objects.list(FOLDER))
        while not (what := _meanwhile(version, names, before)):
            if not left:
                return ""
            objects.remove(left.pop(0))
            names = names_of(objects.list(FOLDER))
        if _is_sound(Path(scratch, version)):
            complete(objects, Path(scratch, version))
    if version in removed_of(names):
        why = "its removal was taken back: it came into use at the same moment"
        back = Event("published", version, "", at, why=why)
        objects.write(next_name(names, "published", version).path, json.dumps(asdict(back)).encode())
    return what


def complete(objects: Objects, directory: Path) -> None:
    """Write those files of a version that the store lacks, its description last.

    Args:
        objects: of the entry.
        directory: the version, whole; its name is the version.
    """
    known = frozenset(objects.list(directory.name))
    for path in files_of(directory):
        name = path.relative_to(directory.parent).as_posix()
        if name not in known:
            objects.upload(path, name)


def files_of(directory: Path) -> list[Path]:
    """Return the files of a version in the order in which they are written: its description is the last."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != MANIFEST)
    return [*files, directory / MANIFEST]


def _meanwhile(version: str, names: Sequence[EventName], before: Sequence[EventName]) -> str:
    """Return what others did with a version since some events, in words; empty if nothing."""
    actions = {one.action for one in names if one.version == version and one not in before}
    if actions & set(MOVES):
        return f"made {version} the current version"
    return f"published {version} again" if "published" in actions else ""


def _is_sound(directory: Path) -> bool:
    try:
        return artifacts.load(directory).version == directory.name
    except ArtifactError:
        return False
