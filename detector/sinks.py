"""Where a stream's results go: into messages, and through a delivery that ties them to the position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from connectors.records import Batch, Message, Position
from detector.engine import StepResult
from detector.messages import Encoder


class Delivery(Protocol):
    """Writes messages and moves the position, in the order and with the promise of its kind: at least
    once acknowledges every message before the offsets are committed; a transaction does both at once."""

    def deliver(self, messages: Sequence[Message], position: Position) -> None: ...


class MessageSink:
    """Collects a batch's messages and delivers them with its position."""

    def __init__(self, encoder: Encoder, delivery: Delivery) -> None:
        self._encoder = encoder
        self._delivery = delivery
        self._messages: list[Message] = []

    def write(self, result: StepResult, batch: Batch) -> None:
        self._messages += self._encoder.verdicts(result.verdicts)
        self._messages += self._encoder.incidents(result.incidents)
        self._messages += self._encoder.dead_letters(batch.rejects)

    def commit(self, position: Position | None) -> None:
        if self._messages or position:
            self._delivery.deliver(self._messages, position or {})
            self._messages = []

    def close(self) -> None:
        """The delivery belongs to whoever made it."""
