"""Reads topics without joining a consumer group: decisions, and outputs that somebody watches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from types import TracebackType
from typing import Self

from kafka import KafkaConsumer, TopicPartition

from connectors.errors import KafkaError
from connectors.kafka.connection import Connection, client_settings
from connectors.records import Message, Position

__all__ = ["TopicTail"]


class TopicTail:
    """Reads all messages of existing topics from the beginning, but none of an open or aborted transaction.

    Promise: none; nothing is committed.
    """

    def __init__(self, connection: Connection, topics: Sequence[str]) -> None:
        """Open all partitions of `topics` at their beginning.

        Raises:
            KafkaError: this login sees no partition of them.
        """
        self._consumer = KafkaConsumer(
            **client_settings(connection),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_committed",
        )
        self._partitions = [
            TopicPartition(topic, number)
            for topic in topics
            for number in sorted(self._consumer.partitions_for_topic(topic) or ())
        ]
        if not self._partitions:
            self.close()
            raise KafkaError(f"no partition of {', '.join(topics)} can be seen")
        self._consumer.assign(self._partitions)
        self._consumer.seek_to_beginning(*self._partitions)

    def poll(self, timeout_seconds: float) -> list[Message]:
        """Return what has arrived, after at most about `timeout_seconds`; ordered within a partition."""
        return [message for _, message in self.poll_numbered(timeout_seconds)]

    def poll_numbered(self, timeout_seconds: float) -> list[tuple[int, Message]]:
        """Return what has arrived as `poll` does, each message with its offset."""
        found = self._consumer.poll(timeout_ms=timeout_seconds * 1000, max_records=5_000)
        return [
            (
                record.offset,
                Message(record.topic, record.key, record.value or b"", tuple(record.headers or ())),
            )
            for record in chain.from_iterable(found.values())
        ]

    def end(self) -> Position:
        """Ask the broker for the present end of every partition."""
        ends = self._consumer.end_offsets(self._partitions)
        return {(tp.topic, tp.partition): offset for tp, offset in ends.items()}

    def position(self) -> Position:
        """Return the next offset of every partition."""
        return {(tp.topic, tp.partition): self._consumer.position(tp) for tp in self._partitions}

    def close(self) -> None:
        """Release the connection."""
        self._consumer.close(autocommit=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
