"""Reads a topic as a member of a consumer group, including messages before the committed position.

It serves a caller that forwards messages to a receiver outside. The caller decides when to commit. A newly
assigned partition is first read from some messages before its position, so that the caller can rebuild its
state.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition, errors
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from connectors.kafka.cluster import one_line, translated
from connectors.kafka.connection import (
    Connection,
    ConsumerOptions,
    client_settings,
    fetch_settings,
    group_settings,
)

logger = logging.getLogger(__name__)

_CLOSE_SECONDS = 2.0
_LOOK_UP_MS = 10_000
_PAUSE_SECONDS = 0.25
_LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Read:
    """A message and its age for the group.

    age        `old`: before the committed position, so it was handled already;
               `found`: nothing was ever committed, and the message is older than the group;
               `new`: everything else
    time_ms    epoch milliseconds, set by its producer
    """

    partition: int
    offset: int
    value: bytes
    time_ms: int
    age: Literal["old", "found", "new"]


@dataclass(frozen=True, slots=True)
class Polled:
    """The result of a poll.

    messages        in order within a partition
    is_reassigned   partitions were assigned: discard everything that is not committed, it is read again
    read_back       partition -> offset where its old messages ended, if all of them are read since this poll
    notes           with `is_reassigned`: partition -> the text that was committed beside its position
    """

    messages: tuple[Read, ...] = ()
    is_reassigned: bool = False
    read_back: Mapping[int, int] = field(default_factory=dict)
    notes: Mapping[int, str] = field(default_factory=dict)


class _Changes(ConsumerRebalanceListener):  # type: ignore[misc]
    """Counts assignments. It is called on the client's network thread, so it must not block."""

    def __init__(self) -> None:
        self.count = 0
        self.joined = False

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self.joined = False

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        self.joined = False

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self.count += 1
        self.joined = True


