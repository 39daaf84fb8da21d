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
    """Reads all messages of existing topics, but none of an open or aborted transaction.

    Promise: none; nothing is committed.
    """

    def __init__(self, connection: Connection, topics: Sequence[str], start: Position | None = None) -> None:
        """Open all partitions of `topics` where `start` says, and at their beginning where it says nothing.

        An offset whose message was deleted counts as the oldest one that is left.

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
        for tp in self._partitions:
            if start is not None and (tp.topic, tp.partition) in start:
                self._consumer.seek(tp, start[tp.topic, tp.partition])

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

    def first(self) -> Position:
        """Ask the broker for the oldest offset of every partition."""
        firsts = self._consumer.beginning_offsets(self._partitions)
        return {(tp.topic, tp.partition): offset for tp, offset in firsts.items()}

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
