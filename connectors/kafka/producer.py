"""Produces messages and waits until all in-sync replicas have acknowledged them."""

from __future__ import annotations

from collections.abc import Sequence

from kafka import errors

from connectors.errors import KafkaError
from connectors.kafka.cluster import one_line, start_producer, translated
from connectors.kafka.connection import (
    Connection,
    ProducerOptions,
    client_settings,
    producer_settings,
)
from connectors.records import Message

_CLOSE_SECONDS = 10.0


class Producer:
    """Promise: after `produce` every message is acknowledged by all in-sync replicas. Not thread-safe."""

    def __init__(self, connection: Connection, options: ProducerOptions | None = None) -> None:
        """Connect to the cluster. Raises KafkaError if it cannot be reached or refuses access."""
        self._connection, self._options = connection, options or ProducerOptions()
        with translated(connection, "cannot start a producer"):
            self._producer = start_producer(client_settings(connection) | producer_settings(self._options))

    def produce(self, messages: Sequence[Message]) -> None:
        """Send the messages in order and wait until every one is acknowledged.

        Raises:
            KafkaError: a message is not acknowledged. Other messages may have been written nevertheless.
        """
        pending, topic = [], ""
        try:
            for message in messages:
                topic = message.topic
                pending.append(
                    self._producer.send(
                        topic, message.value, message.key, list(message.headers), message.partition
                    )
                )
            # Not `flush`: in the client it never returns once a batch had to be split.
            for message, future in zip(messages, pending, strict=True):
                topic = message.topic
                future.get(timeout=self._options.delivery_timeout_seconds + _CLOSE_SECONDS)
        except errors.KafkaError as error:
            servers = self._connection.servers
            raise KafkaError(f"cannot deliver to topic {topic} at {servers}: {one_line(error)}") from error

    def close(self) -> None:
        """Close without waiting for messages in flight."""
        try:
            self._producer.close(timeout=0)
        except errors.KafkaTimeoutError:  # the client refuses to close while messages are in flight
            self._producer._sender.force_close()
            self._producer._closed = True
