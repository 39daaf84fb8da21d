"""Write results as messages, and commit them together with the position that they came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from connectors.records import Batch, Message, Position, Reject
from detector.delivery.messages import MessageEncoder
from detector.engine.engine import StepResult

Save: TypeAlias = Callable[[Position], Sequence[Message]]
"""Return the state to write with a batch that ends at this position."""


def _nowhere() -> Position:
    return {}


class Delivery(Protocol):
    """Write messages and commit a position, with the promise of its kind.

    At least once: every message is acknowledged before the offsets are committed. Exactly once: one
    transaction commits both.
    """

    def deliver(
        self, messages: Sequence[Message], position: Position, state: Sequence[Message] = ()
    ) -> None: ...


class MessageSink:
    """Collect the messages of a batch and deliver them with its position.

    `encoder` may be replaced between batches. A commit without a batch position sends the current position
    of every live partition. A process that has lost a partition is therefore fenced by the broker and cannot
    overwrite its state.
    """

    def __init__(
        self,
        encoder: MessageEncoder,
        delivery: Delivery,
        save: Save | None = None,
        standing: Callable[[], Position] = _nowhere,
    ) -> None:
        """Begin without messages.

        Args:
            encoder: makes messages of results.
            delivery: writes messages and commits positions; its maker closes it.
            save: makes messages of the state that is due; None saves no state.
            standing: returns the current position of every live partition.
        """
        self.encoder = encoder
        self._delivery = delivery
        self._save, self._standing = save, standing
        self._messages: list[Message] = []

    def write(self, result: StepResult, batch: Batch) -> None:
        """Collect verdicts, changes of incidents, mutes and rejected messages; nothing is sent yet."""
        self.collect(self.encoder, result)
        self.reject(batch.rejects)

    def reject(self, rejects: tuple[Reject, ...]) -> None:
        """Collect rejected messages."""
        self._messages += self.encoder.dead_letters(rejects)

    def collect(self, encoder: MessageEncoder, result: StepResult) -> None:
        """Collect verdicts, changes of incidents and mutes, as the messages of `encoder`."""
        self._messages += encoder.verdicts(result.verdicts)
        self._messages += encoder.incidents(result.incidents)
        self._messages += encoder.decisions(result.decisions)

    def commit(self, position: Position | None) -> None:
        """Deliver what was collected, and commit the position behind the batch.

        1. Collect the state that is due at this position.
        2. Return if there is nothing to send and nothing to commit.
        3. Add the position of every live partition, so that a partition that we have lost fences us.
        4. Deliver messages, position and state under one promise.

        Raises what the delivery raises; the loop then ends and the batch is read again.
        """
        position = position or {}
        state = self._save(position) if self._save else []  # 1
        if not (self._messages or position or state):  # 2
            return
        messages, self._messages = self._messages, []
        standing = self._standing() if messages or state else {}  # 3
        self._delivery.deliver(messages, {**standing, **position}, state)  # 4

    def close(self) -> None:
        """Do nothing: the maker of the delivery closes it."""
