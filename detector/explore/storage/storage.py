"""Where an archive is kept: what its readers and its one owner need of a directory or an object storage."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from detector.explore.archive.manifest import Manifest
from detector.explore.store.database import Database
from detector.explore.store.layout import ExploreError

BEAT_SECONDS = 5.0
"""The owner gives a sign so often."""
PATIENCE_SECONDS = 30.0
"""An owner that gives no sign for so long has ended."""
GRACE_SECONDS = 660.0
"""A file that was merged stays for so long: a computation of ten minutes may still open it."""


OnFetch = Callable[[int, int], None]
"""Is called with the number of files that were fetched, and of those that had to be."""


def say_nothing(done: int, of: int) -> None:
    """Follow nothing."""


class OwnershipLostError(ExploreError):
    """Another process archives into the store now: this one must end, and has changed nothing since."""


class Sign(msgspec.Struct, frozen=True):
    """What the owner of an archive says about itself, again and again.

    host, pid  where it runs
    beat       differs from one sign to the next
    problem    why it cannot go on; "" if it can
    ended      whether it has stopped, and another one may begin
    """

    host: str
    pid: int
    beat: int
    problem: str = ""
    ended: bool = False

    @property
    def who(self) -> str:
        """The process, for people."""
        return f"process {self.pid} on {self.host}"


def sign_of(beat: int, problem: str = "", ended: bool = False) -> Sign:
    """Return a sign of this process."""
    return Sign(socket.gethostname(), os.getpid(), beat, problem, ended)


@dataclass(frozen=True, slots=True)
class SegmentKey:
    """Name a segment: its table, its day such as "2026-01-31", and the name of the file."""

    table: str
    day: str
    name: str

    @property
    def path(self) -> str:
        """Its path from the root of the store."""
        return f"{self.table}/day={self.day}/{self.name}"


class Storage(Protocol):
    """The place of one archive. `look` and `prefetch` belong to one thread, the rest to any.

    One process at a time owns it. All calls from `write` on are the owner's.
    """

    name: str
    append_seconds: float
    look_seconds: float

    def look(self) -> tuple[Manifest | None, Sign | None]:
        """Return what the archive holds, and the newest sign of its owner.

        While nothing changes the manifest is the same object. Raises ExploreError or ObjectsError.
        """

    def strangers(self) -> list[str]:
        """Return names of files at the root that are of something else; none if it is empty or an archive."""

    def prefetch(self, manifest: Manifest, on_fetch: OnFetch = say_nothing) -> None:
        """Make what the first page needs quick to read. `on_fetch` follows what takes time."""

    def database(self, memory: str = "1GB") -> Database:
        """Return a database that can read the segments; `memory` is the most of all queries."""

    def url(self, key: SegmentKey) -> str:
        """Return the path by which the database opens a segment."""

    def claim(self) -> Sign | None:
        """Become the owner. Return None then, else the sign of the owner that there is.

        Raises ExploreError, ObjectsError or OSError if the place cannot be written.
        """

    def write(self, manifest: Manifest) -> None:
        """Replace what the archive holds, durably and in one step.

        Raises OwnershipLostError, ObjectsError or OSError.
        """

    def beat(self, problem: str) -> None:
        """Give a sign. Raises as `write`."""

    def segment_name(self, number: int) -> str:
        """Return the name of a new segment; no other one has it."""

    def scratch(self, key: SegmentKey) -> Path:
        """Return the file into which the database writes a segment."""

    def complete(self, key: SegmentKey) -> int:
        """Make a segment of its scratch file, durably; return its size in bytes. Raises as `write`."""

    def segments(self) -> list[SegmentKey]:
        """Return all files of tables that there are, also those that nobody names."""

    def remove(self, keys: Iterable[SegmentKey]) -> None:
        """Delete segments that the manifest did not name when it was last written. Raises as `write`."""

    def release(self) -> None:
        """Give the ownership back, if this process has it. What fails is left to the patience of others."""
