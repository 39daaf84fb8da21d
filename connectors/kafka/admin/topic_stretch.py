"""Reads a topic between two offsets, outside any group: what a group has processed, once more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition

from connectors.errors import KafkaError
from connectors.kafka.cluster import patiently, translated
from connectors.kafka.connection import Connection, ConsumerOptions, client_settings, fetch_settings
from connectors.records import RawColumns

_POLL_MS = 500
_COMMITTED_MS = 5_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """Offsets of a partition: the oldest one that is left, the end, and the one that a group has committed.

    `committed` is None if the group never committed one.
    """

    first: int
    end: int
    committed: int | None


def bounds_of(connection: Connection, topics: Sequence[str], group_id: str) -> dict[tuple[str, int], Bounds]:
    """Return (topic, partition) -> its bounds; the group is asked without joining it.

    Raises:
        KafkaError: This login sees no partition of the topics, or not the offsets of the group.
    """
    settings = client_settings(connection) | {"group_id": group_id, "enable_auto_commit": False}
    shown = ", ".join(topics)
    with translated(connection, f"cannot look up offsets of {shown} and group {group_id}"):
        looker = KafkaConsumer(**settings)
        try:
            places = [
                TopicPartition(topic, number)
                for topic in topics
                for number in looker.partitions_for_topic(topic) or ()
            ]
            if not places:
                raise KafkaError(f"no partition of {shown} can be seen")
            firsts = patiently(lambda: looker.beginning_offsets(places))
            ends = patiently(lambda: looker.end_offsets(places))
            committed = patiently(
                lambda: {tp: looker.committed(tp, timeout_ms=_COMMITTED_MS) for tp in places}
            )
        finally:
            looker.close(autocommit=False)
    return {(tp.topic, tp.partition): Bounds(firsts[tp], ends[tp], committed[tp]) for tp in sorted(places)}


def read_stretch(
    connection: Connection, topic: str, partition: int, first: int, until: int
) -> Iterator[RawColumns]:
    """Yield the committed messages of a partition from offset `first`, before `until`.

    Raises:
        KafkaError: The topic cannot be read.
    """
    place = TopicPartition(topic, partition)
    options = ConsumerOptions(topic, "", max_poll_records=4_096)
    settings = client_settings(connection) | fetch_settings(options) | {"max_poll_records": 4_096}
    with translated(connection, f"cannot read topic {topic}"):
        reader = KafkaConsumer(**settings, auto_offset_reset="earliest")
        try:
            reader.assign([place])
            reader.seek(place, first)
            while reader.position(place) < until:
                found = reader.poll(timeout_ms=_POLL_MS).get(place, [])
                yield RawColumns.of_consumed(one for one in found if one.offset < until)
        finally:
            reader.close(autocommit=False)
