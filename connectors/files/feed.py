"""Reads lines of files: one after the other, and what is appended to them.

Every line takes the next offset. The store remembers the offsets of the lines of each file, so that a
restart reads the same lines again (`connectors.local.store.Segment`).
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from connectors.errors import FilesError
from connectors.files.reread import Reread, messages_of
from connectors.files.segments import SegmentLog
from connectors.files.tail import files_of, identity_of, open_file, take_lines
from connectors.local.source import Feed
from connectors.local.store import Segment
from connectors.records import Raw

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0


@dataclass(slots=True)
class _Open:
    """A file that is read: its place, the byte to read next, and whether its path names another file now."""

    path: Path
    descriptor: int
    identity: str
    at: int
    is_renamed: bool = False


class FileFeed:
    """A feed over files. Empty lines are no messages.

    Order: the files by name, each from its beginning; then, when following, whatever is appended. A file
    that is renamed is read to its end. One that gets shorter is read from its beginning again.
    """

    def __init__(
        self,
        pattern: str,
        is_followed: bool,
        segments: Iterable[Segment] = (),
        num_kept: int = 0,
        is_continued: bool = False,
    ) -> None:
        """Find the files.

        Args:
            pattern: a file, a directory, or a pattern such as `data/*.jsonl`.
            is_followed: wait for further lines and files; otherwise end behind the last line.
            segments: what the store has of an earlier process.
            num_kept: most messages before the committed offset that are read again after a restart.
            is_continued: another process goes on here, so that a last line without an end is left to it.

        Raises:
            FilesError: there is no file, and nothing to wait for.
        """
        self._pattern, self._is_followed = str(Path(pattern).absolute()), is_followed
        self._may_grow = is_followed or is_continued
        self._log = SegmentLog(segments, num_kept)
        self._known = self._log.stops()
        self._open: dict[str, _Open] = {}
        self._coming: deque[Path] = deque()
        self._reread = Reread()
        self._looked_at = -_LOOK_SECONDS
        if not is_followed:
            self._coming.extend(files_of(self._pattern))
            if not self._coming:
                raise FilesError(f"[source] path: {pattern}: no such file; set follow = true to wait for one")

    def seek(self, offset: int) -> int:
        """Read the lines from `offset` on again, as far as their files still have them.

        Lines before it that were never read are left out.
        """
        while self._log.end < offset and self.fetch(self._log.end, offset - self._log.end, 0.0):
            pass
        return self._reread.begin(self._log.since(offset), offset, max(offset, self._log.end))

    def fetch(self, first: int, limit: int, timeout_seconds: float) -> list[Raw] | None:
        """Return the next lines; None behind the last one, if the files are not followed."""
        if self._reread.is_going_on:
            return self._reread.read(limit)
        found: list[Raw] = []
        while not found and (self._look() or self._open):
            found = self._read(first, limit)
            if self._is_followed:
                break
        if self._is_followed:
            if not found:
                time.sleep(timeout_seconds)
            return found
        return found or None

    def take_segments(self) -> Sequence[Segment]:
        """Return the segments that are new or have grown."""
        return self._log.take_changed()

    def committed(self, offset: int) -> None:
        """Forget segments that no restart needs, as the store does."""
        self._log.prune(offset)

    def earliest(self, committed: int) -> int:
        """Return the oldest offset that is kept."""
        return self._log.oldest(committed)

    @property
    def is_connected(self) -> bool:
        """True: files are always there."""
        return True

    def close(self) -> None:
        """Close the files."""
        for one in self._open.values():
            os.close(one.descriptor)
        self._open.clear()
        self._coming.clear()

    def _read(self, first: int, limit: int) -> list[Raw]:
        """Return new lines of all files, and remember where they were."""
        found: list[Raw] = []
        for one in list(self._open.values()):
            while len(found) < limit:
                is_whole = one.is_renamed or not self._may_grow
                lines, stop = take_lines(one.descriptor, one.at, limit - len(found), is_whole)
                if stop == one.at:
                    self._done_with(one)
                    break
                at = first + len(found)
                messages = messages_of(one.path, lines, at)
                self._log.add(Segment(at, len(messages), str(one.path), one.identity, one.at, stop))
                one.at = stop
                found += messages
        return found

    def _done_with(self, one: _Open) -> None:
        """Close a file that was read to its end and grows no more; begin again with one that got shorter."""
        size = os.fstat(one.descriptor).st_size
        is_shorter = size < one.at
        if is_shorter:
            logger.warning("%s is shorter than before: reading it from its beginning", one.path)
        if not (is_shorter or one.is_renamed or not self._is_followed):
            return
        if size > one.at:
            logger.warning("%s: its last line has no end yet, and is left for the next run", one.path)
        os.close(one.descriptor)
        del self._open[one.identity]
        self._known[one.identity] = 0 if is_shorter else one.at
        if is_shorter:
            self._looked_at = -_LOOK_SECONDS

    def _look(self) -> bool:
        """Open the next file; when following, every new file, and notice those that were renamed.

        Returns whether there was a file to open.
        """
        if not self._is_followed:
            is_more = bool(self._coming) and not self._open
            if is_more:
                self._begin(self._coming.popleft())
            return is_more
        if time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return False
        self._looked_at = time.monotonic()
        present = {self._begin(path) for path in files_of(self._pattern)}
        for identity, one in self._open.items():
            one.is_renamed = identity not in present
        return True

    def _begin(self, path: Path) -> str:
        """Open a file unless it is open already; return its identity."""
        descriptor = open_file(path)
        if descriptor is None:
            return ""
        identity = identity_of(descriptor, not self._is_followed)
        if identity in self._open:
            self._open[identity].path = path
        if identity in self._open or not identity:
            os.close(descriptor)
        else:
            self._open[identity] = _Open(path, descriptor, identity, self._known.get(identity, 0))
        return identity


if TYPE_CHECKING:
    _: type[Feed] = FileFeed
