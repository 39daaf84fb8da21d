"""Produces messages and waits until all in-sync replicas have acknowledged them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer, errors

from connectors.errors import RightMissingError
from connectors.kafka.cluster import refusal, start_producer, translated
from connectors.kafka.connection import (
    Connection,
    ProducerOptions,
    client_settings,
    producer_settings,
)
from connectors.records import Message

_CLOSE_SECONDS = 10.0
_SHOWN_SECONDS, _LOOK_SECONDS = 15.0, 0.1


def send(producer: KafkaProducer, message: Message) -> Any:
    """Send a message; return the client's future.

    A partition that was added a moment ago may not be in the metadata yet. The client refuses it with a
    ValueError, so the metadata is requested again until it is there.

    Raises the client's errors.
    """
    deadline = time.monotonic() + _SHOWN_SECONDS
    while True:
        try:
            return producer.send(
                message.topic, message.value, message.key, list(message.headers), message.partition
            )
        except ValueError as error:
            if "Unrecognized partition" not in str(error):
                raise
            if time.monotonic() > deadline:
                raise errors.UnknownTopicOrPartitionError(str(error)) from error
        producer._metadata.request_update()
        producer._sender.wakeup()
        time.sleep(_LOOK_SECONDS)


class Producer:
    """Promise: after `produce` every message is acknowledged by all in-sync replicas. Not thread-safe."""

    def __init__(self, connection: Connection, options: ProducerOptions | None = None) -> None:
        """Connect to the cluster. Raises KafkaError if it cannot be reached or refuses access."""
        self._connection, self._options = connection, options or ProducerOptions()
        self._producer: KafkaProducer | None = self._start()

    def produce(self, messages: Sequence[Message]) -> None:
        """Send the messages in order and wait until every one is acknowledged.

        Raises:
            RightMissingError: this login may not write a message now.
            KafkaError: a message is not acknowledged. Other messages may have been written nevertheless.
        """
        producer = self._producer = self._producer or self._start()
        pending, topic = [], ""
        try:
            for message in messages:
                topic = message.topic
                pending.append(send(producer, message))
            # Not `flush`: in the client it never returns once a batch had to be split.
            for message, future in zip(messages, pending, strict=True):
                topic = message.topic
                future.get(timeout=self._options.delivery_timeout_seconds + _CLOSE_SECONDS)
        except errors.KafkaError as error:
            servers = self._connection.servers
            refused = refusal(f"cannot deliver to topic {topic} at {servers}", error, "write", topic)
            if isinstance(refused, RightMissingError):  # the client sends nothing any more after that
                self.close()
            raise refused from error

    def close(self) -> None:
        """Close without waiting for messages in flight."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.close(timeout=0)
        except errors.KafkaTimeoutError:  # the client refuses to close while messages are in flight
            producer._sender.force_close()
            producer._closed = True

    def _start(self) -> KafkaProducer:
        with translated(self._connection, "cannot start a producer"):
            return start_producer(client_settings(self._connection) | producer_settings(self._options))
