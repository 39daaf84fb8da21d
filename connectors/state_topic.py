"""The state topic: compacted, with as many partitions as the input, written in the same transactions.

The state of an input partition lies in the state partition of the same number, so that who takes over a
partition reads one partition, whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition, errors

from connectors.cluster import say
from connectors.connection import Connection, client_settings
from connectors.errors import KafkaError

_PATIENCE_SECONDS, _STILL_SECONDS = 180.0, 5.0
_POLL_MS = 200

Records = dict[bytes, bytes]
"""Key -> newest value; what was deleted is absent."""


def read_state(connection: Connection, topic: str, partitions: Iterable[int]) -> dict[int, Records]:
    """The newest committed record of every key, by partition.

    Waits for transactions that are still open there to end: whoever wrote them is gone or fenced, and the
    broker ends them at their timeout. Raises KafkaError where that takes unreasonably long.
    """
    wanted = [TopicPartition(topic, number) for number in sorted(partitions)]
    if not wanted:
        return {}
    found: dict[int, Records] = {tp.partition: {} for tp in wanted}
    try:
        ends = _ends(connection, wanted)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        starts: dict[TopicPartition, int] = {}
        while any(starts.get(tp, 0) < end for tp, end in ends.items()):
            if time.monotonic() > deadline:
                raise _unended(topic, starts, ends)
            starts = _read(connection, starts, ends, found)
    except errors.KafkaError as error:
        raise KafkaError(f"cannot read {topic} at {connection.servers}: {say(error)}") from error
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
    """The end of what was written, open transactions included."""
    looker = KafkaConsumer(**_settings(connection, "read_uncommitted"))
    try:
        ends: dict[TopicPartition, int] = looker.end_offsets(wanted)
        return ends
    finally:
        looker.close(autocommit=False)


def _read(
    connection: Connection,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    found: dict[int, Records],
) -> dict[TopicPartition, int]:
    """Read on from `starts` (absent: the beginning) to `ends` or until nothing has come for a while, in which
    a transaction may be open or the client stuck; returns where to go on, with a client of its own again."""
    reader = KafkaConsumer(**_settings(connection, "read_committed"))
    try:
        reader.assign(list(ends))
        reader.seek_to_beginning(*(tp for tp in ends if tp not in starts))
        for tp, start in starts.items():
            reader.seek(tp, start)
        positions, moved_at = dict(starts), time.monotonic()
        while any(positions.get(tp, 0) < end for tp, end in ends.items()):
            if time.monotonic() - moved_at > _STILL_SECONDS:
                break
            _take(reader.poll(timeout_ms=_POLL_MS), found)
            now = {tp: at for tp in ends if (at := reader.position(tp, timeout_ms=_POLL_MS)) is not None}
            if now != positions:
                positions, moved_at = positions | now, time.monotonic()
        return positions
    finally:
        reader.close(autocommit=False)


def _take(polled: Mapping[TopicPartition, list[Any]], found: dict[int, Records]) -> None:
    for tp, records in polled.items():
        newest = found[tp.partition]
        for record in records:
            key = record.key or b""
            if record.value is None:
                newest.pop(key, None)
            else:
                newest[key] = record.value


def _unended(
    topic: str, positions: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> KafkaError:
    late = {tp.partition: (positions.get(tp), end) for tp, end in ends.items()}
    return KafkaError(
        f"a transaction in {topic} has not ended for {_PATIENCE_SECONDS:.0f} s"
        f" (partition: read, end: {late}); is another member hanging in it?"
    )
