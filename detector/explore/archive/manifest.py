"""What an archive holds and how far the topics were read: one file, replaced in one step.

Whatever is not in this file does not exist: a process that is killed leaves files that nobody reads. So a row
is in the archive exactly if the offset of its message was passed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from connectors.durable import make_durable
from detector.explore.store.layout import ARCHIVE, Description, ExploreError, of_values

FORMAT = 2


class Segment(msgspec.Struct, frozen=True):
    """A Parquet file of a table.

    name      of the file, in the folder of its table and day
    level     how often its rows were merged
    num_bytes its size
    columns   the same for files of a table with the same columns; "" where that is unknown
    """

    name: str
    level: int
    num_bytes: int
    columns: str = ""


class Place(msgspec.Struct, frozen=True):
    """How far a topic was read.

    identity  of the topic; "" where the broker has none
    offsets   the next offset of each partition
    """

    identity: str
    offsets: dict[int, int]


class Manifest(msgspec.Struct, frozen=True):
    """Hold what an archive holds.

    about     `Description` as plain values (`as_values`)
    group     the prefix of the topics that were read
    topics    how far they were read, by name
    segments  the files, by table and day
    next      the number of the next segment
    events    how many events of incidents and decisions were read: each has its number
    dropped   the newest day that was deleted because of age or size; "" if none
    """

    about: dict[str, Any]
    group: str
    topics: dict[str, Place] = {}
    segments: dict[str, dict[str, tuple[Segment, ...]]] = {}
    next: int = 0
    events: int = 0
    dropped: str = ""
    format: int = FORMAT

    @property
    def description(self) -> Description:
        """The description of the rows."""
        return of_values(self.about)

    def of_table(self, table: str) -> list[tuple[str, Segment]]:
        """Return the files of a table, each with its day, in order."""
        days = self.segments.get(table, {})
        return [(day, one) for day, found in sorted(days.items()) for one in found]


def decoded(content: bytes, place: str) -> Manifest:
    """Return the manifest that a file holds.

    Args:
        content: of the file.
        place: of the file, for messages.

    Raises:
        ExploreError: it is of another format, or cannot be read.
    """
    try:
        found = msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as error:
        raise ExploreError(f"{place}: cannot be read: {error}; name another place with --store") from error
    if found.format != FORMAT:
        raise ExploreError(
            f"{place}: has format {found.format}, and this release reads {FORMAT}: name another place with"
            " --store"
        )
    tables = found.segments.values()
    names = [f"{day}{one.name}" for days in tables for day, some in days.items() for one in some]
    if any("/" in name or "\\" in name or name.startswith(".") for name in names):
        raise ExploreError(f"{place}: names a file outside of the store; name another place with --store")
    return found


def encoded(manifest: Manifest) -> bytes:
    """Return the content of the file."""
    return msgspec.json.encode(manifest)


def write_archive(store: Path, manifest: Manifest) -> None:
    """Replace the file, durably: from now on the archive holds what `manifest` names.

    Raises:
        OSError: the directory cannot be written.
    """
    scratch = store / f".{ARCHIVE}.part"
    scratch.write_bytes(encoded(manifest))
    make_durable(scratch)
    scratch.replace(store / ARCHIVE)
    make_durable(store)
