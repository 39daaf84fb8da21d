"""Commits the results of a batch and the offsets that it was read from in one Kafka transaction.

Readers with `isolation.level=read_committed` see all of a transaction or nothing of it. The offsets are
sent with the membership under which the batch was read (KIP-447). If the group went on without this process,
the broker refuses the offsets, and with them the whole transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer, OffsetAndMetadata, TopicPartition, errors

from connectors.errors import KafkaError, TransactionAbortedError, TransactionsUnsupportedError
from connectors.kafka.cluster import one_line, refusal, start_producer
from connectors.kafka.connection import (
    Connection,
    ProducerOptions,
    client_settings,
    producer_settings,
)
from connectors.kafka.producer import send
from connectors.records import Membership, Message, Position

logger = logging.getLogger(__name__)

_FENCED = (errors.ProducerFencedError, errors.InvalidProducerEpochError)
_MOST_FENCINGS, _FENCING_SECONDS = 5, 300.0
_DENIED = (
    errors.TransactionalIdAuthorizationFailedError,
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
)
_HOPELESS = (
    errors.FencedInstanceIdError,
    errors.MessageSizeTooLargeError,
    errors.RecordListTooLargeError,
)


class Transactions:
    """Promise: messages and position of a batch are committed together, once, or not at all. Not thread-safe.

    After a TransactionAbortedError nothing of the batch is known to be committed. Discard all state that was
    built since the last commit, and read again from the committed offsets.
    """

    def __init__(
        self, connection: Connection, options: ProducerOptions, transactional_id: str, timeout_seconds: float
    ) -> None:
        """Start a producer, and end the transaction that a predecessor of this id left open.

        Args:
            connection: the cluster and how to log in.
            options: how messages are produced.
            transactional_id: the same after a restart, and different from that of any other process.
            timeout_seconds: the longest duration of a transaction.

        Raises:
            TransactionsUnsupportedError: the cluster has no transactions, or this login may not use them.
            KafkaError: any other failure.
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
        """Commit messages and offsets in one transaction.

        1 begin, 2 produce and wait for every acknowledgement, 3 send the offsets, 4 commit.

        Args:
            messages: the results and the state to write.
            position: the offsets behind the batch.
            membership: the membership under which the batch was read, with the notes of partitions.

        Raises:
            TransactionAbortedError: nothing is known to be committed; another attempt may succeed.
            RightMissingError: the same, once the missing right is given.
            KafkaError: another attempt cannot succeed.
        """
        notes = membership.notes
        offsets = {
            TopicPartition(*key): OffsetAndMetadata(at, notes.get(key, ""), -1)
            for key, at in position.items()
        }
        try:
            producer = self._producer = self._producer or self._start()
            if offsets and not self.is_member(membership):
                raise errors.IllegalGenerationError("not a member of the group")
            producer.begin_transaction()  # 1
            pending = [send(producer, message) for message in messages]
            for future in pending:  # 2
                future.get(timeout=self._timeout_seconds)
            if offsets:
                self._wait(  # 3
                    producer._transaction_manager.send_offsets_to_transaction(offsets, membership.metadata)
                )
            self._wait(producer._transaction_manager.begin_commit())  # 4
        except errors.KafkaError as error:
            self._give_up(error, membership)
        except TransactionsUnsupportedError as error:
            if isinstance(error.__cause__, _DENIED):
                self._give_up(error.__cause__, membership)
            raise KafkaError(str(error)) from error
        else:
            self.committed += 1

    @staticmethod
    def is_member(membership: Membership) -> bool:
        """Whether the batch was read as a member of a group: otherwise the broker cannot check it."""
        return bool(membership.metadata.generation_id >= 0)

    def close(self) -> None:
        """Stop at once. An open transaction ends at its timeout, or with the next start of this id."""
        if self._producer is not None:
            self._discard(self._producer)
            self._producer = None

    def _start(self) -> KafkaProducer:
        """Start a producer.

        Raises the client's RetriableError if another attempt may succeed, else KafkaError.
        """
        settings = {
            **client_settings(self._connection),
            **producer_settings(self._options),
            "transactional_id": self._id,
            "transaction_timeout_ms": round(self._timeout_seconds * 1000),
        }
        producer: KafkaProducer | None = None
        try:
            producer = start_producer(settings)
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
        """Wait for the broker with a timeout: the client's own methods wait for ever if it is away."""
        assert self._producer is not None
        self._producer._sender.wakeup()
        if not result.wait(timeout_ms=round(self._timeout_seconds * 1000)):
            raise errors.KafkaTimeoutError(f"no answer within {self._timeout_seconds:g} s")

    def _give_up(self, error: errors.KafkaError, membership: Membership) -> None:
        """Abort: the next `deliver` starts a new producer of the same id, which ends the open transaction.

        Raises TransactionAbortedError, RightMissingError, or KafkaError if another attempt cannot succeed.
        """
        self.aborted += 1
        self.close()
        if isinstance(error, _DENIED):
            is_group = isinstance(error, errors.GroupAuthorizationFailedError)
            name = membership.metadata.group_id if is_group else self._id
            raise refusal(f"cannot commit a transaction as {self._id}", error, "write", name) from error
        if isinstance(error, _HOPELESS):
            raise KafkaError(f"cannot commit a transaction as {self._id}: {one_line(error)}") from error
        if isinstance(error, _FENCED):
            self._count_fencing(error)
        raise TransactionAbortedError(one_line(error), is_fenced=isinstance(error, _FENCED)) from error

    def _count_fencing(self, error: errors.KafkaError) -> None:
        """Raise after repeated fencing: a timed-out transaction fences once, a second process for ever."""
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
        """Close without waiting: the client would first try to send messages that are obsolete."""
        if producer is not None:
            producer._sender.force_close()
            producer._closed = True
            producer._unregister_cleanup()
