"""Reads lines again that were read before, by the segments in which they lie."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from connectors.files.tail import identity_of, open_file, take_lines
from connectors.local.store import Segment
from connectors.records import Raw

logger = logging.getLogger(__name__)


class Reread:
    """Lines that come again, with the offsets that they had."""

    def __init__(self) -> None:
        self._left: deque[Segment] = deque()

    @property
    def is_going_on(self) -> bool:
        """Whether lines are left."""
        return bool(self._left)

    def begin(self, segments: Sequence[Segment], offset: int, end: int) -> int:
        """Read again from `offset`; return the offset of the first line, `end` where there is none.

        Lines before a segment whose file is gone or changed are left out, since offsets have no holes.
        """
        usable: deque[Segment] = deque()
        for one in reversed(segments):
            part = _usable(one, offset)
            if part is None:
                logger.warning("%s was deleted or changed: its lines are not read again", one.path)
                break
            usable.appendleft(part)
        self._left = usable
        return usable[0].first if usable else end

    def read(self, limit: int) -> list[Raw]:
        """Return at most `limit` lines of the next segment."""
        one = self._left.popleft()
        lines, stop = _lines(one, min(limit, one.num))
        found = messages_of(Path(one.path), lines, one.first)
        if len(found) < one.num and stop < one.stop:
            rest = one._replace(first=one.first + len(found), num=one.num - len(found), start=stop)
            self._left.appendleft(rest)
        return found


def messages_of(path: Path, lines: Sequence[bytes], first: int) -> list[Raw]:
    """Return lines as messages, numbered from `first`. The topic is the file's name, without its end."""
    topic = path.stem
    texts = [text for line in lines if (text := line.removesuffix(b"\r"))]
    return [Raw(topic, 0, first + number, -1, None, text) for number, text in enumerate(texts)]


def _usable(one: Segment, offset: int) -> Segment | None:
    """Return the part of a segment from `offset` on; None where its file does not have it any more."""
    descriptor = open_file(Path(one.path))
    if descriptor is None:
        return None
    try:
        if os.fstat(descriptor).st_size < one.stop:
            return None
        if one.identity not in (identity_of(descriptor, False), identity_of(descriptor, True)):
            return None
    finally:
        os.close(descriptor)
    while one.first < offset:
        lines, stop = _lines(one, offset - one.first)
        num = len(messages_of(Path(one.path), lines, 0))
        one = one._replace(first=one.first + num, num=one.num - num, start=stop)
    return one


def _lines(one: Segment, limit: int) -> tuple[Sequence[bytes], int]:
    descriptor = open_file(Path(one.path))
    if descriptor is None:
        return [], one.stop
    try:
        return take_lines(descriptor, one.start, limit, is_whole=True)
    finally:
        os.close(descriptor)
