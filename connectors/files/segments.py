"""Remembers the offsets of the lines of each file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from connectors.local.store import Segment

_MOST_LINES = 50_000
"""A segment grows to about so many lines: a restart in its middle counts them from its beginning."""


class SegmentLog:
    """Segments by ascending offset. It keeps what a restart may read again, and the last one of each file.

    >>> log = SegmentLog([], num_kept=10)
    >>> log.add(Segment(0, 2, "a.jsonl", "1", 0, 20))
    >>> log.add(Segment(2, 1, "a.jsonl", "1", 20, 30))
    >>> log.since(1)
    [Segment(first=0, num=3, path='a.jsonl', identity='1', start=0, stop=30)]
    """

    def __init__(self, segments: Iterable[Segment], num_kept: int) -> None:
        """Begin with what a store has; `num_kept` messages before the committed offset are kept."""
        self._all = list(segments)
        self._changed: dict[int, Segment] = {}
        self._num_kept = num_kept

    @property
    def end(self) -> int:
        """The offset behind the last line."""
        return self._all[-1].end if self._all else 0

    def stops(self) -> dict[str, int]:
        """Return identity -> the byte up to which its file was read."""
        return {one.identity: one.stop for one in self._all}

    def add(self, new: Segment) -> None:
        """Take in lines; they continue the last segment where they follow it in the same file."""
        last = self._all[-1] if self._all else None
        if last is not None and _follows(new, last) and last.num < _MOST_LINES:
            new = last._replace(num=last.num + new.num, stop=new.stop)
            self._all[-1] = new
        elif last is not None and last.num == 0:  # only empty lines, so the next one has the same offset
            self._all[-1] = new
        else:
            self._all.append(new)
        self._changed[new.first] = new

    def take_changed(self) -> Sequence[Segment]:
        """Return the segments that are new or have grown since the last call."""
        found, self._changed = list(self._changed.values()), {}
        return found

    def since(self, offset: int) -> list[Segment]:
        """Return the segments with lines from `offset` on, without a hole between them."""
        return [one for one in self._unbroken() if one.end > offset]

    def oldest(self, committed: int) -> int:
        """Return the first offset of the segments that are kept once `committed` is committed."""
        kept = self.since(committed - self._num_kept)
        return kept[0].first if kept else min(committed, self.end)

    def prune(self, committed: int) -> None:
        """Forget segments that no restart needs."""
        oldest = self.oldest(committed)
        if self._all and self._all[0].end < oldest:
            last = {one.identity: one.first for one in self._all}
            self._all = [one for one in self._all if one.end >= oldest or one.first == last[one.identity]]

    def _unbroken(self) -> list[Segment]:
        """Return the newest segments whose offsets follow each other."""
        found: list[Segment] = []
        for one in reversed(self._all):
            if found and one.end != found[-1].first:
                break
            found.append(one)
        return found[::-1]


def _follows(new: Segment, last: Segment) -> bool:
    return (last.identity, last.stop, last.end) == (new.identity, new.start, new.first)
