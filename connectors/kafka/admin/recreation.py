"""Notices that the input topic was deleted and created again, and starts over at its beginning."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from connectors.kafka.topic_consumer import TopicConsumer


class Recreation:
    """Compares the broker's id of the topic from poll to poll. Not thread-safe.

    Offsets of the old topic mean nothing in the new one, so that all partitions are reported as lost. If the
    reader states where they begin (`awaits_start`), nothing more is needed. Otherwise the oldest offset is
    committed, so that this process and every later one begins there. A broker without ids of topics is never
    compared.
    """

    def __init__(self, consumer: TopicConsumer, commits_beginning: bool) -> None:
        self._consumer, self._rebalances = consumer, consumer.rebalances
        self._commits_beginning = commits_beginning
        self._identity, self._is_due = "", False
        self._unread: dict[int, int] = {}

    def usable(
        self, fetched: dict[int, list[Any]], started: Collection[int], lag: Mapping[int, int]
    ) -> dict[int, list[Any]]:
        """Return the records, or none of them while the partitions of another topic are to start over.

        The client learns the id before it fetches from a new topic. So nothing of it is used too early.

        Args:
            fetched: partition -> records that have just arrived.
            started: the partitions that are being read.
            lag: partition -> messages that were not read yet when the lag was last measured.

        Raises:
            KafkaError: the offsets of the new topic cannot be looked up or committed.
        """
        before, now = self._identity, self._consumer.identity()
        self._identity = now or before
        if before and self._identity != before:
            self._is_due, self._unread = True, dict(lag)
        if not self._is_due:
            return fetched
        if not self._commits_beginning or (self._rebalances.joined and self._consumer.rewind()):
            self._is_due = False
            self._rebalances.lose(frozenset(started))
        return {}

    def take_unread(self, assigned: Collection[int]) -> dict[int, int]:
        """Return partition -> messages left unread in the old topic, once, when partitions start over."""
        if self._is_due or not (self._unread and assigned):
            return {}
        found, self._unread = self._unread, {}
        return found
