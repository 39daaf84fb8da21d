"""What the topics of a daemon say about its incidents and series, for a person who decides."""

from __future__ import annotations

import time
from collections.abc import Iterator

from connectors.errors import KafkaError
from connectors.kafka.admin.growth import look_up
from connectors.kafka.cluster import translated
from connectors.kafka.compacted_topic import read_state
from connectors.kafka.connection import Connection
from connectors.kafka.topic_tail import TopicTail
from detector.delivery.decision_records import DecisionError, decode_decision
from detector.delivery.marks import MARK
from detector.delivery.messages import Topics
from detector.delivery.saved.state_topic import series_of
from detector.engine.snapshot import decode_state
from detector.incidents.decision import Decision

_PATIENCE_SECONDS, _POLL_SECONDS = 60.0, 0.5


def read_alerts(connection: Connection, topics: Topics) -> Iterator[bytes]:
    """Yield the committed messages of the alerts topic, from its beginning to its present end.

    Raises:
        KafkaError: the topic is missing, cannot be read, or does not answer for a minute.
    """
    _check_exists(connection, topics.alerts, "has the daemon of this configuration ever run?")
    yield from _read(connection, topics.alerts)


def read_decisions(connection: Connection, topics: Topics) -> Iterator[Decision]:
    """Yield the decisions of the topic of decisions, in their order; records that are none are left out.

    Raises:
        KafkaError: the topic is missing, cannot be read, or does not answer for a minute.
    """
    _check_exists(connection, topics.decisions, "has anybody decided anything?")
    for value in _read(connection, topics.decisions):
        try:
            decision = decode_decision(value)
        except DecisionError:  # the daemon logs it
            continue
        if decision is not None:
            yield decision


def _check_exists(connection: Connection, topic: str, question: str) -> None:
    """Raise KafkaError for a topic that cannot be seen; `question` asks for the usual cause."""
    if topic not in look_up(connection, [topic]):
        raise KafkaError(
            f"topic {topic} does not exist at {connection.servers}, or this login may not read it: {question}"
        )


def _read(connection: Connection, topic: str) -> Iterator[bytes]:
    with (
        translated(connection, f"cannot read topic {topic}"),
        TopicTail(connection, [topic]) as tail,
    ):
        end, deadline = tail.end(), time.monotonic() + _PATIENCE_SECONDS
        while any(tail.position()[at] < end[at] for at in end):
            found = tail.poll(_POLL_SECONDS)
            if found:
                deadline = time.monotonic() + _PATIENCE_SECONDS
            if time.monotonic() > deadline:
                raise KafkaError(f"topic {topic} does not answer; a transaction may be open there")
            yield from (message.value for message in found if message.value is not None)


def known_series(connection: Connection, topics: Topics) -> dict[str, int]:
    """Return the series with a saved state, each with the newest time that the state has seen, nanoseconds.

    Empty where no state is saved. Raises KafkaError.
    """
    facts = look_up(connection, [topics.state]).get(topics.state)
    if facts is None:
        return {}
    known: dict[str, int] = {}
    for records in read_state(connection, topics.state, range(facts.num_partitions)).values():
        for full, value in records.items():
            key = series_of(full)
            name = key.decode(errors="replace")
            found = None if key == MARK else decode_state(name, value)
            if found is not None:
                known[name] = max(found[0].watermark_ns, known.get(name, found[0].watermark_ns))
    return known
