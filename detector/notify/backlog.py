"""What is read and not delivered yet: in order within a series, taking turns between them, bounded.

A series whose message the receiver keeps failing on holds nobody else back, and the position to commit never
passes a message that is neither delivered nor given up.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pending(Generic[T]):
    """Something to be delivered, and where it was read."""

    series: str
    partition: int
    offset: int
    what: T


class Backlog(Generic[T]):
    """Pending messages of one receiver. `room` is how many more it should be given."""

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
        return max(0, self._bound - self._num)

    def passed(self, partition: int, offset: int) -> None:
        """Everything up to this offset was read, and needs no delivery but for what is pending."""
        self._next[partition] = max(offset + 1, self._next.get(partition, 0))

    def add(self, pending: Pending[T]) -> None:
        """Put it behind what its series has already."""
        self._series.setdefault(pending.series, deque()).append(pending)
        self._offsets.setdefault(pending.partition, set()).add(pending.offset)
        self._num += 1

    def head(self) -> Pending[T] | None:
        """The oldest of the series whose turn it is."""
        return next(iter(self._series.values()))[0] if self._series else None

    def done(self) -> None:
        """The head was delivered or given up; the next series has its turn."""
        series, queue = next(iter(self._series.items()))
        pending = queue.popleft()
        self._offsets[pending.partition].discard(pending.offset)
        self._num -= 1
        self.turn()
        if not queue:
            del self._series[series]

    def turn(self) -> None:
        """The head stays, and the next series has its turn."""
        self._series.move_to_end(next(iter(self._series)))

    def position(self) -> Mapping[int, int]:
        """Partition -> the offset before which everything was dealt with."""
        found = dict(self._next)
        for partition, offsets in self._offsets.items():
            if offsets:
                found[partition] = min(offsets)
        return found

    def clear(self) -> None:
        """Forget everything: it is read again."""
        self._series.clear()
        self._offsets.clear()
        self._next.clear()
        self._num = 0
