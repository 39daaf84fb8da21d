"""Delivery: what a batch said is written before what it was read from is committed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from connectors.records import Message, Position


class Produces(Protocol):
    """Writes messages: all of them are acknowledged, or it raises."""

    def produce(self, messages: Sequence[Message]) -> None: ...


class Commits(Protocol):
    """Remembers how far a source has been read."""

    def commit(self, position: Position) -> None: ...


class AtLeastOnce:
    """Promise: an offset is committed only after every message that came of it, and of what was read
    before it, has been acknowledged.

    After any failure or kill the readings whose offsets were not committed are read again: their
    messages may be written twice and are never missing. A transactional delivery has the same method.
    """

    def __init__(self, producer: Produces, source: Commits) -> None:
        self._producer, self._source = producer, source

    def deliver(self, messages: Sequence[Message], position: Position) -> None:
        """1 produce, 2 wait for every acknowledgement, 3 commit the offsets.

        Raises KafkaError when a message is not acknowledged; nothing is committed then.
        """
        self._producer.produce(messages)  # 1, 2
        self._source.commit(position)  # 3
