"""Events that the Kafka client reports on its own network thread, kept until the next poll.

A blocking call on that thread would stop the heartbeats, so both classes only take notes under a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.protocol.consumer import OffsetResetStrategy

from connectors.partition_numbers import PartitionNumbers


class Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Records which partitions the group took away and assigned.

    Assignment is eager: all partitions are revoked first, and most of them come back. Lost are the ones
    that do not come back, and all partitions of a process that was expelled: others may have read on.
    """

    def __init__(self, numbers: PartitionNumbers) -> None:
        self._lock, self._numbers = threading.Lock(), numbers
        self._revoked: set[int] = set()
        self._lost: set[int] = set()
        self.count = 0
        self.joined = False
        self._taken = self._followed = 0

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Note partitions that may come back with the next assignment."""
        with self._lock:
            self._revoked |= self._of(revoked)
            self.joined = False

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        """Note partitions of a process that was expelled."""
        with self._lock:
            self._lost |= self._of(lost)
            self.joined = False

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Note an assignment: revoked partitions that are not in it are lost."""
        with self._lock:
            self._lost |= self._revoked - self._of(assigned)
            self._revoked = set()
            self.count += 1
            self.joined = True

    def lose(self, partitions: frozenset[int]) -> None:
        """Report these as lost: the state built from them differs from what is committed."""
        with self._lock:
            self._lost |= partitions

    @property
    def has_lost(self) -> bool:
        """Whether `take_lost` would return any partition."""
        return bool(self._lost)

    def take_lost(self) -> frozenset[int]:
        """Return the partitions lost since the last call."""
        with self._lock:
            lost, self._lost = self._lost, set()
            self._taken = self.count
            return frozenset(lost)

    def follow(self) -> None:
        """Note that the reader has acted on everything up to the last `take_lost`."""
        self._followed = self._taken

    @property
    def is_followed(self) -> bool:
        """Whether this process is in the group and the reader has acted on the newest assignment."""
        return self.joined and self._followed == self.count

    def _of(self, partitions: set[TopicPartition]) -> set[int]:
        return {self._numbers.number(tp.topic, tp.partition) for tp in partitions}


class DeletedOffsets:
    """Notices that the consumer asked for an offset which the log no longer holds.

    Reading then resumes at the oldest offset that is left. The client alone would obey
    `auto_offset_reset`, which is meant for a new group: `latest` would skip everything that is left, and
    only the client's log would mention it.

    It replaces a method of the client's subscription state (kafka-python 3.0.12, which is pinned;
    tests/connectors/kafka/test_source.py fails with a version that works differently).
    """

    def __init__(self, subscription: Any, numbers: PartitionNumbers) -> None:
        """`subscription` is the consumer's subscription state."""
        self._lock, self._numbers = threading.Lock(), numbers
        self._wanted: dict[int, int] = {}
        self._subscription, self._reset = subscription, subscription.request_offset_reset
        subscription.request_offset_reset = self._request

    def _request(self, partition: TopicPartition, strategy: int | None = None) -> None:
        state = self._subscription.assignment.get(partition)
        if strategy is None and state is not None and state.position is not None:
            strategy = OffsetResetStrategy.EARLIEST
            number = self._numbers.number(partition.topic, partition.partition)
            with self._lock:
                self._wanted[number] = state.position.offset
        self._reset(partition, strategy)

    def forget(self, partitions: Iterable[int]) -> None:
        """Forget partitions that are read from another offset now, or by another process."""
        with self._lock:
            for number in partitions:
                self._wanted.pop(number, None)

    def passed(
        self, positions: Mapping[int, int], records: Mapping[int, list[Any]]
    ) -> dict[int, tuple[int, int]]:
        """Return (offset wanted, offset read instead) of each partition that has resumed; each once.

        Args:
            positions: partition -> next offset, of the partitions to report.
            records: what was just read; some of it may be older than the deletion.
        """
        resumed = {}
        with self._lock:
            for number, wanted in self._wanted.items():
                newer = (record.offset for record in records.get(number, ()) if record.offset > wanted)
                at = next(newer, positions.get(number, wanted))
                if at != wanted:
                    resumed[number] = (wanted, at)
            for number in resumed:
                del self._wanted[number]
        return resumed
