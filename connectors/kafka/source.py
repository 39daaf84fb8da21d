"""Reads Kafka topics as a member of a consumer group: batches of readings with the offsets behind them.

    >>> from connectors import Connection, ConsumerOptions, JsonWideCodec, KafkaSource
    >>> codec = JsonWideCodec(("temperature", "pressure"))
    >>> options = ConsumerOptions("readings", "my-group")
    >>> source = KafkaSource(Connection(("localhost:9092",)), options, codec)  # doctest: +SKIP

A broker that goes away is not an error: the client reconnects, and `poll` returns empty batches meanwhile.
The work is divided: `topic_consumer` holds the client, `partitions` the bookkeeping, this module the order.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from connectors.errors import WaitingError
from connectors.kafka.admin.new_partitions import NewPartitions
from connectors.kafka.admin.recreation import Recreation
from connectors.kafka.batch_size import BatchSizer
from connectors.kafka.connection import Connection, ConsumerOptions
from connectors.kafka.partitions import Change, GroupView, Lag, Partitions
from connectors.kafka.topic_consumer import SharedPartitions, TopicConsumer
from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch, Codec, Decoded, Membership, Position, RawColumns, StreamSource

_CHECK_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 1.0


class KafkaSource:
    """A `StreamSource` over topics. Partitions are shared with the other members of the group.

    Properties other than `membership`, and `assignment`, may be read from any thread. Everything else
    belongs to the thread that polls.
    """

    def __init__(
        self,
        connection: Connection,
        options: ConsumerOptions,
        codec: Codec,
        numbers: PartitionNumbers | None = None,
    ) -> None:
        """Join the group.

        Args:
            connection: the cluster and how to log in.
            options: the topic, the group, and how much to read at once.
            codec: decodes messages into readings.
            numbers: of the partitions, as all readings have them; None makes its own.

        Raises:
            KafkaError: the cluster cannot be reached or refuses access.
        """
        self._numbers, self._codec = numbers or PartitionNumbers(options.topic), codec
        self._partitions, self._lag = Partitions(options.awaits_start), Lag()
        self._sizer = BatchSizer(options.max_poll_records, options.max_poll_interval_seconds)
        self._checked_at, self.membership = 0.0, Membership(None)
        self._consumer = TopicConsumer(connection, options, self._numbers)
        self.shared = SharedPartitions(self._consumer)
        self._new = NewPartitions(self._consumer, begins_at_end=options.start == "latest")
        self._recreation = Recreation(self._consumer, commits_beginning=not options.awaits_start)

    def poll(self, timeout_seconds: float) -> Batch:
        """Return what has arrived, after at most about `timeout_seconds`; empty while the broker is away.

        1. Fetch records of these topics, none of a successor. 2. Read what the group assigned and took away.
        3. Update the bookkeeping and seek. 4. Decode. 5. Note deletions and the next offsets.

        Raises KafkaError: access is refused, or another process uses this group_instance_id.
        """
        self._sizer.back()
        fetched = self._consumer.poll(timeout_seconds, self._sizer.limit)  # 1
        fetched = self._recreation.usable(fetched, self._partitions.started, self._lag.messages)
        group = self._group_now()  # 2
        change = self._follow(group, fetched)  # 3
        records = {number: found for number, found in fetched.items() if number in change.usable}
        records, decoded, decode_seconds = _decode(self._codec, self._consumer, records)  # 4
        deleted = _advance(self._consumer, self._partitions, self._lag, records)  # 5
        self._sizer.taken(sum(map(len, records.values())))
        self._check_now_and_then()
        return Batch(
            decoded.readings,
            decoded.rejects,
            self._numbers.position({number: found[-1].offset + 1 for number, found in records.items()}),
            time.time_ns(),
            group.lost,
            change.assigned,
            decoded.unknown_values,
            decode_seconds,
            deleted,
            self._recreation.take_unread(change.assigned),
            decoded.strangers,
        )

    def read_from(self, starts: Mapping[int, int]) -> None:
        """Start the newly assigned partitions at these offsets, absent ones where they were first fetched."""
        begins = self._partitions.start(starts, self._consumer.assignment())
        self._consumer.seek({number: at for number, at in begins.items() if at is not None})
        self._consumer.deleted.forget(begins)

    def use_codec(self, codec: Codec) -> None:
        """Decode with another codec from the next `poll` on."""
        self._codec = codec

    @property
    def has_lost(self) -> bool:
        """Whether the next batch will report lost partitions, or partitions that start over."""
        return self._consumer.rebalances.has_lost

    def start_over(self) -> None:
        """Report every partition as lost and assigned again: their readings could not be committed."""
        self._consumer.rebalances.lose(self._partitions.started)

    def committed(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        """Return the committed offset of each partition, None if there is none.

        Waits for transactions that may still commit one. Raises KafkaError.
        """
        found = self._consumer.committed(partitions)
        self._partitions.note_committed(found)
        return found

    def delivered(self, position: Position) -> None:
        """Note that a transaction has committed these offsets."""
        self._partitions.note_committed(self._numbers.of(position))

    def earliest(self, partitions: Collection[int]) -> Mapping[int, int]:
        """Return the oldest offset that each partition still holds. Raises KafkaError."""
        return self._consumer.earliest(partitions)

    def commit(self, position: Position) -> None:
        """Commit these offsets, and those whose commit failed before.

        What the group or an absent broker refuses is logged and read again. Raises KafkaError otherwise.
        """
        offsets = self._partitions.to_commit(self._numbers.of(position))
        if offsets and self._consumer.rebalances.joined and self._consumer.commit(offsets):
            self._partitions.commit_done()

    def end(self) -> Position:
        """Return the present end of each partition that is assigned. Raises KafkaError."""
        return self._numbers.position(self._consumer.ends())

    def has_reached(self, position: Position) -> bool:
        """Whether everything before `position` was read, of the partitions that are assigned."""
        held, read = self._consumer.assignment(), self._consumer.positions()
        wanted = ((number, at) for number, at in self._numbers.of(position).items() if number in held)
        return self._consumer.rebalances.joined and all(read.get(number, 0) >= at for number, at in wanted)

    def assignment(self) -> frozenset[int]:
        """Return the partitions that are assigned to this process."""
        return self._consumer.assignment()

    def identity_of(self, partition: int) -> str:
        """Return the broker's id of the partition's topic; one created again has another. Empty: unknown."""
        return self._consumer.identity(self._numbers.topic_of(partition))

    @property
    def is_assigned(self) -> bool:
        """Whether this process is in the group and reads every partition assigned to it; it may hold none."""
        return self._consumer.rebalances.is_followed and not self._partitions.is_waiting

    @property
    def is_connected(self) -> bool:
        """Whether any broker of the cluster was connected about a second ago."""
        return self._consumer.is_connected

    @property
    def num_rebalances(self) -> int:
        """How often partitions were assigned, including the first time."""
        return self._consumer.rebalances.count

    @property
    def lag(self) -> Mapping[int, int]:
        """Partition -> messages not read yet, about a second ago; absent before the first fetch."""
        return self._lag.messages

    @property
    def lag_seconds(self) -> Mapping[int, float]:
        """Partition -> age of the newest record read, by the broker's timestamp and the local clock."""
        return self._lag.seconds(time.time_ns() / 1e6)

    def close(self) -> None:
        """Leave the group; commit nothing. A static member stays in it until its session ends."""
        self._consumer.close()

    def _group_now(self) -> GroupView:
        """Return held and lost partitions, all under one membership, and remember that membership.

        The client rebalances in its own thread, so this repeats until nothing changed in between.
        """
        group = GroupView(frozenset())
        while True:
            member = self._consumer.group_metadata()
            held = self._consumer.assignment() if member.generation_id >= 0 else frozenset()
            before = self.membership.metadata
            is_new = before is None or member[:3] != before[:3]
            group = GroupView(held, group.lost | self._consumer.rebalances.take_lost(), is_new)
            if is_new:
                found = self._consumer.committed(self._partitions.kept(group))
                group = replace(group, lost=group.lost | self._partitions.overtaken(found))
            if self._consumer.group_metadata()[:3] == member[:3]:
                if held:
                    self.membership = Membership(member, self.shared.notes)
                return group

    def _follow(self, group: GroupView, fetched: Mapping[int, list[Any]]) -> Change:
        """Update the bookkeeping and seek where it asks for it."""
        first = {number: found[0].offset for number, found in fetched.items()}
        first |= self._new.begins(self._partitions.unknown(group))
        change = self._partitions.follow(group, first)
        self._consumer.rebalances.follow()
        self._consumer.deleted.forget(group.lost)
        self._lag.forget(group.lost)
        self._consumer.seek(change.seek)
        if change.restart:
            self._consumer.seek(self._partitions.resume(self._consumer.committed(change.restart)))
        return change

    def _check_now_and_then(self) -> None:
        """Once a second: measure the lag and check the connection."""
        if (now := time.monotonic()) - self._checked_at >= _CHECK_SECONDS:
            self._checked_at = now
            self._consumer.check()
            self._lag.measure(self._consumer.positions(), self._consumer.known_ends())


