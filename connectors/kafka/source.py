"""Kafka: the source. With `connectors.kafka.cluster` the only importer of the Kafka client.

A broker that goes away while we run is not an error: the client reconnects, `poll` returns empty
batches meanwhile and producing waits until its timeout.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from itertools import chain
from typing import Any, TypeAlias

from kafka import (
    KafkaConsumer,
    OffsetAndMetadata,
    TopicPartition,
    errors,
)
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from connectors.errors import KafkaError
from connectors.kafka.batch_size import BatchSizer
from connectors.kafka.cluster import (
    count_partitions,
    ensure_topics,
    patiently,
    sample,
    say,
    translated,
    wait_for_broker,
)
from connectors.kafka.connection import (
    Connection,
    ConsumerOptions,
    TopicSpec,
    client_settings,
    fetch_settings,
    group_settings,
)
from connectors.kafka.deleted_offsets import DeletedOffsets
from connectors.kafka.delivery import AtLeastOnce
from connectors.kafka.rebalances import Rebalances
from connectors.records import Batch, Codec, Membership, Position, RawColumns, StreamSource

__all__ = [
    "AtLeastOnce",
    "Connection",
    "ConsumerOptions",
    "KafkaSource",
    "TopicSpec",
    "count_partitions",
    "ensure_topics",
    "sample",
    "wait_for_broker",
]

logger = logging.getLogger(__name__)

_Records: TypeAlias = "Mapping[TopicPartition, list[Any]]"

_RETRY_SECONDS = 0.2
_LOOK_SECONDS = 1.0
_CLOSE_SECONDS = 10.0
_COMMITTED_MS = 5_000
_OUSTED = (
    errors.CommitFailedError,
    errors.RebalanceInProgressError,
    errors.UnknownMemberIdError,
    errors.IllegalGenerationError,
)
"""What a commit raises when the group went on without us."""


class KafkaSource:
    """A member of a consumer group that reads one topic: batches of readings and the offsets behind them.

    Not thread-safe, but for `lag`, `lag_seconds`, `assignment`, `num_rebalances` and `is_...`, which may be
    read from anywhere. The partitions in a batch's `lost` were lost before its readings were read.
    """

    def __init__(self, connection: Connection, options: ConsumerOptions, codec: Codec) -> None:
        self._connection, self._options, self._codec = connection, options, codec
        self._rebalances = Rebalances()
        self._uncommitted: dict[TopicPartition, int] = {}
        self._lag: dict[int, int] = {}
        self._newest_ms: dict[TopicPartition, int] = {}
        self._started: set[TopicPartition] = set()
        self._offered: set[TopicPartition] = set()
        self._first: dict[TopicPartition, int] = {}
        self._next: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int | None] = {}
        self._pace = BatchSizer(options.max_poll_records, options.max_poll_interval_seconds)
        self.membership = Membership(None)
        self._looked_at = 0.0
        self._connected = self._is_resting = False
        with translated(connection, f"cannot join group {options.group_id}"):
            self._consumer = KafkaConsumer(
                **client_settings(connection),
                **fetch_settings(options),
                **group_settings(options),
                # Sticky: partitions stay where the windows of their series already are.
                partition_assignment_strategy=(StickyPartitionAssignor,),
            )
            self._consumer.subscribe([options.topic], listener=self._rebalances)
            self._out_of_range = DeletedOffsets(self._consumer._subscription)
            # A leader that joins without knowing the topic assigns nothing to anyone, then all again.
            self._consumer.partitions_for_topic(options.topic)

    def poll(self, timeout_seconds: float) -> Batch:
        """What has arrived, after at most about `timeout_seconds`; empty while the broker is away.

        Raises KafkaError for what waiting cannot heal: refused access, another member with our name.
        """
        self._pace.back()
        records = self._fetch(timeout_seconds)
        held, lost, is_new = self._settled()
        for tp, found in records.items():
            self._first.setdefault(tp, found[0].offset)
        for partition in lost:
            self._started.discard(partition)
            for known in (self._uncommitted, self._next, self._committed, self._newest_ms):
                known.pop(partition, None)
            self._out_of_range.forget(partition)
            if partition not in held:
                self._first.pop(partition, None)
        if is_new:
            # The client has gone back to what is committed; these we were reading elsewhere, maybe.
            records = {}
            for tp in held & (self._next.keys() | self._first.keys()):
                self._consumer.seek(tp, self._next.get(tp, self._first.get(tp)))
        assigned = held - self._started
        if self._options.awaits_start:
            self._offered = assigned
        else:
            self._started |= assigned
        records = {tp: found for tp, found in records.items() if tp in held & self._started}
        positions = {tp: at for tp, at in self._read().items() if tp in self._started}
        deleted = self._out_of_range.passed(positions, records)
        self._next |= {tp: at for tp, (_, at) in deleted.items()}
        self._next |= {tp: found[-1].offset + 1 for tp, found in records.items()}
        self._pace.taken(sum(map(len, records.values())))
        self._newest_ms = self._newest_ms | {tp: found[-1].timestamp for tp, found in records.items()}
        began = time.perf_counter()
        decoded = self._codec.decode_columns(RawColumns.of_consumed(chain.from_iterable(records.values())))
        decode_seconds = time.perf_counter() - began
        self._look_around()
        return Batch(
            decoded.readings,
            decoded.rejects,
            {(tp.topic, tp.partition): self._next[tp] for tp in records},
            time.time_ns(),
            frozenset(tp.partition for tp in lost),
            frozenset(tp.partition for tp in assigned),
            decoded.unknown_values,
            decode_seconds,
            {tp.partition: offsets for tp, offsets in deleted.items()},
        )

    def read_from(self, starts: Mapping[int, int]) -> None:
        """Start the newly assigned partitions at these offsets; those that are absent, of which nothing was
        ever committed, where they first were."""
        for tp in self._offered & self._consumer.assignment():
            start = starts.get(tp.partition, self._first.get(tp))
            if start is not None:
                self._consumer.seek(tp, start)
                self._next[tp] = start
            self._out_of_range.forget(tp)
            self._started.add(tp)
        self._offered = set()

    def use_codec(self, codec: Codec) -> None:
        """Decode what is polled from now on with another codec."""
        self._codec = codec

    @property
    def has_lost(self) -> bool:
        """Whether partitions were lost, or are started over, of which the next batch will tell."""
        return self._rebalances.has_lost

    def start_over(self) -> None:
        """Report every partition as lost and assigned again: what was made of them is not committed."""
        self._rebalances.lose(set(self._started))

    def committed(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        """The committed offset of each partition, None where there is none. Waits for transactions that
        may still commit one. Raises KafkaError."""
        found = self._committed_now(partitions)
        self._committed |= {
            TopicPartition(self._options.topic, number): offset for number, offset in found.items()
        }
        return found

    def delivered(self, position: Position) -> None:
        """These offsets were committed, in a transaction."""
        self._committed |= {TopicPartition(*key): offset for key, offset in position.items()}

    def earliest(self, partitions: Collection[int]) -> Mapping[int, int]:
        """The oldest offset that each partition still has."""
        wanted = [TopicPartition(self._options.topic, number) for number in partitions]
        with translated(self._connection, f"cannot look up the beginning of {self._options.topic}"):
            offsets = patiently(lambda: self._consumer.beginning_offsets(wanted))
        return {tp.partition: offset for tp, offset in offsets.items()}

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
            logger.warning("offsets not committed, will be later or by a new owner: %s", say(error))
        except errors.KafkaError as error:
            raise self._refused("cannot commit offsets", error) from error
        else:
            self._committed |= self._uncommitted
            self._uncommitted.clear()

    def end(self) -> Position:
        """The present end of each partition that we hold."""
        with translated(self._connection, f"cannot look up the end of {self._options.topic}"):
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
    def is_connected(self) -> bool:
        """Whether any broker of the cluster was connected to us about a second ago."""
        return self._connected

    @property
    def num_rebalances(self) -> int:
        """How often partitions were assigned to us, the first time included."""
        return self._rebalances.count

    @property
    def lag(self) -> Mapping[int, int]:
        """Partition -> messages between our position and its end, as of about a second ago at most. A
        partition that was not fetched yet is absent."""
        return self._lag

    @property
    def lag_seconds(self) -> Mapping[int, float]:
        """Partition -> age of the newest record that we have read, by the broker's timestamp and our clock; 0
        where nothing is left to read. A partition of which nothing was read yet is absent, unless it has
        nothing to read."""
        newest = {tp.partition: at for tp, at in list(self._newest_ms.items())}
        now_ms = time.time_ns() / 1e6
        return {
            number: max(0.0, now_ms - newest[number]) / 1e3 if messages else 0.0
            for number, messages in self._lag.items()
            if not messages or newest.get(number, -1) >= 0
        }

    def close(self) -> None:
        """Leave the group; nothing is committed. A static member stays in it until its session ends."""
        try:
            self._consumer.close(autocommit=False, timeout_ms=_CLOSE_SECONDS * 1000)
        except errors.KafkaError as error:
            logger.warning("did not leave group %s properly: %s", self._options.group_id, say(error))

    def _fetch(self, timeout_seconds: float) -> _Records:
        try:
            records: _Records = self._consumer.poll(
                timeout_ms=timeout_seconds * 1000, max_records=self._pace.limit
            )
        except errors.RetriableError as error:
            logger.warning("Kafka did not answer, trying on: %s", say(error))
            time.sleep(min(timeout_seconds, _RETRY_SECONDS))
            return {}
        except errors.KafkaError as error:
            raise self._refused(f"cannot read {self._options.topic}", error) from error
        return records

    def _settled(self) -> tuple[set[TopicPartition], set[TopicPartition], bool]:
        """The partitions that we hold, those we have lost, and whether the group has gone on since the last
        time: all under one membership, which is remembered. Rebalances go on in the client's own thread."""
        lost: set[TopicPartition] = set()
        while True:
            member = self._consumer.group_metadata()
            held = set(self._consumer.assignment()) if member.generation_id >= 0 else set()
            lost |= self._rebalances.take_lost()
            is_new = self.membership.metadata is None or member[:3] != self.membership.metadata[:3]
            if is_new:
                lost |= self._overtaken(held & self._started - lost)
            if self._consumer.group_metadata()[:3] == member[:3]:
                if held:
                    self.membership = Membership(member)
                return held, lost, is_new

    def _overtaken(self, kept: set[TopicPartition]) -> set[TopicPartition]:
        """Those of our partitions that were read by others meanwhile: the committed offset is not ours. The
        client tells of a rebalance, but not that we were out of the group for a while."""
        if not kept:
            return set()
        found = self._committed_now([tp.partition for tp in kept])
        return {tp for tp in kept if found[tp.partition] != self._committed.get(tp)}

    def _committed_now(self, partitions: Collection[int]) -> dict[int, int | None]:
        def ask() -> dict[int, int | None]:
            wanted = {number: TopicPartition(self._options.topic, number) for number in partitions}
            return {
                number: self._consumer.committed(tp, timeout_ms=_COMMITTED_MS)
                for number, tp in wanted.items()
            }

        try:
            return patiently(ask)
        except errors.RetriableError as error:
            raise self._refused("cannot look up committed offsets", error) from error

    def _look_around(self) -> None:
        """Once a second: how far behind we are, and whether the cluster is there at all."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        self._look_for_twin()
        ends = {tp: self._consumer.highwater(tp) for tp in self._consumer.assignment()}
        known = self._read().items()
        self._lag = {tp.partition: max(0, ends[tp] - at) for tp, at in known if ends.get(tp) is not None}
        client = self._consumer._client
        connected = any(client.connected(broker.node_id) for broker in client.cluster.brokers())
        if connected != self._connected:
            self._connected = connected
            servers, state = self._connection.servers, "are connected to" if connected else "have lost"
            logger.log(logging.INFO if connected else logging.WARNING, "we %s Kafka at %s", state, servers)

    def _look_for_twin(self) -> None:
        """A member whose instance id another one has taken is told so by the answer to a heartbeat: the
        client logs it, stops its heartbeats and says nothing. Twice, for they rest after joining, too."""
        coordinator = self._consumer._coordinator
        rests = coordinator.stable() and not coordinator._heartbeat_enabled
        if rests and self._is_resting and self._options.group_instance_id is not None:
            error = errors.FencedInstanceIdError()
            raise self._refused("cannot stay in the group", error)
        self._is_resting = rests

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
        return KafkaError(f"{doing} at {self._connection.servers}: {say(error)}")


_: type[StreamSource] = KafkaSource
