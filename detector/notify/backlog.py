"""Changes that were read and not delivered yet: a bounded queue, in order within a series.

The series take turns. A series whose change keeps failing delays no other series. The position to commit
never passes a change that is neither delivered nor dropped.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pending(Generic[T]):
    """A payload to deliver, with the place of its message in the topic."""

    series: str
    partition: int
    offset: int
    payload: T


class Backlog(Generic[T]):
    """Pending payloads of one receiver.

    >>> backlog = Backlog[str](bound=10)
    >>> for offset, series in enumerate(["pump", "pump", "fan"]):
    ...     backlog.add(Pending(series, 0, offset, f"{series}-{offset}"))
    ...     backlog.mark_read(0, offset)
    >>> backlog.finish_head()  # pump-0 was delivered, so it is the turn of the fan
    >>> backlog.head().payload, backlog.positions()
    ('fan-2', {0: 1})
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._series: OrderedDict[str, deque[Pending[T]]] = OrderedDict()
        self._offsets: dict[int, set[int]] = {}
        self._next: dict[int, int] = {}
        self._num = 0

    def __len__(self) -> int:
        return self._num

    @property
    def room(self) -> int:
        """How many more payloads the caller should add before the next delivery."""
        return max(0, self._bound - self._num)

    def mark_read(self, partition: int, offset: int) -> None:
        """Note that everything up to and including `offset` was read."""
        self._next[partition] = max(offset + 1, self._next.get(partition, 0))

    def add(self, pending: Pending[T]) -> None:
        """Append it to the queue of its series."""
        self._series.setdefault(pending.series, deque()).append(pending)
        self._offsets.setdefault(pending.partition, set()).add(pending.offset)
        self._num += 1

    def head(self) -> Pending[T] | None:
        """Return the oldest entry of the series whose turn it is; None where nothing is pending."""
        return next(iter(self._series.values()))[0] if self._series else None

    def finish_head(self) -> None:
        """Remove the head, which was delivered or dropped; the next series has its turn."""
        series, queue = next(iter(self._series.items()))
        pending = queue.popleft()
        self._offsets[pending.partition].discard(pending.offset)
        self._num -= 1
        self.rotate()
        if not queue:
            del self._series[series]

    def rotate(self) -> None:
        """Keep the head for a later attempt; the next series has its turn."""
        self._series.move_to_end(next(iter(self._series)))

    def positions(self) -> Mapping[int, int]:
        """Return the offset to commit for each partition: everything before it is delivered or dropped."""
        found = dict(self._next)
        for partition, offsets in self._offsets.items():
            if offsets:
                found[partition] = min(offsets)
        return found

    def clear(self) -> None:
        """Discard everything: it is read again."""
        self._series.clear()
        self._offsets.clear()
        self._next.clear()
        self._num = 0
