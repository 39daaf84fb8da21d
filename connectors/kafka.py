"""Kafka: the source, the producer and the waiting. The only importer of the Kafka client.

A broker that goes away while we run is not an error: the client reconnects, `poll` returns empty
batches meanwhile and producing waits until its timeout.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any, TypeAlias

from kafka import (
    ConsumerRebalanceListener,
    KafkaAdminClient,
    KafkaConsumer,
    KafkaProducer,
    OffsetAndMetadata,
    TopicPartition,
    errors,
)
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.net.compat import KafkaNetClient

from connectors import waiting
from connectors.codec import JsonWideCodec
from connectors.connection import (
    Connection,
    ConsumerOptions,
    ProducerOptions,
    TopicSpec,
    client_settings,
    creation_settings,
    fetch_settings,
    group_settings,
    producer_settings,
)
from connectors.delivery import AtLeastOnce
from connectors.errors import KafkaError
from connectors.raw import RawColumns
from connectors.records import Batch, Message, Position

__all__ = [
    "AtLeastOnce",
    "Connection",
    "ConsumerOptions",
    "KafkaSource",
    "Producer",
    "ProducerOptions",
    "TopicSpec",
    "count_partitions",
    "ensure_topics",
    "sample",
    "wait_for_broker",
]

logger = logging.getLogger(__name__)

_Records: TypeAlias = "Mapping[TopicPartition, list[Any]]"

_RETRY_SECONDS = 0.2
_LAG_SECONDS = 1.0
_CLOSE_SECONDS = 10.0
_OUSTED = (
    errors.CommitFailedError,
    errors.RebalanceInProgressError,
    errors.UnknownMemberIdError,
    errors.IllegalGenerationError,
)
"""What a commit raises when the group went on without us."""


def wait_for_broker(
    connection: Connection,
    topic: str | None = None,
    *,
    timeout_seconds: float = 60.0,
    stop: threading.Event | None = None,
) -> None:
    """Return when the cluster answers, and has `topic` if one is given; or when `stop` is set.

    Raises KafkaError after `timeout_seconds`, saying what is missing, and at once where waiting cannot
    help (refused credentials). Every failed attempt is logged.
    """
    waiting.wait_until(
        lambda seconds: _probe(connection, topic, seconds),
        timeout_seconds,
        f"is the cluster up, and are bootstrap_servers ({connection.servers}) and security_protocol"
        f" ({connection.security_protocol}) right?",
        stop or threading.Event(),
    )


def _probe(connection: Connection, topic: str | None, timeout_seconds: float) -> str | None:
    """What is wrong with the cluster, or None. A plain connect first: it can say who refused."""
    reasons = [waiting.connect(server, timeout_seconds / 2) for server in connection.bootstrap_servers]
    if all(reasons):
        return "; ".join(str(reason) for reason in reasons)
    try:
        with _admin(connection, timeout_seconds) as admin:
            if topic is None or _partitions(admin, topic):
                return None
            return f"{connection.servers} has no topic {topic!r}"
    except (errors.SaslAuthenticationFailedError, errors.AuthorizationError) as error:
        raise KafkaError(f"{connection.servers} refused our credentials: {_say(error)}") from error
    except (errors.KafkaError, OSError) as error:
        return f"{connection.servers} accepts connections but does not answer as Kafka: {_say(error)}"


def ensure_topics(connection: Connection, specs: Sequence[TopicSpec]) -> None:
    """Create those topics that are missing; what exists stays as it is.

    Raises KafkaError where a topic is missing and cannot be created.
    """
    names = [spec.name for spec in specs]
    with _translated(connection, f"cannot create topics {', '.join(names)}"), _admin(connection) as admin:
        for spec in specs:
            if not _partitions(admin, spec.name):
                with suppress(errors.TopicAlreadyExistsError):  # another process may be faster
                    admin.create_topics({spec.name: creation_settings(spec)})
                    logger.info("created topic %s", spec.name)
        admin.wait_for_topics(names)


def count_partitions(connection: Connection, topic: str) -> int:
    """How many partitions a topic has, 0 where there is no such topic."""
    with _translated(connection, f"cannot look up topic {topic}"), _admin(connection) as admin:
        return _partitions(admin, topic)


def sample(connection: Connection, topic: str, num_messages: int) -> list[bytes | None]:
    """The values of the oldest messages of a topic, up to `num_messages`, outside any consumer group."""
    with _translated(connection, f"cannot read topic {topic}"):
        consumer = KafkaConsumer(**client_settings(connection), **fetch_settings(ConsumerOptions(topic, "")))
        try:
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
            if not partitions:
                raise KafkaError(f"{connection.servers} has no topic {topic!r}")
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            values: list[bytes | None] = []
            while len(values) < num_messages and any(consumer.position(tp) < ends[tp] for tp in partitions):
                polled = consumer.poll(timeout_ms=_LAG_SECONDS * 1000, max_records=num_messages)
                values.extend(record.value for record in chain.from_iterable(polled.values()))
            return values[:num_messages]
        finally:
            consumer.close(autocommit=False)


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Remembers what happened and does nothing else: it is called on the client's network thread, where
    any blocking call would stop the heartbeats.

    The assignment is eager: all partitions are revoked first and most of them are given back. Lost are
    those that were not given back, and all of a member that was expelled: others may have read on.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_doubt: set[TopicPartition] = set()
        self._lost: set[TopicPartition] = set()
        self.count = 0
        self.joined = False

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        with self._lock:
            self._in_doubt |= set(revoked)
            self.joined = False

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        with self._lock:
            self._lost |= set(lost)
            self.joined = False

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        with self._lock:
            self._lost |= self._in_doubt - set(assigned)
            self._in_doubt = set()
            self.count += 1
            self.joined = True

    def take_lost(self) -> set[TopicPartition]:
        with self._lock:
            lost, self._lost = self._lost, set()
            return lost


class KafkaSource:
    """A member of a consumer group that reads one topic: batches of readings and the offsets behind them.

    Not thread-safe, but for `lag`, `assignment`, `is_assigned` and `num_rebalances`, which may be read
    from anywhere. The partitions in a batch's `lost` were lost before its readings were read.
    """

    def __init__(self, connection: Connection, options: ConsumerOptions, codec: JsonWideCodec) -> None:
        self._connection, self._options, self._codec = connection, options, codec
        self._rebalances = _Rebalances()
        self._uncommitted: dict[TopicPartition, int] = {}
        self._lag: dict[int, int] = {}
        self._lag_at = 0.0
        with _translated(connection, f"cannot join group {options.group_id}"):
            self._consumer = KafkaConsumer(
                **client_settings(connection),
                **fetch_settings(options),
                **group_settings(options),
                # Sticky: partitions stay where the windows of their series already are.
                partition_assignment_strategy=(StickyPartitionAssignor,),
            )
            self._consumer.subscribe([options.topic], listener=self._rebalances)
            # A leader that joins without knowing the topic assigns nothing to anyone, then all again.
            self._consumer.partitions_for_topic(options.topic)

    def poll(self, timeout_seconds: float) -> Batch:
        """What has arrived, after at most about `timeout_seconds`; empty while the broker is away.

        Raises KafkaError for what waiting cannot heal: refused access, another member with our name.
        """
        records = self._fetch(timeout_seconds)
        lost = self._rebalances.take_lost()
        for partition in lost:
            self._uncommitted.pop(partition, None)
        held = self._consumer.assignment()
        records = {partition: found for partition, found in records.items() if partition in held}
        decoded = self._codec.decode_columns(RawColumns.of_consumed(chain.from_iterable(records.values())))
        self._watch_lag()
        return Batch(
            decoded.readings,
            decoded.rejects,
            {(tp.topic, tp.partition): found[-1].offset + 1 for tp, found in records.items()},
            time.time_ns(),
            frozenset(tp.partition for tp in lost),
            decoded.unknown_values,
        )

    def commit(self, position: Position) -> None:
        """Commit these offsets, and those whose commit failed before.

        When the group went on without us, or the broker is away, that is logged and not an error: what
        is not committed is read again, by us or by the new owner. Raises KafkaError for the rest.
        """
        self._uncommitted.update({TopicPartition(*key): offset for key, offset in position.items()})
        if not self._uncommitted or not self._rebalances.joined:
            return
        offsets = {tp: OffsetAndMetadata(offset, "", -1) for tp, offset in self._uncommitted.items()}
        try:
            self._consumer.commit(offsets, timeout_ms=self._options.commit_timeout_seconds * 1000)
        except (*_OUSTED, errors.RetriableError) as error:
            logger.warning("offsets not committed, will be later or by a new owner: %s", _say(error))
        except errors.KafkaError as error:
            raise self._refused("cannot commit offsets", error) from error
        else:
            self._uncommitted.clear()

    def end(self) -> Position:
        """The present end of each partition that we hold."""
        with _translated(self._connection, f"cannot look up the end of {self._options.topic}"):
            ends = self._consumer.end_offsets(list(self._consumer.assignment()))
        return {(tp.topic, tp.partition): offset for tp, offset in ends.items()}

    def has_reached(self, position: Position) -> bool:
        """Whether everything before `position` has been read, of the partitions that we hold."""
        held = self._consumer.assignment()
        wanted = {TopicPartition(*key): offset for key, offset in position.items()}
        read = self._read()
        reached = all(read.get(tp, 0) >= offset for tp, offset in wanted.items() if tp in held)
        return reached and self._rebalances.joined

    def assignment(self) -> frozenset[int]:
        """The partitions that we hold."""
        return frozenset(tp.partition for tp in self._consumer.assignment())

    @property
    def is_assigned(self) -> bool:
        """Whether we are a settled member of the group, which may hold no partition if there are few."""
        return self._rebalances.joined

    @property
    def num_rebalances(self) -> int:
        """How often partitions were assigned to us, the first time included."""
        return self._rebalances.count

    @property
    def lag(self) -> Mapping[int, int]:
        """Partition -> messages between our position and its end, as of about a second ago at most. A
        partition that was not fetched yet is absent."""
        return self._lag

    def close(self) -> None:
        """Leave the group; nothing is committed. A static member stays in it until its session ends."""
        try:
            self._consumer.close(autocommit=False, timeout_ms=_CLOSE_SECONDS * 1000)
        except errors.KafkaError as error:
            logger.warning("did not leave group %s properly: %s", self._options.group_id, _say(error))

    def _fetch(self, timeout_seconds: float) -> _Records:
        try:
            records: _Records = self._consumer.poll(timeout_ms=timeout_seconds * 1000)
        except errors.RetriableError as error:
            logger.warning("Kafka did not answer, trying on: %s", _say(error))
            time.sleep(min(timeout_seconds, _RETRY_SECONDS))
            return {}
        except errors.KafkaError as error:
            raise self._refused(f"cannot read {self._options.topic}", error) from error
        return records

    def _watch_lag(self) -> None:
        now = time.monotonic()
        if now - self._lag_at >= _LAG_SECONDS:
            self._lag_at = now
            ends = {tp: self._consumer.highwater(tp) for tp in self._consumer.assignment()}
            known = self._read().items()
            self._lag = {tp.partition: max(0, ends[tp] - at) for tp, at in known if ends.get(tp) is not None}

    def _read(self) -> dict[TopicPartition, int]:
        """The next offset of each partition, where known. The client's public `position` would ask the
        broker for the others and so interfere with what the client is about to do."""
        consumed = self._consumer._subscription.all_consumed_offsets()
        return {tp: position.offset for tp, position in consumed.items()}

    def _refused(self, doing: str, error: errors.KafkaError) -> KafkaError:
        if isinstance(error, errors.FencedInstanceIdError):
            return KafkaError(
                f"{doing}: another member of group {self._options.group_id} has our group_instance_id"
                f" {self._options.group_instance_id!r}; give each member its own"
            )
        return KafkaError(f"{doing} at {self._connection.servers}: {_say(error)}")


class Producer:
    """Produces messages: all acknowledged by all in-sync replicas, or KafkaError."""

    def __init__(self, connection: Connection, options: ProducerOptions | None = None) -> None:
        self._connection, self._options = connection, options or ProducerOptions()
        with _translated(connection, "cannot start a producer"):
            self._producer = KafkaProducer(**client_settings(connection), **producer_settings(self._options))

    def produce(self, messages: Sequence[Message]) -> None:
        """Send the messages in order and wait until every one is acknowledged.

        Raises KafkaError for the first that is not; others may have been written all the same.
        """
        pending, topic = [], ""
        try:
            for message in messages:
                topic = message.topic
                pending.append(self._producer.send(topic, message.value, message.key, list(message.headers)))
            # Not `flush`: in the client it never returns once a batch had to be split.
            for message, future in zip(messages, pending, strict=True):
                topic = message.topic
                future.get(timeout=self._options.delivery_timeout_seconds + _CLOSE_SECONDS)
        except errors.KafkaError as error:
            servers = self._connection.servers
            raise KafkaError(f"cannot deliver to topic {topic} at {servers}: {_say(error)}") from error

    def close(self) -> None:
        """Close without waiting for what is still on its way."""
        try:
            self._producer.close(timeout=0)
        except errors.KafkaTimeoutError:  # the client gives up closing when something is on its way
            self._producer._sender.force_close()
            self._producer._closed = True


@contextmanager
def _admin(connection: Connection, timeout_seconds: float = 30.0) -> Iterator[KafkaAdminClient]:
    """An admin client. Its own constructor leaves a thread and sockets behind when it fails, so what it
    made is closed here."""
    made: list[KafkaNetClient] = []

    def make(**settings: Any) -> KafkaNetClient:
        made.append(KafkaNetClient(**settings))
        return made[-1]

    try:
        settings = client_settings(connection) | {"bootstrap_timeout_ms": timeout_seconds * 1000}
        yield KafkaAdminClient(**settings, kafka_client=make)
    finally:
        for client in made:
            client.close()


def _partitions(admin: KafkaAdminClient, topic: str) -> int:
    found = [t for t in admin.describe_topics([topic]) if t["name"] == topic and not t["error_code"]]
    return len(found[0]["partitions"]) if found else 0


@contextmanager
def _translated(connection: Connection, doing: str) -> Iterator[None]:
    """The client's errors as ours, with what was tried and where."""
    try:
        yield
    except (errors.KafkaError, OSError) as error:
        raise KafkaError(f"{doing} at {connection.servers}: {_say(error)}") from error


def _say(error: BaseException) -> str:
    """The error in one line, without the client's numbering."""
    return " ".join(str(error).split()) or type(error).__name__
