"""Reads the output topics of a group, outside of any consumer group, and appends them to an archive."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from connectors.errors import ConnectorError
from connectors.kafka.admin.growth import TopicFacts, look_up
from connectors.kafka.cluster import translated
from connectors.kafka.topic_tail import TopicTail
from connectors.records import Message, Position
from detector import logs
from detector.errors import DetectorError
from detector.explore.archive.archive import Archive, Batch
from detector.explore.archive.manifest import Place
from detector.explore.archive.messages import NotOursError, VerdictRows, decision_row, incident_row
from detector.explore.archive.opening import described
from detector.explore.source import Group
from detector.explore.storage.storage import OwnershipLostError

_POLL_SECONDS, _LOOK_SECONDS, _PAUSE_SECONDS = 0.5, 10.0, 2.0
_PASSED_SECONDS = 30.0
_MOST_CELLS = 1_000_000


class Archiver:
    """Follows the topics in the thread that calls `run`. Any thread may read `problem` and `lost`.

    Only what was committed is read. The archive holds how far each partition was read, so a restart goes on
    there. A topic that was deleted and created again is read from its beginning.

    Args:
        group: the group.
        archive: where its outputs are kept.
        append_seconds: the least time between two batches; every batch is a file.
    """

    def __init__(self, group: Group, archive: Archive, append_seconds: float = 1.0) -> None:
        self._group, self._archive = group, archive
        self._append_seconds = append_seconds
        self._rows = VerdictRows(archive.manifest.description.channels)
        self._incidents: list[tuple[Any, ...]] = []
        self._decisions: list[tuple[Any, ...]] = []
        self._tried: dict[str, str] = {}
        self.problem = ""
        self.lost = ""

    def run(self, stop: threading.Event) -> None:
        """Read until `stop` is set. What goes wrong is logged once, and tried again.

        It also ends when another process owns the archive; `lost` then says which.
        """
        while not stop.is_set():
            try:
                self._follow(stop)
            except OwnershipLostError as error:
                self.lose(str(error))
                return
            except (ConnectorError, DetectorError, OSError) as error:
                self._complain(str(error))
            except Exception as error:  # a thread that ended here would stop the archive, unnoticed
                logging.getLogger(__name__).debug("archiving failed", exc_info=True)
                self._complain(f"{type(error).__name__}: {error}")
            self._forget()
            stop.wait(_PAUSE_SECONDS)

    def lose(self, why: str) -> None:
        """Note that another process owns the archive now."""
        if not self.lost:
            logs.event("the archive has another owner", logging.ERROR, error=why)
        self.lost = why

    def _names(self) -> tuple[str, str, str]:
        topics = self._group.topics
        return topics.scores, topics.alerts, topics.decisions

    def _follow(self, stop: threading.Event) -> None:
        """Read the topics until one of them changes."""
        connection, names = self._group.connection, self._names()
        facts = look_up(connection, names)
        if not facts:
            self._complain(f"topics {', '.join(names)} do not exist, or this login may not read them")
            return
        start = self._start(facts)
        next_look = time.monotonic() + _LOOK_SECONDS
        with (
            translated(connection, f"cannot read topics {', '.join(facts)}"),
            TopicTail(connection, list(facts), start) as tail,
        ):
            self._note_deleted(start, tail.first())
            begun, appended = time.monotonic(), tail.position()
            while not stop.is_set():
                for message in tail.poll(_POLL_SECONDS):
                    self._take(message)
                waited = time.monotonic() - begun
                if self._is_due(waited) or (waited > _PASSED_SECONDS and tail.position() != appended):
                    appended = tail.position()
                    self._append(facts, appended)
                    begun = time.monotonic()
                self.problem = ""
                if time.monotonic() > next_look:
                    next_look = time.monotonic() + _LOOK_SECONDS
                    if look_up(connection, names) != facts:
                        break
            self._append(facts, tail.position())

    def _start(self, facts: Mapping[str, TopicFacts]) -> dict[tuple[str, int], int]:
        """Return where to go on; a topic that is another one than before has no place."""
        found: dict[tuple[str, int], int] = {}
        for topic, place in self._archive.manifest.topics.items():
            if topic in facts and place.identity == facts[topic].identity:
                found |= {(topic, partition): offset for partition, offset in place.offsets.items()}
        return found

    def _is_due(self, waited: float) -> bool:
        """Return whether there is something to append, and it is time."""
        if self._rows.num_cells > _MOST_CELLS:
            return True
        return waited >= self._append_seconds and bool(self._rows or self._incidents or self._decisions)

    def _take(self, message: Message) -> None:
        value, topics = message.value or b"", self._group.topics
        try:
            if message.topic == topics.scores:
                self._rows.add(value)
                return
            if message.topic == topics.alerts and (row := incident_row(value)) is not None:
                self._incidents.append(row)
            if (row := decision_row(value)) is not None:
                self._decisions.append(row)
        except NotOursError as error:
            logs.event("not a message of a daemon", logging.WARNING, topic=message.topic, error=str(error))

    def _append(self, facts: Mapping[str, TopicFacts], position: Position) -> None:
        """Append what was read, with the offsets up to which it was read."""
        offsets: dict[str, dict[int, int]] = {topic: {} for topic in facts}
        for (topic, partition), offset in position.items():
            offsets[topic][partition] = offset
        topics = {topic: Place(facts[topic].identity, found) for topic, found in offsets.items()}
        rows, homes = self._rows.take(), self._rows.take_homes()
        self._archive.append(Batch(rows, self._incidents, self._decisions, topics, homes))
        self._incidents, self._decisions = [], []
        self._archive.tidy()
        self._follow_model()

    def _forget(self) -> None:
        """Forget what was read and not appended: it is read again."""
        self._rows = VerdictRows(self._archive.manifest.description.channels)
        self._incidents, self._decisions = [], []

    def _follow_model(self) -> None:
        """Describe the models that judge now. One that cannot be read yet changes nothing."""
        about, versions = self._archive.manifest.description, self._rows.versions
        known = {model: about.of_model(model).version for model in versions}
        if versions in (self._tried, known):
            return
        self._tried = dict(versions)
        try:
            about = described(self._group, None)
        except DetectorError as error:
            logs.event("the new model cannot be read", logging.WARNING, versions=versions, error=str(error))
            return
        if about != self._archive.manifest.description:
            self._archive.describe(about)
            self._rows = VerdictRows(about.channels)

    def _note_deleted(self, start: Position, first: Position) -> None:
        """Say it where messages were deleted before they were read."""
        lost = sum(max(0, first[place] - offset) for place, offset in start.items() if place in first)
        if lost:
            logs.event("messages were deleted before they were archived", logging.WARNING, messages=lost)

    def _complain(self, problem: str) -> None:
        if problem != self.problem:
            logs.event("cannot archive", logging.WARNING, error=problem)
        self.problem = problem
