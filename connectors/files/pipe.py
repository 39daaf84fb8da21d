"""Reads lines from standard input: each line is a message."""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from connectors.files.lines import Lines
from connectors.local.source import Feed
from connectors.local.store import Segment
from connectors.records import Raw

_BYTES = 1 << 16
TOPIC = "stdin"


class PipeFeed:
    """A feed over a pipe. Empty lines are no messages.

    Promise: none for what this process has read from the pipe and not committed. A kill loses it, because a
    pipe forgets what was read.
    """

    def __init__(self, descriptor: int = 0) -> None:
        """Read from a file descriptor; the caller closes it."""
        self._descriptor, self._lines = descriptor, Lines()
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._uncommitted: deque[Raw] = deque()
        self._again: deque[Raw] = deque()
        self._is_over = False

    def seek(self, offset: int) -> int:
        """Give again what was not committed; everything else is gone."""
        self._again = deque(raw for raw in self._uncommitted if raw.offset >= offset)
        return self._again[0].offset if self._again else offset

    def fetch(self, first: int, limit: int, timeout_seconds: float) -> list[Raw] | None:
        """Return lines as messages, with the time at which they were read; None at the end of the pipe."""
        if self._again:
            return [self._again.popleft() for _ in range(min(limit, len(self._again)))]
        self._read(limit, timeout_seconds)
        if not self._waiting and self._is_over:
            return None
        found = []
        for number in range(min(limit, len(self._waiting))):
            at_ms, line = self._waiting.popleft()
            found.append(Raw(TOPIC, 0, first + number, at_ms, None, line))
        self._uncommitted.extend(found)
        return found

    def take_segments(self) -> Sequence[Segment]:
        """Return none: a pipe has no places."""
        return ()

    def committed(self, offset: int) -> None:
        """Forget what is committed."""
        while self._uncommitted and self._uncommitted[0].offset < offset:
            self._uncommitted.popleft()

    def earliest(self, committed: int) -> int:
        """Return the committed offset: nothing before it comes again."""
        return committed

    @property
    def is_connected(self) -> bool:
        """True: the pipe is open, or has ended."""
        return True

    def close(self) -> None:
        """Do nothing: the pipe is not ours."""

    def _read(self, limit: int, timeout_seconds: float) -> None:
        """Wait for bytes, then take what is there without waiting."""
        wait = 0.0 if self._waiting else timeout_seconds
        while not self._is_over and len(self._waiting) < limit:
            ready, _, _ = select.select([self._descriptor], [], [], wait)
            if not ready:
                return
            data, wait = os.read(self._descriptor, _BYTES), 0.0
            now_ms = time.time_ns() // 1_000_000
            lines = self._lines.cut(data)
            if not data:
                self._is_over = True
                rest = self._lines.rest()
                lines = [] if rest is None else [rest]
            self._waiting.extend((now_ms, line) for line in lines if line)


if TYPE_CHECKING:
    _: type[Feed] = PipeFeed