class GroupReader:
    """Promise: every message after the committed position is read at least once. Not thread-safe.

    Methods raise KafkaError for a failure from which the client does not recover: close this reader then, and
    make another.
    """

    def __init__(
        self, connection: Connection, options: ConsumerOptions, num_back: int, since_ms: int
    ) -> None:
        """Join the group.

        Args:
            connection: the cluster and how to log in.
            options: the topic and the group.
            num_back: maximum of messages a partition that are read before its committed position.
            since_ms: when the group began, epoch milliseconds, for partitions without a commit.

        Raises:
            KafkaError: the cluster cannot be reached or refuses access.
        """
        self._connection, self._options = connection, options
        self._num_back, self._since_ms = num_back, since_ms
        self._changes = _Changes()
        self._settled = 0
        self._committed: dict[TopicPartition, tuple[int, str] | None] = {}
        self._had_position: set[TopicPartition] = set()
        self._back_until: dict[TopicPartition, int] = {}
        self._polled_at = time.monotonic()
        with translated(connection, f"cannot join group {options.group_id}"):
            self._consumer = KafkaConsumer(
                **client_settings(connection),
                **fetch_settings(options),
                **group_settings(options),
                partition_assignment_strategy=(StickyPartitionAssignor,),
            )
            self._consumer.subscribe([options.topic], listener=self._changes)
            self._consumer.partitions_for_topic(options.topic)

    def poll(self, timeout_seconds: float, room: int) -> Polled:
        """Return what has arrived, after at most about `timeout_seconds`.

        Args:
            timeout_seconds: the longest wait.
            room: maximum of messages to return; with 0 only the membership is kept alive.
        """
        with translated(self._connection, f"cannot read {self._options.topic}"):
            records = self._fetch(timeout_seconds, room)
            if self._changes.count != self._settled:
                is_reassigned = self._settle()
                committed = self._committed.items()
                notes = {tp.partition: one[1] for tp, one in committed if one is not None}
                return Polled(is_reassigned=is_reassigned, notes=notes)
            messages = [self._classified(tp, record) for tp in records for record in records[tp]]
            return Polled(tuple(messages), read_back=self._now_read_back())

    def commit(self, position: Mapping[int, int], note: str = "") -> None:
        """Commit those of the offsets that changed, or beside which another note is committed.

        If the group went on without this process, that is logged: what is not committed is read again.
        """
        wanted = {TopicPartition(self._options.topic, number): (at, note) for number, at in position.items()}
        offsets = {tp: one for tp, one in wanted.items() if self._committed.get(tp) != one}
        if not offsets or not self.is_member:
            return
        with translated(self._connection, f"cannot commit positions of {self._options.group_id}"):
            try:
                self._consumer.commit(
                    {tp: OffsetAndMetadata(*one, -1) for tp, one in offsets.items()}, timeout_ms=_LOOK_UP_MS
                )
            except (errors.CommitFailedError, errors.RetriableError) as error:
                logger.warning("positions not committed, a later commit will retry: %s", one_line(error))
            else:
                self._committed |= offsets

    @property
    def is_member(self) -> bool:
        """Whether this process is in the group and has polled lately: false after it was suspended."""
        quiet = time.monotonic() - self._polled_at
        settled = self._changes.joined and self._changes.count == self._settled
        return settled and quiet < self._options.session_timeout_seconds

    @property
    def is_reading_back(self) -> bool:
        """Whether old messages are still to be read."""
        return bool(self._back_until)

    @property
    def lag(self) -> int:
        """Messages of the assigned partitions that were not read yet, as far as known."""
        consumed = self._consumer._subscription.all_consumed_offsets()
        ends = ((self._consumer.highwater(tp), position.offset) for tp, position in consumed.items())
        return sum(max(0, end - at) for end, at in ends if end is not None)

    def close(self) -> None:
        """Leave the group; commit nothing."""
        try:
            self._consumer.close(autocommit=False, timeout_ms=_CLOSE_SECONDS * 1000)
        except errors.KafkaError as error:
            logger.warning("did not leave group %s properly: %s", self._options.group_id, one_line(error))

    def _fetch(self, timeout_seconds: float, room: int) -> dict[TopicPartition, list[object]]:
        """Poll the client; without room, fetch one record now and then and put it back.

        The client's `pause` would be simpler, but kafka-python 3.0 can lose records that it had fetched.
        Parked records of one partition stay parked while those of another are used up.
        """
        now = time.monotonic()
        if room <= 0 and now - self._polled_at < _LOOK_SECONDS:
            time.sleep(timeout_seconds)
            return {}
        found: dict[TopicPartition, list[object]] = self._consumer.poll(
            timeout_ms=timeout_seconds * 1000, max_records=max(room, 1)
        )
        self._polled_at = time.monotonic()
        if room > 0:
            return found
        for tp, records in found.items():
            if tp in self._consumer.assignment():
                self._consumer.seek(tp, records[0].offset)  # type: ignore[attr-defined]  # of the client
        return {}

    def _settle(self) -> bool:
        """Seek every assigned partition to some messages before its committed position.

        The client rebalances in its own thread; if that interferes, the next poll repeats this.
        """
        count, held = self._changes.count, self._consumer.assignment()
        try:
            found = {tp: self._consumer.committed(tp, metadata=True, timeout_ms=_LOOK_UP_MS) for tp in held}
            committed = {tp: None if one is None else one.offset for tp, one in found.items()}
            begins = self._consumer.beginning_offsets(list(held)) if held else {}
            ends = self._consumer.end_offsets(list(held)) if held else {}
            for tp in held:
                self._warn_of_deleted(tp, committed[tp], begins[tp])
                until = min(ends[tp] if committed[tp] is None else committed[tp], ends[tp])
                self._consumer.seek(tp, max(begins[tp], until - self._num_back))
        except (errors.RetriableError, ValueError) as error:  # ValueError: no longer assigned
            logger.warning("cannot look up positions of %s yet: %s", self._options.group_id, error)
            time.sleep(_PAUSE_SECONDS)
            return True
        self._committed = {
            tp: None if one is None else (one.offset, one.metadata or "") for tp, one in found.items()
        }
        self._had_position = {tp for tp, at in committed.items() if at is not None}
        self._back_until = {tp: ends[tp] if at is None else min(at, ends[tp]) for tp, at in committed.items()}
        self._settled = count
        return True

    def _warn_of_deleted(self, tp: TopicPartition, committed: int | None, begin: int) -> None:
        if committed is not None and committed < begin:
            logger.error(
                "retention of %s has deleted %d messages of partition %d that %s had not read",
                tp.topic, begin - committed, tp.partition, self._options.group_id,
            )  # fmt: skip

    def _classified(self, tp: TopicPartition, record: object) -> Read:
        offset, time_ms = record.offset, record.timestamp  # type: ignore[attr-defined]  # of the client
        age: Literal["old", "found", "new"] = "new"
        if offset < self._back_until.get(tp, 0):
            if tp in self._had_position:
                age = "old"
            elif time_ms < self._since_ms:
                age = "found"
        value: bytes = record.value or b""  # type: ignore[attr-defined]
        return Read(tp.partition, offset, value, time_ms, age)

    def _now_read_back(self) -> dict[int, int]:
        """Return the partitions whose old messages were all read since the last call."""
        consumed = self._consumer._subscription.all_consumed_offsets()
        at = {tp: position.offset for tp, position in consumed.items()}
        done = {tp for tp, until in self._back_until.items() if at.get(tp, -1) >= until}
        return {tp.partition: self._back_until.pop(tp) for tp in done}
