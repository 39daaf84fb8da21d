"""Reads saved state from a compacted topic that has the same partitions as the input.

The state of an input partition is in the state partition of the same number. The next owner of a partition
therefore reads exactly one partition, completely.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from kafka import KafkaConsumer, TopicPartition, errors

from connectors.errors import KafkaError
from connectors.kafka.cluster import patiently, refusal
from connectors.kafka.connection import Connection, client_settings

_PATIENCE_SECONDS = 180.0
_POLL_MS = 200

Records = dict[bytes, bytes]
"""Key -> newest value; a deleted key is absent."""


def read_state(connection: Connection, topic: str, partitions: Iterable[int]) -> dict[int, Records]:
    """Return the newest committed record of every key, by partition.

    Blocks until transactions that are still open there have ended: their producers are gone or fenced, and
    the broker ends them at their timeout.

    Args:
        connection: the cluster and how to log in.
        topic: the compacted topic.
        partitions: the partitions to read.

    Raises:
        KafkaError: the topic cannot be read, or a transaction does not end for three minutes.
    """
    wanted = [TopicPartition(topic, number) for number in sorted(partitions)]
    if not wanted:
        return {}
    try:
        return patiently(lambda: _read_all(connection, wanted))
    except errors.KafkaError as error:
        raise refusal(f"cannot read {topic} at {connection.servers}", error, name=topic) from error


def _read_all(connection: Connection, wanted: list[TopicPartition]) -> dict[int, Records]:
    found: dict[int, Records] = {tp.partition: {} for tp in wanted}
    ends = _ends(connection, wanted)
    reader = KafkaConsumer(**_settings(connection, "read_committed"))
    try:
        _read(reader, ends, found)
    finally:
        reader.close(autocommit=False)
    return found


def _settings(connection: Connection, isolation: str) -> dict[str, object]:
    return {
        **client_settings(connection),
        "isolation_level": isolation,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
        "max_poll_records": 50_000,
    }


def _ends(connection: Connection, wanted: list[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the ends of the partitions, open transactions included."""
    looker = KafkaConsumer(**_settings(connection, "read_uncommitted"))
    try:
        ends: dict[TopicPartition, int] = looker.end_offsets(wanted)
        return ends
    finally:
        looker.close(autocommit=False)


def _read(reader: KafkaConsumer, ends: dict[TopicPartition, int], found: dict[int, Records]) -> None:
    partitions = list(ends)
    reader.assign(partitions)
    reader.seek_to_beginning(*partitions)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while any(reader.position(tp) < ends[tp] for tp in partitions):
        if time.monotonic() > deadline:
            late = {tp: at for tp in partitions if (at := reader.position(tp)) < ends[tp]}
            raise KafkaError(_unended(late))
        for tp, records in reader.poll(timeout_ms=_POLL_MS).items():
            newest = found[tp.partition]
            for record in records:
                key = record.key or b""
                if record.value is None:
                    newest.pop(key, None)
                else:
                    newest[key] = record.value


def _unended(late: Mapping[TopicPartition, int]) -> str:
    """Describe a transaction that does not end, and how an operator can end it.

    Apache Kafka 4 may fail to end a transaction in a partition without a leader, and then considers it
    ended (KAFKA-20734).
    """
    tp, at = next(iter(late.items()))
    places = ", ".join(f"partition {tp.partition} at offset {at}" for tp, at in late.items())
    return (
        f"a transaction in {tp.topic} has not ended for {_PATIENCE_SECONDS:.0f} s ({places}): another process"
        " hangs in it, or the broker was killed and did not end it; then abort it with"
        f" `kafka-transactions.sh --bootstrap-server SERVER abort --topic {tp.topic}"
        f" --partition {tp.partition} --start-offset {at}`"
    )
