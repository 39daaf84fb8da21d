"""Topics read as a member of a consumer group: the Kafka client, with partitions as plain numbers.

The client's errors become KafkaError with the attempted step, the cluster and the remedy. What passes by
itself, such as a broker that is away, is logged and tried again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from typing import Any

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition, errors
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from connectors.errors import KafkaError
from connectors.kafka.admin.topic_names import expression_of, is_pattern
from connectors.kafka.client_events import DeletedOffsets, Rebalances
from connectors.kafka.cluster import identity_of, one_line, patiently, refusal, translated
from connectors.kafka.connection import (
    Connection,
    ConsumerOptions,
    client_settings,
    fetch_settings,
    group_settings,
)
from connectors.partition_numbers import PartitionNumbers

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 0.2
_CLOSE_SECONDS = 10.0
_COMMITTED_MS = 5_000
_OUSTED = (
    errors.CommitFailedError,
    errors.RebalanceInProgressError,
    errors.UnknownMemberIdError,
    errors.IllegalGenerationError,
)
"""Errors of a commit after the group went on without this process."""


class TopicConsumer:
    """A member of a consumer group. Not thread-safe, except for `assignment` and `is_connected`.

    notes  (topic, partition) -> the text that is committed beside the offset, at first the one that was
    """

    def __init__(self, connection: Connection, options: ConsumerOptions, numbers: PartitionNumbers) -> None:
        """Join the group. Raises KafkaError if the cluster cannot be reached or refuses access."""
        self._connection, self._options, self.numbers = connection, options, numbers
        self._is_connected = self._is_resting = self._is_closed = False
        self.rebalances, self.notes = Rebalances(numbers), dict[tuple[str, int], str]()
        with translated(connection, f"cannot join group {options.group_id}"):
            self._consumer = KafkaConsumer(
                **client_settings(connection),
                **fetch_settings(options),
                **group_settings(options),
                # Sticky: partitions stay where the windows of their series already are.
                partition_assignment_strategy=(StickyPartitionAssignor,),
            )
            topics = list(options.topics) or [options.topic]
            if any(map(is_pattern, topics)):
                expression = expression_of(topics, options.excluded)
                self._consumer.subscribe(pattern=expression, listener=self.rebalances)
            else:
                self._consumer.subscribe(topics, listener=self.rebalances)
            self.deleted = DeletedOffsets(self._consumer._subscription, numbers)
            # A group leader that does not know the topic yet assigns nothing, and then rebalances again.
            for topic in topics:
                if not is_pattern(topic):
                    self._consumer.partitions_for_topic(topic)

    def poll(self, timeout_seconds: float, max_records: int) -> dict[int, list[Any]]:
        """Return the records that arrived, by partition; none while the broker is away."""
        try:
            records = self._consumer.poll(timeout_ms=timeout_seconds * 1000, max_records=max_records)
        except errors.RetriableError as error:
            logger.warning("Kafka did not answer, trying again: %s", one_line(error))
            time.sleep(min(timeout_seconds, _RETRY_SECONDS))
            return {}
        except errors.KafkaError as error:
            raise self._refused(f"cannot read {self._options.shown}", error) from error
        return {self._number(tp): found for tp, found in records.items()}

    def group_metadata(self) -> Any:
        """Return the client's present membership: generation_id is negative outside the group."""
        return self._consumer.group_metadata()

    def assignment(self) -> frozenset[int]:
        """Return the partitions that are assigned to this process."""
        return frozenset(map(self._number, self._consumer.assignment()))

    def topics(self) -> frozenset[str]:
        """Return the topics that are read and exist, as of the last metadata."""
        return frozenset(self._consumer.subscription() or ())

    def identity(self, topic: str) -> str:
        """Return the broker's id of a topic as of the last metadata, "" where it is unknown."""
        return identity_of(self._consumer._client.cluster.topic_id(topic))

    def rewind(self, topics: Collection[str]) -> bool:
        """Commit the oldest offset of the assigned partitions of topics; return whether that is done."""
        held = {number for number in self.assignment() if self.numbers.topic_of(number) in topics}
        held &= self.partitions()
        return not held or self.commit(self.earliest(held))

    def seek(self, offsets: Mapping[int, int]) -> None:
        """Read on from these offsets; skip partitions that were taken away in the meantime."""
        for number in offsets.keys() & self.assignment():
            self._consumer.seek(self._named(number), offsets[number])

    def positions(self) -> dict[int, int]:
        """Return the next offset of each partition, where known.

        The client's public `position` would ask the broker for the others, and so interfere with what
        the client is about to do.
        """
        consumed = self._consumer._subscription.all_consumed_offsets()
        return {self._number(tp): position.offset for tp, position in consumed.items()}

    def known_ends(self) -> dict[int, int | None]:
        """Return the end of each assigned partition as of the last fetch, None if not fetched yet."""
        return {self._number(tp): self._consumer.highwater(tp) for tp in self._consumer.assignment()}

    def partitions(self) -> frozenset[int]:
        """Return all partitions of the topics as of the last metadata."""
        cluster = self._consumer._client.cluster
        return frozenset(
            self.numbers.number(topic, partition)
            for topic in sorted(self.topics())
            for partition in cluster.partitions_for_topic(topic) or ()
        )

    def ends(self, partitions: Collection[int] | None = None) -> dict[int, int]:
        """Ask the broker for the end of each partition; None means those that are assigned."""
        wanted = [self._named(number) for number in (self.assignment() if partitions is None else partitions)]
        with translated(self._connection, f"cannot look up the end of {self._options.shown}"):
            ends = patiently(lambda: self._consumer.end_offsets(wanted))
        return {self._number(tp): offset for tp, offset in ends.items()}

    def earliest(self, partitions: Collection[int]) -> dict[int, int]:
        """Ask the broker for the oldest offset of each partition."""
        wanted = [self._named(number) for number in partitions]
        with translated(self._connection, f"cannot look up the beginning of {self._options.shown}"):
            offsets = patiently(lambda: self._consumer.beginning_offsets(wanted))
        return {self._number(tp): offset for tp, offset in offsets.items()}

    def committed(self, partitions: Collection[int]) -> dict[int, int | None]:
        """Ask the broker for the committed offset of each partition; waits for open transactions.

        The notes become those that were committed.
        """

        committed, options = self._consumer.committed, {"metadata": True, "timeout_ms": _COMMITTED_MS}
        try:
            found = patiently(lambda: {at: committed(self._named(at), **options) for at in partitions})
        except errors.KafkaError as error:
            raise self._refused("cannot look up committed offsets", error) from error
        texts = {number: one.metadata or "" for number, one in found.items() if one is not None}
        self.notes |= {self.numbers.place(number): text for number, text in texts.items()}
        return {number: None if one is None else one.offset for number, one in found.items()}

    def commit(self, offsets: Mapping[int, int]) -> bool:
        """Commit; return False, after a warning, if the group went on without us or the broker is away."""
        wanted = {
            self._named(number): OffsetAndMetadata(at, self.notes.get(self.numbers.place(number), ""), -1)
            for number, at in offsets.items()
        }
        try:
            self._consumer.commit(wanted, timeout_ms=self._options.commit_timeout_seconds * 1000)
        except (*_OUSTED, errors.RetriableError) as error:
            logger.warning("offsets not committed, this or the next owner will retry: %s", one_line(error))
            return False
        except errors.KafkaError as error:
            raise self._refused("cannot commit offsets", error) from error
        return True

    @property
    def is_connected(self) -> bool:
        """Whether any broker of the cluster was connected at the last `check`."""
        return self._is_connected

    def check(self) -> None:
        """Update `is_connected`. Raises KafkaError if another process uses this instance id."""
        self._check_twin()
        self._finish_joining()
        client = self._consumer._client
        connected = any(client.connected(broker.node_id) for broker in client.cluster.brokers())
        if connected != self._is_connected:
            self._is_connected = connected
            level, event = (logging.INFO, "connected") if connected else (logging.WARNING, "connection lost")
            logger.log(level, "%s: Kafka at %s", event, self._connection.servers)

    def close(self) -> None:
        """Leave the group; commit nothing. A static member stays in it until its session ends."""
        is_closed, self._is_closed = self._is_closed, True
        if is_closed:
            return
        try:
            self._consumer.close(autocommit=False, timeout_ms=_CLOSE_SECONDS * 1000)
        except errors.KafkaError as error:
            logger.warning("did not leave group %s properly: %s", self._options.group_id, one_line(error))

    def _finish_joining(self) -> None:
        """Have the client complete a join that it has begun.

        A join that a change of the topic caused may take longer than a poll. If this process leads the group,
        the client takes the change as done when it assigns. It then waits for the join no more, and holds no
        partitions for ever.
        """
        coordinator = self._consumer._coordinator
        if coordinator.rejoining:
            coordinator.request_rejoin()

    def _check_twin(self) -> None:
        """Raise if another process has joined with our instance id.

        The answer to a heartbeat reports it, and then the client only logs it and stops its heartbeats.
        Heartbeats also rest for a moment after joining, so the state must be seen twice.
        """
        coordinator = self._consumer._coordinator
        rests = coordinator.stable() and not coordinator._heartbeat_enabled
        if rests and self._is_resting and self._options.group_instance_id is not None:
            raise self._refused("cannot stay in the group", errors.FencedInstanceIdError())
        self._is_resting = rests

    def _named(self, number: int) -> TopicPartition:
        return TopicPartition(*self.numbers.place(number))

    def _number(self, place: TopicPartition) -> int:
        return self.numbers.number(place.topic, place.partition)

    def _refused(self, doing: str, error: errors.KafkaError) -> KafkaError:
        if isinstance(error, errors.FencedInstanceIdError):
            return KafkaError(
                f"{doing}: another member of group {self._options.group_id} has our group_instance_id"
                f" {self._options.group_instance_id!r}; give each member its own"
            )
        is_group = isinstance(error, errors.GroupAuthorizationFailedError)
        name = self._options.group_id if is_group else self._options.shown
        return refusal(f"{doing} at {self._connection.servers}", error, name=name)


class SharedPartitions:
    """What the processes of a group share: the partitions, and the texts beside the committed offsets.

    It belongs to the thread that polls. Partitions are (topic, partition) here, as other processes name them.
    """

    def __init__(self, consumer: TopicConsumer) -> None:
        self._consumer = consumer

    @property
    def notes(self) -> dict[tuple[str, int], str]:
        """The texts to commit beside offsets from now on; those of held partitions are up to date."""
        return self._consumer.notes

    def held(self) -> dict[tuple[str, int], int]:
        """Return the partitions of this process, each with its number."""
        return {self._consumer.numbers.place(number): number for number in self._consumer.assignment()}

    def all(self) -> frozenset[tuple[str, int]]:
        """Return all partitions of the topics that are read."""
        return frozenset(map(self._consumer.numbers.place, self._consumer.partitions()))
