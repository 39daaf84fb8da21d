"""The topic of decisions: one partition, kept for ever. Commands write it, and every daemon reads all of it.

A daemon reads it from its beginning, outside of any group, before it publishes anything. So it knows every
decision about the series that it takes over.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Sequence
from contextlib import closing

from connectors.errors import KafkaError, RightMissingError
from connectors.kafka.admin.growth import TopicFacts, look_up
from connectors.kafka.cluster import ensure_topics, translated
from connectors.kafka.connection import Connection, TopicSpec
from connectors.kafka.producer import Producer
from connectors.kafka.topic_tail import TopicTail
from connectors.records import Message
from detector import logs
from detector.delivery.decision_records import DecisionError, decode_decision, encode_decision
from detector.incidents.decision import Decision

_POLL_SECONDS, _LOOK_SECONDS = 0.5, 5.0
_SETTINGS = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}

Numbered = tuple[int, Decision]
"""The offset of a decision, and the decision."""


def decisions_topic(name: str) -> TopicSpec:
    """Return the topic as it is created: one partition, so that all decisions have one order."""
    return TopicSpec(name, 1, settings=_SETTINGS)


def write_decision(connection: Connection, topic: str, decision: Decision) -> None:
    """Write a decision; create the topic if it is missing.

    Raises:
        KafkaError: the decision is not acknowledged, or the topic is missing and cannot be created.
    """
    ensure_topics(connection, [decisions_topic(topic)])
    with closing(Producer(connection)) as producer:
        message = Message(topic, decision.series.encode(), encode_decision(decision), (), 0)
        producer.produce([message])


class DecisionReader:
    """Follows the topic in a thread of its own.

    `start`, `wait` and `take` belong to one thread, that of the loop. A topic that is missing, was
    deleted or may not be read is looked for again and again, and is logged once.
    """

    def __init__(self, connection: Connection, topic: str) -> None:
        self._connection, self._topic = connection, topic
        self._found: list[Numbered] = []
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._is_read = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="decisions", daemon=True)
        self._source, self._complained = 0, ""

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """Return whether everything that was in the topic has been read, after at most so many seconds."""
        deadline = time.monotonic() + seconds
        while not (stop.is_set() or self._is_read.wait(0.1)) and time.monotonic() < deadline:
            pass
        return self._is_read.is_set()

    def take(self) -> tuple[int, Sequence[Numbered]]:
        """Return a number that stands for the topic, and the decisions that were read since the last call.

        The number changes if the topic was deleted and created again: its offsets begin again.
        """
        with self._lock:
            found, self._found = self._found, []
            return self._source, found

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                facts = look_up(self._connection, [self._topic]).get(self._topic)
                if facts is not None:
                    self._read(facts)
                else:
                    self._is_read.set()  # nobody has decided anything yet
            except RightMissingError as error:
                self._complain(str(error))
                self._is_read.set()  # to wait for the right would stop everything else
            except KafkaError as error:
                self._complain(str(error))
            except Exception as error:  # a thread that ended here would ignore decisions, unnoticed
                logging.getLogger(__name__).debug("reading decisions failed", exc_info=True)
                self._complain(f"{type(error).__name__}: {error}")
            self._stop.wait(_LOOK_SECONDS)

    def _read(self, facts: TopicFacts) -> None:
        """Read the topic from its beginning until it is replaced or we are stopped."""
        source = zlib.crc32(facts.identity.encode())
        with self._lock:
            self._source, self._found = source, []
        next_look = time.monotonic() + _LOOK_SECONDS
        with (
            translated(self._connection, f"cannot read topic {self._topic}"),
            TopicTail(self._connection, [self._topic]) as tail,
        ):
            end = tail.end()
            while not self._stop.is_set():
                found = [one for one in map(self._decoded, tail.poll_numbered(_POLL_SECONDS)) if one]
                with self._lock:
                    self._found += found
                if not self._is_read.is_set() and all(tail.position()[at] >= end[at] for at in end):
                    self._is_read.set()
                    self._complained = ""
                if time.monotonic() > next_look:
                    next_look = time.monotonic() + _LOOK_SECONDS
                    now = look_up(self._connection, [self._topic]).get(self._topic)
                    if now is None or now.identity != facts.identity:
                        return

    def _decoded(self, record: tuple[int, Message]) -> Numbered | None:
        """Return the decision of a message; one that is none is logged and left out."""
        offset, message = record
        try:
            decision = decode_decision(message.value or b"")
        except DecisionError as error:
            logs.event("not a decision", logging.WARNING, topic=self._topic, offset=offset, error=str(error))
            return None
        return None if decision is None else (offset, decision)

    def _complain(self, error: str) -> None:
        if error != self._complained:
            self._complained = error
            logs.event(
                "cannot read decisions: accept, reject and mute have no effect",
                logging.WARNING,
                topic=self._topic,
                error=error,
                remedy="give this login the right to read and describe the topic",
            )
