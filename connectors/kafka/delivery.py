"""Delivers the results of a batch and commits its position: at least once, or exactly once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias

from connectors.errors import TransactionAbortedError
from connectors.records import Commits, Membership, Message, Position, Produces

logger = logging.getLogger(__name__)


class AtLeastOnce:
    """Promise: an offset is committed only after every message that results from it, and from everything
    before it, is acknowledged.

    After any failure or kill, readings whose offsets were not committed are read again: their messages may
    be written twice and are never missing. `ExactlyOnce` has the same method.
    """

    def __init__(self, producer: Produces, source: Commits) -> None:
        self._producer, self._source = producer, source

    def deliver(self, messages: Sequence[Message], position: Position, state: Sequence[Message] = ()) -> None:
        """1 produce, 2 wait for every acknowledgement, 3 the same for the state, 4 commit the offsets.

        Args:
            messages: the results of the batch.
            position: the offsets behind the batch.
            state: saved state, written only after the results.

        Raises:
            KafkaError: a message is not acknowledged; nothing is committed then.
        """
        self._producer.produce(messages)  # 1, 2
        if state:  # never before the messages: saved state implies that they are written
            self._producer.produce(state)  # 3
        self._source.commit(position)  # 4


class Transacts(Protocol):
    """Commits messages and offsets together, under the membership that read them."""

    def deliver(self, messages: Sequence[Message], position: Position, membership: Membership) -> None: ...


Outcome: TypeAlias = Literal["committed", "aborted", "fenced"]
Watch: TypeAlias = Callable[[Outcome, float], None]
"""Called at the end of every transaction with its outcome and its duration in seconds."""


def _unwatched(outcome: Outcome, seconds: float) -> None:
    """Ignore the outcome."""


class StartsOver(Protocol):
    """A source that can return to the committed offsets."""

    @property
    def membership(self) -> Membership: ...

    def start_over(self) -> None: ...

    def delivered(self, position: Position) -> None: ...


class ExactlyOnce:
    """Promise: messages, state and offsets of a batch are committed together, once, or not at all.

    If nothing could be committed, the source starts over: it reports all partitions as lost and assigned
    again. State that is ahead of the commit is thereby replaced by the committed state.
    """

    def __init__(self, transactions: Transacts, source: StartsOver, watch: Watch = _unwatched) -> None:
        self._transactions, self._source, self._watch = transactions, source, watch

    def deliver(self, messages: Sequence[Message], position: Position, state: Sequence[Message] = ()) -> None:
        """Commit all of it in one transaction, or start the source over.

        Raises:
            KafkaError: the transaction failed in a way that another attempt cannot cure.
        """
        began = time.perf_counter()
        outcome: Outcome = "aborted"
        try:
            self._transactions.deliver([*messages, *state], position, self._source.membership)
        except TransactionAbortedError as error:
            outcome = "fenced" if error.is_fenced else "aborted"
            logger.warning("transaction aborted, returning to the committed offsets: %s", error)
            self._source.start_over()
        else:
            outcome = "committed"
            self._source.delivered(position)
        finally:
            self._watch(outcome, time.perf_counter() - began)
