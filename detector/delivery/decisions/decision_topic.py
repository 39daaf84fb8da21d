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

_POLL_SECONDS, _LOOK_SECONDS = 0.5, 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0
_SURE_POLLS = 4
"""After a refusal so many polls in a row must go well: an empty answer may come before the next refusal."""
_SETTINGS = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}

Numbered = tuple[int, Decision]
"""The offset of a decision, and the decision."""


def decisions_topic(name: str) -> TopicSpec:
    """Return the topic as it is created: one partition, so that all decisions have one order."""
    return TopicSpec(name, 1, settings=_SETTINGS)


def write_decision(connection: Connection, topic: str, decision: Decision) -> None:
    """Write a decision; create the topic if it is missing.

    Raises:
        KafkaError: the decision is not acknowledged, the topic is missing and cannot be created, or it has
            several partitions.
    """
    ensure_topics(connection, [decisions_topic(topic)])
    facts = look_up(connection, [topic]).get(topic)
    if facts is not None:
        _check_partitions(topic, facts)
    with closing(Producer(connection)) as producer:
        message = Message(topic, decision.series.encode(), encode_decision(decision), (), 0)
        producer.produce([message])


class SeveralPartitionsError(KafkaError):
    """The topic has several partitions, so that decisions have no common order."""


class DecisionReader:
    """Follows the topic in a thread of its own.

    `start`, `wait` and `take` belong to one thread, that of the loop. A topic that is missing, was
    deleted or may not be read is looked for again and again, each time after a longer pause. It is logged
    once, and once more when it is read again. Any thread may read `is_readable`.
    """

    def __init__(self, connection: Connection, topic: str) -> None:
        self._connection, self._topic = connection, topic
        self._found: list[Numbered] = []
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._is_read = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="decisions", daemon=True)
        self._source, self._complained = 0, ""
        self._pause, self._good_polls, self._was_missing = _FIRST_PAUSE, 0, False
        self.is_readable = False

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
                if facts is None:
                    self._note_missing()
                else:
                    self._was_missing = False
                    _check_partitions(self._topic, facts)
                    self._read(facts)
                    continue  # it was replaced, or we are stopped
            except (RightMissingError, SeveralPartitionsError) as error:
                self._complain(str(error))
                self._is_read.set()  # to wait for a person would stop everything else
            except KafkaError as error:
                self._complain(str(error))
            except Exception as error:  # a thread that ended here would ignore decisions, unnoticed
                logging.getLogger(__name__).debug("reading decisions failed", exc_info=True)
                self._complain(f"{type(error).__name__}: {error}")
            self._stop.wait(self._pause)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _read(self, facts: TopicFacts) -> None:
        """Read the topic from its beginning until it is replaced or we are stopped."""
        source = zlib.crc32(facts.identity.encode())
        with self._lock:
            self._source, self._found = source, []
        next_look, self._good_polls = time.monotonic() + _LOOK_SECONDS, 0
        with (
            translated(self._connection, f"cannot read topic {self._topic}"),
            TopicTail(self._connection, [self._topic]) as tail,
        ):
            end = tail.end()
            while not self._stop.is_set():
                found = [one for one in map(self._decoded, tail.poll_numbered(_POLL_SECONDS)) if one]
                with self._lock:
                    self._found += found
                if not self.is_readable and all(tail.position()[at] >= end[at] for at in end):
                    self._note_good_poll()
                if time.monotonic() > next_look:
                    next_look = time.monotonic() + _LOOK_SECONDS
                    now = look_up(self._connection, [self._topic]).get(self._topic)
                    if now != facts:
                        return

    def _note_good_poll(self) -> None:
        """Take in that everything was read without a refusal; after some such polls nothing is wrong."""
        self._is_read.set()
        self._good_polls += 1
        if self._complained and self._good_polls < _SURE_POLLS:
            return
        if self._complained:
            logs.event("decisions are read again", topic=self._topic)
        self.is_readable, self._complained, self._pause = True, "", _FIRST_PAUSE

    def _note_missing(self) -> None:
        """Complain from the second look on: a topic that was just created may not be seen at once."""
        if self._was_missing:
            self._complain("the topic does not exist, or this login may not describe it")
        self._is_read.set()  # nobody can have decided anything that we could read
        self._was_missing, self.is_readable = True, False

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
        self.is_readable = False
        if error != self._complained:
            self._complained = error
            logs.event(
                "cannot read decisions: accept, reject and mute have no effect",
                logging.WARNING,
                topic=self._topic,
                error=error,
                remedy="give this login the right to read and describe the topic; it has one partition",
            )


def _check_partitions(topic: str, facts: TopicFacts) -> None:
    """Raise SeveralPartitionsError where offsets do not order the decisions."""
    if facts.num_partitions != 1:
        raise SeveralPartitionsError(
            f"topic {topic} has {facts.num_partitions} partitions, and decisions need one order: create it"
            " again with 1 partition"
        )
