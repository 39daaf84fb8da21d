"""Numbers that stand for the partitions of one topic or of several, for one process and its lifetime.

    >>> PartitionNumbers("pumps").number("pumps", 3)
    3
    >>> numbers = PartitionNumbers()
    >>> numbers.number("pumps", 3), numbers.number("presses", 3), numbers.place(1)
    (0, 1, ('presses', 3))

Nothing that is saved may hold such a number: it has the topic and the partition.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from connectors.records import Position


class PartitionNumbers:
    """Gives each partition a small number. Any thread may use it.

    Of one topic it is the partition's own number. Of several topics it is the next free one when the
    partition is met for the first time.

    Args:
        topic: the only topic; empty where there may be several.
    """

    def __init__(self, topic: str = "") -> None:
        self.topic = topic
        self._lock = threading.Lock()
        self._number: dict[tuple[str, int], int] = {}
        self._places: list[tuple[str, int]] = []

    def number(self, topic: str, partition: int) -> int:
        """Return the number of a partition."""
        if self.topic:
            return partition
        with self._lock:
            found = self._number.setdefault((topic, partition), len(self._places))
            if found == len(self._places):
                self._places.append((topic, partition))
            return found

    def place(self, number: int) -> tuple[str, int]:
        """Return the topic and the partition of a number that was given."""
        return (self.topic, number) if self.topic else self._places[number]

    def topic_of(self, number: int) -> str:
        """Return the topic of a number that was given."""
        return self.place(number)[0]

    def topics_of(self, numbers: Iterable[int]) -> frozenset[str]:
        """Return the topics of numbers that were given."""
        return frozenset(self.place(number)[0] for number in numbers)

    def of(self, position: Position) -> dict[int, int]:
        """Return number -> offset."""
        return {self.number(*place): offset for place, offset in position.items()}

    def position(self, offsets: Mapping[int, int]) -> dict[tuple[str, int], int]:
        """Return (topic, partition) -> offset."""
        return {self.place(number): offset for number, offset in offsets.items()}

    def words(self, number: int) -> dict[str, Any]:
        """Return how a log names a partition: by its topic too, where there are several."""
        topic, partition = self.place(number)
        return {"partition": partition} if self.topic else {"topic": topic, "partition": partition}
