"""Where a stream's results go: into messages, and through a delivery that ties them to the position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from connectors.records import Batch, Message, Position
from detector.delivery.messages import MessageEncoder
from detector.engine.engine import StepResult

Save: TypeAlias = Callable[[Position], Sequence[Message]]
"""Gives the state to be written with a batch, when asked behind which position."""


def _nowhere() -> Position:
    return {}


class Delivery(Protocol):
    """Writes messages and moves the position, in the order and with the promise of its kind: at least
    once acknowledges every message before the offsets are committed; a transaction does both at once."""

    def deliver(
        self, messages: Sequence[Message], position: Position, state: Sequence[Message] = ()
    ) -> None: ...


class MessageSink:
    """Collects a batch's messages and delivers them with its position; `encoder` may be exchanged between
    batches.

    `standing` says where all partitions stand. What is delivered without a batch's position is delivered with
    that, so that who has lost a partition cannot write its state: the broker refuses the offsets.
    """

    def __init__(
        self,
        encoder: MessageEncoder,
        delivery: Delivery,
        save: Save | None = None,
        standing: Callable[[], Position] = _nowhere,
    ) -> None:
        self.encoder = encoder
        self._delivery = delivery
        self._save, self._standing = save, standing
        self._messages: list[Message] = []

    def write(self, result: StepResult, batch: Batch) -> None:
        self._messages += self.encoder.verdicts(result.verdicts)
        self._messages += self.encoder.incidents(result.incidents)
        self._messages += self.encoder.dead_letters(batch.rejects)

    def commit(self, position: Position | None) -> None:
        state = self._save(position or {}) if self._save else []
        if self._messages or position or state:
            messages, self._messages = self._messages, []
            standing = self._standing() if messages or state else {}
            self._delivery.deliver(messages, {**standing, **(position or {})}, state)

    def close(self) -> None:
        """The delivery belongs to whoever made it."""