def _decode(
    codec: Codec, consumer: TopicConsumer, records: dict[int, list[Any]]
) -> tuple[dict[int, list[Any]], Decoded, float]:
    """Return the records that can be decoded now, what they are, and the seconds that this took.

    The others are read again: what they need cannot be fetched now.
    """
    while True:
        began = time.perf_counter()
        try:
            decoded = codec.decode_columns(_raw_of(records))
        except WaitingError as error:
            begins = {number: at for (_, number), at in error.begins.items()}
            consumer.seek(begins)
            time.sleep(min(error.retry_seconds, _LONGEST_WAIT_SECONDS))
            kept = {
                number: [one for one in found if one.offset < begins.get(number, one.offset + 1)]
                for number, found in records.items()
            }
            records = {number: found for number, found in kept.items() if found}
        else:
            rejects = tuple(
                replace(one, in_topic=consumer.numbers.place(one.partition)[1]) for one in decoded.rejects
            )
            return records, replace(decoded, rejects=rejects), time.perf_counter() - began


def _advance(
    consumer: TopicConsumer, partitions: Partitions, lag: Lag, records: Mapping[int, list[Any]]
) -> dict[int, tuple[int, int]]:
    """Note how far this poll has come; return what was deleted unread, as `Batch.deleted` has it."""
    started = partitions.started
    positions = {number: at for number, at in consumer.positions().items() if number in started}
    deleted = consumer.deleted.passed(positions, records)
    behind = {number: found[-1].offset + 1 for number, found in records.items()}
    partitions.advance({number: at for number, (_, at) in deleted.items()} | behind)
    lag.read({number: found[-1].timestamp for number, found in records.items()})
    return deleted


def _raw_of(records: Mapping[int, list[Any]]) -> RawColumns:
    """Return the records as columns; their partitions are numbers as of `PartitionNumbers`."""
    counts = [len(found) for found in records.values()]
    raw = RawColumns.of_consumed(chain.from_iterable(records.values()))
    return replace(raw, partition=np.repeat(np.array(list(records), np.int32), counts))


if TYPE_CHECKING:
    _: type[StreamSource] = KafkaSource
