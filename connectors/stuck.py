"""Partitions that stay where they are although their log goes on."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from kafka import KafkaConsumer, TopicPartition, errors

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 10.0
_LOOKUP_MS = 1_000


class Stuck:
    """Asks the broker for the end of every partition that has not moved for a while. One that is behind, and
    still there after a while more, is asked for anew: the client (kafka-python 3.0.12) has been seen to wait
    for ever after a broker was killed and the network cut, and knows ends from its own fetches alone, so that
    nothing would look late. Not thread-safe.
    """

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self._since: dict[TopicPartition, tuple[int, float]] = {}
        self._behind: dict[TopicPartition, int] = {}
        self._asked_at = 0.0
        self.ends: dict[TopicPartition, int] = {}

    def look(self, positions: Mapping[TopicPartition, int], now: float) -> None:
        """`positions` are the offsets to be read next, `now` is a monotonic clock."""
        self._since = {tp: self._still(tp, at, now) for tp, at in positions.items()}
        idle = [tp for tp, (_, since) in self._since.items() if now - since >= _PATIENCE_SECONDS]
        self.ends = {tp: end for tp, end in self.ends.items() if tp in idle}
        if not idle or now - self._asked_at < _PATIENCE_SECONDS:
            return
        self._asked_at = now
        self.ends = self._look_up(idle)
        behind = {tp: positions[tp] for tp, end in self.ends.items() if end > positions[tp]}
        for tp in [tp for tp, at in behind.items() if self._behind.get(tp) == at]:
            self._ask_anew(tp, positions[tp])
            del behind[tp]
        self._behind = behind

    def _still(self, tp: TopicPartition, at: int, now: float) -> tuple[int, float]:
        before = self._since.get(tp)
        return before if before is not None and before[0] == at else (at, now)

    def _look_up(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        try:
            found: dict[TopicPartition, int] = self._consumer.end_offsets(partitions, timeout_ms=_LOOKUP_MS)
        except errors.KafkaError:
            return {}
        return found

    def _ask_anew(self, tp: TopicPartition, at: int) -> None:
        logger.warning(
            "partition %d of %s stands at %d and its end is %d: asking for it anew",
            tp.partition,
            tp.topic,
            at,
            self.ends[tp],
        )
        self._consumer.seek(tp, at)
