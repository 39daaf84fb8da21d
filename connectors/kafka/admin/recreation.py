"""Notices that an input topic was deleted and created again, and starts over at its beginning."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from connectors.kafka.topic_consumer import TopicConsumer


class Recreation:
    """Compares the broker's ids of the topics from poll to poll. Not thread-safe.

    Offsets of the old topic mean nothing in the new one, so that its partitions are reported as lost. If the
    reader states where they begin (`awaits_start`), nothing more is needed. Otherwise the oldest offset is
    committed, so that this process and every later one begins there. A broker without ids of topics is never
    compared.
    """

    def __init__(self, consumer: TopicConsumer, commits_beginning: bool) -> None:
        self._consumer, self._rebalances = consumer, consumer.rebalances
        self._commits_beginning = commits_beginning
        self._identity: dict[str, str] = {}
        self._due: frozenset[str] = frozenset()
        self._unread: dict[int, int] = {}

    def usable(
        self, fetched: dict[int, list[Any]], started: Collection[int], lag: Mapping[int, int]
    ) -> dict[int, list[Any]]:
        """Return the records, without those of topics whose partitions are to start over.

        The client learns the id before it fetches from a new topic. So nothing of it is used too early.

        Args:
            fetched: partition -> records that have just arrived.
            started: the partitions that are being read.
            lag: partition -> messages that were not read yet when the lag was last measured.

        Raises:
            KafkaError: the offsets of the new topic cannot be looked up or committed.
        """
        now = {topic: self._consumer.identity(topic) for topic in self._consumer.topics()}
        known = {topic: one for topic, one in now.items() if one}
        changed = {topic for topic, one in known.items() if self._identity.get(topic, one) != one}
        self._identity |= known
        if changed:
            self._due |= changed
            self._unread |= self._of(lag, changed)
        if not self._due:
            return fetched
        due = self._due
        if not self._commits_beginning or (self._rebalances.joined and self._consumer.rewind(due)):
            self._due = frozenset()
            self._rebalances.lose(frozenset(self._of(dict.fromkeys(started, 0), due)))
        return {number: found for number, found in fetched.items() if not self._is_of(number, due)}

    def take_unread(self, assigned: Collection[int]) -> dict[int, int]:
        """Return partition -> messages left unread in an old topic, once, when its partitions start over."""
        if self._due or not (self._unread and assigned):
            return {}
        found = self._of(self._unread, self._consumer.numbers.topics_of(assigned))
        self._unread = {number: num for number, num in self._unread.items() if number not in found}
        return found

    def _of(self, numbers: Mapping[int, int], topics: Collection[str]) -> dict[int, int]:
        return {number: value for number, value in numbers.items() if self._is_of(number, topics)}

    def _is_of(self, number: int, topics: Collection[str]) -> bool:
        return self._consumer.numbers.topic_of(number) in topics
