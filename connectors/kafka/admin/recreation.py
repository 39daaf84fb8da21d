"""Notices that the input topic was deleted and created again, and starts over at its beginning."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from connectors.kafka.topic_consumer import TopicConsumer


class Recreation:
    """Compares the broker's id of the topic from look to look. Not thread-safe.

    Offsets of the old topic mean nothing in the new one. Its oldest offset is committed instead, so that this
    process and every later one begins there. A broker without ids of topics is never compared.
    """

    def __init__(self, consumer: TopicConsumer) -> None:
        self._consumer, self._rebalances = consumer, consumer.rebalances
        self._identity, self._is_due = "", False
        self._unread: dict[int, int] = {}

    def look(self, started: Collection[int], lag: Mapping[int, int]) -> None:
        """Start the partitions over if the topic is another one than before.

        Args:
            started: the partitions that are being read.
            lag: partition -> messages that were not read yet when the lag was last measured.

        Raises:
            KafkaError: the offsets of the new topic cannot be looked up or committed.
        """
        before, now = self._identity, self._consumer.identity()
        self._identity = now or before
        if before and self._identity != before:
            self._is_due, self._unread = True, dict(lag)
        if self._is_due and self._rebalances.joined and self._consumer.rewind():
            self._is_due = False
            self._rebalances.lose(frozenset(started))

    def take_unread(self, assigned: Collection[int]) -> dict[int, int]:
        """Return partition -> messages left unread in the old topic, once, when partitions start over."""
        if self._is_due or not (self._unread and assigned):
            return {}
        found, self._unread = self._unread, {}
        return found
