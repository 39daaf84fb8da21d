"""Delete the saved state of series that were forgotten, so that no restart brings them back.

A tombstone is a message of the state topic without a value. It is written in the transaction in which the
incidents of its series resolve. A replay may still read old readings of the series. The mark of their
partition therefore names the series, until no replay reaches so far back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from connectors.records import Message
from detector.delivery.saved.state_topic import StateTopic
from detector.engine.values import Forgotten


class Tombstones:
    """Makes tombstones, and knows which old readings a replay must leave out. Not thread-safe.

    Args:
        state: the state topic.

    unmarked  partitions with new tombstones, whose mark is to be written
    """

    def __init__(self, state: StateTopic) -> None:
        self._state = state
        self._ends: dict[int, dict[str, int]] = {}
        self._copies: dict[str, set[int]] = {}
        self._obsolete: dict[int, list[bytes]] = {}
        self.unmarked: set[int] = set()

    def begin(
        self,
        partition: int,
        ends: Mapping[str, int],
        copies: Collection[str],
        obsolete: Collection[bytes] = (),
    ) -> None:
        """Continue a partition from its saved state.

        Args:
            partition: its number.
            ends: what its mark said of forgotten series.
            copies: series with an older snapshot here, which lie in another partition now.
            obsolete: keys that no restart may find again, as they lie in the state topic.
        """
        self._obsolete[partition] = sorted(obsolete)
        self._ends[partition] = dict(ends)
        for name in copies:
            self._copies.setdefault(name, set()).add(partition)

    def lose(self, partition: int) -> None:
        """Forget a partition that was lost."""
        self._ends.pop(partition, None)
        self._obsolete.pop(partition, None)
        self.unmarked.discard(partition)
        for places in self._copies.values():
            places.discard(partition)
        self._copies = {name: places for name, places in self._copies.items() if places}

    def of(self, forgotten: Sequence[Forgotten], position: Mapping[int, int]) -> Iterator[Message]:
        """Yield the tombstones of obsolete keys, and of series wherever this process has a snapshot of them.

        Args:
            forgotten: the series.
            position: partition -> the offset to read next.
        """
        for partition in self._obsolete.keys() & position.keys():
            for key in self._obsolete.pop(partition):
                self.unmarked.add(partition)
                yield self._state.deletion(partition, key)
        for one in forgotten:
            here = one.partitions[0]
            for partition in dict.fromkeys((*one.partitions, *sorted(self._copies.pop(one.name, ())))):
                if partition not in position:
                    continue
                is_known = partition == here and one.end > 0
                ends = self._ends.setdefault(partition, {})
                ends[one.name] = one.end if is_known else position[partition]
                self.unmarked.add(partition)
                yield self._state.message(partition, one.name.encode(), None)

    def mark(self, partition: int, replay_from: int) -> dict[str, int]:
        """Return series -> offset before which a replay must leave out its readings, for the next mark.

        Args:
            partition: its number.
            replay_from: the offset from which a replay would read.
        """
        self.unmarked.discard(partition)
        ends = {name: end for name, end in self._ends.get(partition, {}).items() if end > replay_from}
        self._ends[partition] = ends
        return ends
