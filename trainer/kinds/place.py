"""The entry of a kind in a registry: a directory, or the copy of an entry on object storage."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from connectors.objects.names import cache_of, is_remote, local_path, name_of, without_secrets
from connectors.objects.objects import Objects
from detector.lifecycle.working_copy import WorkingCopy

Result = TypeVar("Result")


def kept_of(place: str) -> Path:
    """Return the local directory where the training of an entry keeps its checkpoints."""
    return cache_of(place) if is_remote(place) else Path(local_path(place))


def on_entry(place: str, work: Callable[[Path], Result]) -> Result:
    """Do work on an entry; where it is a URI, on a copy of it, which is written back afterwards.

    The work is done once more if another process published the first version of the entry meanwhile.

    Args:
        place: The directory or URI of the entry.
        work: Changes the directory that it gets.

    Returns:
        What the work returned.

    Raises:
        ArtifactError, ObjectsError: The store cannot be used, or another process moved what is current.
    """
    if not is_remote(place):
        return work(Path(local_path(place)))
    while True:
        with tempfile.TemporaryDirectory(prefix="streamgauge-train-") as scratch:
            entry = Path(scratch, name_of(place))
            try:
                copy = WorkingCopy(Objects(place), entry)
                result = work(entry)
                if copy.push().was_first:
                    return result
            except Exception as error:
                shown = without_secrets(place)
                error.args = tuple(
                    one.replace(str(entry), shown) if isinstance(one, str) else one for one in error.args
                )
                raise
