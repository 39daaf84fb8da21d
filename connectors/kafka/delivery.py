"""Delivery: what a batch said is written before what it was read from is committed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias

from connectors.errors import TransactionAbortedError
from connectors.records import Commits, Membership, Message, Position, Produces

logger = logging.getLogger(__name__)


class AtLeastOnce:
    """Promise: an offset is committed only after every message that came of it, and of what was read
    before it, has been acknowledged.

    After any failure or kill the readings whose offsets were not committed are read again: their
    messages may be written twice and are never missing. A transactional delivery has the same method.
    """

    def __init__(self, producer: Produces, source: Commits) -> None:
        self._producer, self._source = producer, source

    def deliver(self, messages: Sequence[Message], position: Position, state: Sequence[Message] = ()) -> None:
        """1 produce, 2 wait for every acknowledgement, 3 the same for the state, 4 commit the offsets.

        Raises KafkaError when a message is not acknowledged; nothing is committed then.
        """
        self._producer.produce(messages)  # 1, 2
        if state:  # never before the messages: it says that they are out
            self._producer.produce(state)  # 3
        self._source.commit(position)  # 4


class Transacts(Protocol):
    """Commits messages and offsets together, as the member that read them."""

    def deliver(self, messages: Sequence[Message], position: Position, membership: Membership) -> None: ...


Outcome: TypeAlias = Literal["committed", "aborted", "fenced"]
Watch: TypeAlias = Callable[[Outcome, float], None]
"""Told of the end of every transaction, and of the seconds that it took."""


def _unwatched(outcome: Outcome, seconds: float) -> None:
    """Nobody counts."""


class StartsOver(Protocol):
    """A source that can go back to what was committed."""

    @property
    def membership(self) -> Membership: ...

    def start_over(self) -> None: ...

    def delivered(self, position: Position) -> None: ...


class ExactlyOnce:
    """Promise: messages, state and offsets of a batch are committed together, once, or not at all.

    When nothing could be committed the source starts over: it reports all partitions as lost and assigned
    again, so that the state that ran ahead is replaced by the committed one.
    """

    def __init__(self, transactions: Transacts, source: StartsOver, watch: Watch = _unwatched) -> None:
        self._transactions, self._source, self._watch = transactions, source, watch

    def deliver(self, messages: Sequence[Message], position: Position, state: Sequence[Message] = ()) -> None:
        """Raises KafkaError for what trying again cannot heal."""
        began = time.perf_counter()
        outcome: Outcome = "aborted"
        try:
            self._transactions.deliver([*messages, *state], position, self._source.membership)
        except TransactionAbortedError as error:
            outcome = "fenced" if error.is_fenced else "aborted"
            logger.warning("transaction aborted, going back to what is committed: %s", error)
            self._source.start_over()
        else:
            outcome = "committed"
            self._source.delivered(position)
        finally:
            self._watch(outcome, time.perf_counter() - began)
