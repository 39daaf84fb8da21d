"""Exactly once: what a batch said and the offsets it was read from, in one Kafka transaction.

Readers with `isolation.level=read_committed` see all of a transaction or nothing of it. The offsets are
sent with the membership under which the batch was read (KIP-447): when the group has gone on without us the
broker refuses them, and with them the whole transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer, OffsetAndMetadata, TopicPartition, errors

from connectors.errors import KafkaError, TransactionAbortedError, TransactionsUnsupportedError
from connectors.kafka.cluster import one_line
from connectors.kafka.connection import (
    Connection,
    ProducerOptions,
    client_settings,
    producer_settings,
)
from connectors.records import Membership, Message, Position

logger = logging.getLogger(__name__)

_FENCED = (errors.ProducerFencedError, errors.InvalidProducerEpochError)
_MOST_FENCINGS, _FENCING_SECONDS = 5, 300.0
_HOPELESS = (
    errors.TransactionalIdAuthorizationFailedError,
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.FencedInstanceIdError,
    errors.MessageSizeTooLargeError,
    errors.RecordListTooLargeError,
)


class Transactions:
    """Promise: messages and position of a batch are committed together, once, or not at all.

    `deliver` raises TransactionAbortedError when nothing of it is known to be committed: whatever was made of
    batches since the last commit must then be forgotten and read again from the committed offsets. Raises
    KafkaError for what trying again cannot heal. Not thread-safe.
    """

    def __init__(
        self, connection: Connection, options: ProducerOptions, transactional_id: str, timeout_seconds: float
    ) -> None:
        """Start a producer and end what a predecessor of this id left open.

        Raises TransactionsUnsupportedError for a cluster without transactions, KafkaError for the rest.
        """
        self._connection, self._options = connection, options
        self._id, self._timeout_seconds = transactional_id, timeout_seconds
        self._fencings: list[float] = []
        self.committed = self.aborted = 0
        self._producer: KafkaProducer | None = None
        try:
            self._producer = self._start()
        except errors.RetriableError as error:
            raise self._not_started(error) from error

    def deliver(self, messages: Sequence[Message], position: Position, membership: Membership) -> None:
        """1 begin, 2 produce and wait for every acknowledgement, 3 send the offsets, 4 commit."""
        offsets = {TopicPartition(*key): OffsetAndMetadata(at, "", -1) for key, at in position.items()}
        try:
            producer = self._producer = self._producer or self._start()
            if offsets and not self.is_member(membership):
                raise errors.IllegalGenerationError("not a member of the group")
            producer.begin_transaction()  # 1
            pending = [producer.send(m.topic, m.value, m.key, list(m.headers), m.partition) for m in messages]
            for future in pending:  # 2
                future.get(timeout=self._timeout_seconds)
            if offsets:
                self._wait(  # 3
                    producer._transaction_manager.send_offsets_to_transaction(offsets, membership.metadata)
                )
            self._wait(producer._transaction_manager.begin_commit())  # 4
        except errors.KafkaError as error:
            self._give_up(error)
        except TransactionsUnsupportedError as error:
            raise KafkaError(str(error)) from error
        else:
            self.committed += 1

    @staticmethod
    def is_member(membership: Membership) -> bool:
        """Whether the group had taken us up: of others the broker would not ask."""
        return bool(membership.metadata.generation_id >= 0)

    def close(self) -> None:
        """An open transaction is left to its timeout, or to who comes next with this id."""
        if self._producer is not None:
            self._discard(self._producer)
            self._producer = None

    def _start(self) -> KafkaProducer:
        """Raises the client's error where trying again may heal it, else ours."""
        settings = {
            **client_settings(self._connection),
            **producer_settings(self._options),
            "transactional_id": self._id,
            "transaction_timeout_ms": round(self._timeout_seconds * 1000),
        }
        producer: KafkaProducer | None = None
        try:
            producer = KafkaProducer(**settings)
            producer.init_transactions()
        except (errors.UnsupportedVersionError, errors.TransactionalIdAuthorizationFailedError) as error:
            self._discard(producer)
            raise TransactionsUnsupportedError(f"{self._connection.servers}: {one_line(error)}") from error
        except errors.RetriableError:
            self._discard(producer)
            raise
        except errors.KafkaError as error:
            self._discard(producer)
            raise self._not_started(error) from error
        return producer

    def _not_started(self, error: errors.KafkaError) -> KafkaError:
        return KafkaError(
            f"cannot start transactions as {self._id} at {self._connection.servers}: {one_line(error)}"
        )

    def _wait(self, result: Any) -> None:
        """The client's own methods wait without an end when the broker is away."""
        assert self._producer is not None
        self._producer._sender.wakeup()
        if not result.wait(timeout_ms=round(self._timeout_seconds * 1000)):
            raise errors.KafkaTimeoutError(f"no answer within {self._timeout_seconds:g} s")

    def _give_up(self, error: errors.KafkaError) -> None:
        """Abort by starting over: a new producer of the same id ends whatever is open, and has no memory of
        what went wrong. Raises TransactionAbortedError, or KafkaError where that would not help."""
        self.aborted += 1
        self.close()
        if isinstance(error, _HOPELESS):
            raise KafkaError(f"cannot commit a transaction as {self._id}: {one_line(error)}") from error
        if isinstance(error, _FENCED):
            self._count_fencing(error)
        raise TransactionAbortedError(one_line(error), is_fenced=isinstance(error, _FENCED)) from error

    def _count_fencing(self, error: errors.KafkaError) -> None:
        """A transaction that timed out looks like a twin; a twin comes back at once."""
        now = time.monotonic()
        self._fencings = [at for at in self._fencings if now - at < _FENCING_SECONDS] + [now]
        if len(self._fencings) >= _MOST_FENCINGS:
            raise KafkaError(
                f"fenced {len(self._fencings)} times in {_FENCING_SECONDS:.0f} s: another member uses our"
                f" transactional id {self._id!r}; give each member its own kafka.group_instance_id or"
                " delivery.transactional_id"
            ) from error

    @staticmethod
    def _discard(producer: KafkaProducer | None) -> None:
        """Without waiting: the client would first try to send what nobody wants any more."""
        if producer is not None:
            producer._sender.force_close()
            producer._closed = True
            producer._unregister_cleanup()
