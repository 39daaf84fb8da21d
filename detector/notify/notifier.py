"""A notifier: one thread that delivers committed changes of incidents to one receiver.

It reads the alerts topic as a consumer group of its own. Processes share the partitions of that group. A
receiver that fails delays no other receiver. An offset is committed once its change is delivered or dropped,
so a kill loses nothing. A change that is delivered twice has the same key. The topic is the backlog; a
bounded part of it is in memory.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, Protocol

from connectors.errors import KafkaError
from connectors.http_post import Poster
from connectors.kafka.group_reader import Polled, Read
from detector.config.notify_schema import NotifySection
from detector.notify.attempts import LONGEST_RETRY_SECONDS, Attempts, RetryDelay, retry_delay
from detector.notify.backlog import Backlog, Pending
from detector.notify.history import Delivered, OpenIncidents, ReadBack
from detector.notify.notice import Notice, parse
from detector.notify.receivers import Receiver
from detector.notify.stats import NotifierStats

logger = logging.getLogger(__name__)

MAX_PENDING = 1_000
_POLL_SECONDS, _BURST_SECONDS = 0.25, 1.0

Outcome = Literal["delivered", "failed", "dropped"]


class Change(NamedTuple):
    """A change to deliver, and the epoch milliseconds at which its message was produced."""

    notice: Notice
    time_ms: int


class AlertReader(Protocol):
    """Reads changes of incidents: `GroupReader` from Kafka, `LocalReader` from a local store."""

    @property
    def is_member(self) -> bool:
        """Whether this process may deliver changes now."""

    @property
    def is_reading_back(self) -> bool:
        """Whether old changes are still to be read."""

    @property
    def lag(self) -> int:
        """Changes that were not read yet, as far as known."""

    def poll(self, timeout_seconds: float, room: int) -> Polled:
        """Return at most `room` changes, after at most about `timeout_seconds`."""

    def commit(self, position: Mapping[int, int], note: str = "") -> None:
        """Commit what is delivered or dropped, and what the receiver must know after a restart."""

    def close(self) -> None:
        """Release what the reader holds."""


class Notifier:
    """Delivers changes to one receiver, in a thread of its own.

    Only `stats`, `start`, `stop` and `join` may be called from other threads.

    Args:
        section: The [[notify]] table.
        receiver: Makes the requests.
        poster: Sends the requests.
        connect: Makes the reader of the alerts topic, in the notifier's thread.
        delay: Seconds before the next attempt, from the number of failures in a row.
        bound: Maximum number of changes in memory.
    """

    def __init__(
        self,
        section: NotifySection,
        receiver: Receiver,
        poster: Poster,
        connect: Callable[[], AlertReader],
        delay: RetryDelay = retry_delay,
        bound: int = MAX_PENDING,
    ) -> None:
        self._section, self._receiver = section, receiver
        self._connect, self._delay = connect, delay
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"notify-{section.name}", daemon=True)
        self._attempts = Attempts(section.name, poster, delay)
        self._backlog: Backlog[Change] = Backlog(bound)
        self._delivered, self._open, self._read_back = Delivered(), OpenIncidents(), ReadBack()
        self._counts: dict[Outcome, int] = {"delivered": 0, "failed": 0, "dropped": 0}
        self._num_unread, self._repeat_at = 0, 0.0

    @property
    def stats(self) -> NotifierStats:
        """The counts at this moment."""
        return NotifierStats(
            self._section.name,
            **self._counts,
            backlog=len(self._backlog) + self._num_unread,
            last_success=self._attempts.last_success,
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to stop after the current request; returns at once."""
        self._stop.set()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the thread; return whether it has stopped. A successor delivers what is left."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._serve()
            except KafkaError as error:
                logger.warning("notifier %s will reconnect to Kafka: %s", self._section.name, error)
            except Exception:
                # A thread that ended here would stop all notifications without a sign.
                logger.exception("notifier %s failed and restarts", self._section.name)
            attempt = 0 if time.monotonic() - began > LONGEST_RETRY_SECONDS else attempt + 1
            self._stop.wait(self._delay(attempt))

    def _serve(self) -> None:
        reader = self._connect()
        try:
            self._clear()
            while not self._stop.is_set():
                self._turn(reader)
        finally:
            reader.close()

    def _turn(self, reader: AlertReader) -> None:
        """Do one turn: 1 read, 2 commit, 3 deliver, 4 commit, 5 repeat.

        Step 2 protects a new consumer group. If it is killed in its first request, its successor finds a
        committed position, and delivers the changes that came in between.
        """
        polled = reader.poll(self._poll_seconds(), self._backlog.room)  # 1
        if polled.is_reassigned:
            self._clear()
            self._receiver.recall(polled.notes)
        for message in polled.messages:
            self._accept(message)
        for partition, until in polled.read_back.items():
            self._enqueue_open(partition)
            self._backlog.mark_read(partition, until - 1)
        if not (reader.is_reading_back and self._backlog.room) or self._read_back.is_due:
            for notice, message in self._read_back.take():
                self._remember(notice, message.time_ms / 1000, message.partition)
        _commit(reader, self._backlog, self._receiver)  # 2
        self._num_unread = reader.lag if not self._backlog.room else 0
        if not self._read_back:
            self._deliver(reader)  # 3
        _commit(reader, self._backlog, self._receiver)  # 4
        if not reader.is_reading_back and reader.is_member:
            self._repeat()  # 5

    def _poll_seconds(self) -> float:
        """Return how long to wait for messages: 0 where a change can be delivered now."""
        is_waiting = self._backlog and not self._read_back
        return min(_POLL_SECONDS, self._attempts.seconds_until_due) if is_waiting else _POLL_SECONDS

    def _clear(self) -> None:
        """Discard what was read: the reader starts again at the committed position."""
        self._backlog.clear()
        self._open.clear()
        self._read_back.clear()
        self._receiver.clear()

    def _accept(self, message: Read) -> None:
        """Enqueue a new change; remember an older one."""
        notice = self._parsed(message)
        if message.age == "new":
            self._enqueue_open(message.partition)
            if notice is not None:
                self._enqueue(notice, message)
            self._backlog.mark_read(message.partition, message.offset)
        elif notice is not None and message.age == "old":
            self._read_back.add(notice, message)
        elif notice is not None:
            self._open.update(notice, message)

    def _enqueue_open(self, partition: int) -> None:
        """Enqueue the incidents that were open before the group began, before anything newer."""
        for notice, message in self._open.take(partition):
            self._enqueue(notice, message)

    def _enqueue(self, notice: Notice, message: Read) -> None:
        change = Change(notice, message.time_ms)
        self._backlog.add(Pending(notice.series, message.partition, message.offset, change))

    def _parsed(self, message: Read) -> Notice | None:
        """Return the change; None for a message that this notifier does not deliver."""
        try:
            notice = parse(message.value)
        except ValueError as error:
            if message.age == "new":
                place = f"partition {message.partition}, offset {message.offset}"
                self._attempts.report(f"{place}: not an incident: {error}", len(self._backlog))
            return None
        return notice if _is_wanted(self._section, notice) else None

    def _deliver(self, reader: AlertReader) -> None:
        """Deliver what is due, for about a second, so that the group sees polls and commits in time."""
        until = time.monotonic() + _BURST_SECONDS
        while (pending := self._backlog.head()) is not None and not self._stop.is_set():
            if not self._attempts.not_before <= time.monotonic() < until:
                return
            if pending.payload.notice in self._delivered:
                self._backlog.finish_head()
            else:
                self._attempt(pending.payload, reader)

    def _attempt(self, change: Change, reader: AlertReader) -> None:
        """Send the head of the backlog once; keep it for a retry, or finish it.

        What the receiver notes of it is committed before. So a successor of this process sends the same.
        """
        before = self._receiver.note
        request = self._receiver.request(change.notice)
        if self._receiver.note != before:
            _commit(reader, self._backlog, self._receiver)
        if request is None:
            self._remember(change.notice, time.time())
            self._backlog.finish_head()
            return
        answer = self._attempts.post(*request, len(self._backlog))
        age_seconds = time.time() - change.time_ms / 1000
        if answer.outcome == "again" and age_seconds < self._section.give_up_after:
            self._counts["failed"] += 1
            self._backlog.rotate()
            return
        if answer.outcome == "delivered":
            self._counts["delivered"] += 1
            self._remember(change.notice, time.time())
        else:
            self._counts["dropped"] += 1
        self._backlog.finish_head()

    def _remember(self, notice: Notice, at_seconds: float, partition: int | None = None) -> None:
        self._delivered.add(notice)
        self._receiver.delivered(notice, at_seconds, partition)

    def _repeat(self) -> None:
        """Send again what would expire. A failure loses nothing, so it is neither counted nor retried."""
        now = time.monotonic()
        if now < max(self._repeat_at, self._attempts.not_before):
            return
        self._repeat_at = now + self._section.repeat
        for request in self._receiver.repeats():
            if self._stop.is_set() or self._attempts.post(*request, len(self._backlog)).outcome == "again":
                return


def _commit(reader: AlertReader, backlog: Backlog[Change], receiver: Receiver) -> None:
    """Commit positions, and beside them what the receiver must know after a restart."""
    reader.commit(backlog.positions(), receiver.note)


def _is_wanted(section: NotifySection, notice: Notice) -> bool:
    """Return whether a receiver gets this change."""
    if notice.is_resolved and not section.send_resolved:
        return False
    if notice.is_update and section.kind != "alertmanager":
        return False
    return notice.matches(section.series, section.min_severity)
