"""What rebalances of the consumer group took from us and gave us."""

from __future__ import annotations

import threading

from kafka import ConsumerRebalanceListener, TopicPartition


class Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Remembers what happened and does nothing else: it is called on the client's network thread, where
    any blocking call would stop the heartbeats.

    The assignment is eager: all partitions are revoked first and most of them are given back. Lost are
    those that were not given back, and all of a member that was expelled: others may have read on.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_doubt: set[TopicPartition] = set()
        self._lost: set[TopicPartition] = set()
        self.count = 0
        self.joined = False

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        with self._lock:
            self._in_doubt |= set(revoked)
            self.joined = False

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        with self._lock:
            self._lost |= set(lost)
            self.joined = False

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        with self._lock:
            self._lost |= self._in_doubt - set(assigned)
            self._in_doubt = set()
            self.count += 1
            self.joined = True

    def lose(self, partitions: set[TopicPartition]) -> None:
        """Report these as lost: their state is no longer what is committed."""
        with self._lock:
            self._lost |= partitions

    @property
    def has_lost(self) -> bool:
        return bool(self._lost)

    def take_lost(self) -> set[TopicPartition]:
        with self._lock:
            lost, self._lost = self._lost, set()
            return lost
