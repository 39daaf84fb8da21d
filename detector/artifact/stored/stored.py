"""Read a model on object storage: which version is current, and the files of versions.

    s3://bucket/models/pump/8546cced512f/   a version, as in a directory; artifact.json is written last
    s3://bucket/models/pump/journal/        an object for each event (see `event_names` beside this)
    s3://bucket/models/pump/feedback/       opinions, some lines an object
    s3://bucket/models/pump/current         of an entry that was copied there from a directory: what is in use
                                            until the first event

An object appears when it is complete, so a version with its description is complete.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from connectors.objects.objects import Objects
from detector.artifact.description.manifest import MANIFEST
from detector.artifact.stored.event_names import FOLDER, MOVES, EventName, names_of, pointer_of

POINTER = "current"
_VERSION = re.compile(r"[0-9a-f]{12}")
_FETCHERS = 8


def pointer_at(objects: Objects, names: tuple[EventName, ...] | None = None) -> str | None:
    """Return what an entry says is current, unchecked; None where there is no entry, as at a single version.

    Args:
        objects: the objects of the entry.
        names: of its events, if they are known.

    Raises:
        ObjectsError: the store cannot be read.
    """
    if names is None:
        names = names_of(objects.list(FOLDER))
    if any(one.action in MOVES for one in names):
        return pointer_of(names)
    content = objects.read(POINTER)
    return None if content is None else content[:64].decode(errors="replace").strip()


def manifests_of(written: Mapping[str, float]) -> dict[str, float]:
    """Return the complete versions among objects, and when each was written, seconds since the epoch."""
    found = {name.partition("/")[0]: at for name, at in written.items() if name.endswith(f"/{MANIFEST}")}
    return {name: at for name, at in found.items() if _VERSION.fullmatch(name)}


def download(objects: Objects, wanted: Mapping[str, float], directory: Path) -> None:
    """Write objects to files of the same names, several at a time, with their times.

    Args:
        objects: where they are.
        wanted: name -> when it was written, seconds since the epoch.
        directory: where to.

    Raises:
        ObjectsError: the store cannot be read.
        FileNotFoundError: an object is gone.
        OSError: a file cannot be written.
    """

    def fetch(name: str) -> None:
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        objects.download(name, file)
        os.utime(file, (wanted[name],) * 2)

    with ThreadPoolExecutor(_FETCHERS) as fetchers:
        list(fetchers.map(fetch, wanted))


def read_all(objects: Objects, names: Iterable[str]) -> list[bytes]:
    """Return the contents of objects, in the order of the names; b"" for one that is gone."""
    with ThreadPoolExecutor(_FETCHERS) as fetchers:
        return [content or b"" for content in fetchers.map(objects.read, names)]
