"""A notifier: one thread that carries committed changes of incidents to one receiver.

It reads the alerts topic as a consumer group of its own, so members share the partitions and a sick receiver
holds back nobody else. Positions are committed behind what was delivered or given up, so a kill loses
nothing; what is told again has the same key. The topic itself is the backlog, a bounded part of it in memory.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from connectors.errors import KafkaError
from connectors.http_post import Answer, Poster
from connectors.kafka.group_reader import GroupReader, Read
from connectors.retry import full_jitter
from detector import logs
from detector.config.notify_schema import NotifySection
from detector.notify.backlog import Backlog, Pending
from detector.notify.notice import Notice, parse
from detector.notify.receivers import Sender
from detector.notify.stats import NotifierStats

logger = logging.getLogger(__name__)

MOST_PENDING = 1_000
_POLL_SECONDS, _BURST_SECONDS = 0.25, 1.0
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.5, 30.0
_REMEMBERED = 50_000

Outcome = Literal["delivered", "failed", "dropped"]
Pace = Callable[[int], float]


def retry_pace(attempt: int) -> float:
    """Seconds before the next attempt after so many that failed in a row."""
    return full_jitter(attempt, _FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)


class Notifier:
    """Tells one receiver; `connect` makes its reader, in its own thread; `bound` changes wait in memory at
    most. Only `stats`, `start`, `stop` and `join` may be called from elsewhere."""

    def __init__(
        self,
        section: NotifySection,
        sender: Sender,
        poster: Poster,
        connect: Callable[[], GroupReader],
        pace: Pace = retry_pace,
        bound: int = MOST_PENDING,
    ) -> None:
        self._section, self._sender, self._poster = section, sender, poster
        self._connect, self._pace = connect, pace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"notify-{section.name}", daemon=True)
        self._backlog: Backlog[tuple[Notice, int]] = Backlog(bound)
        self._found: dict[int, dict[str, tuple[Notice, Read]]] = {}
        self._told: OrderedDict[str, None] = OrderedDict()
        self._counts: dict[Outcome, int] = {"delivered": 0, "failed": 0, "dropped": 0}
        self._unread = 0
        self._last_success: float | None = None
        self._failures, self._not_before, self._repeat_at = 0, 0.0, 0.0
        self._trouble = ""

    @property
    def stats(self) -> NotifierStats:
        """As of now."""
        counts = dict(self._counts)
        backlog = len(self._backlog) + self._unread
        return NotifierStats(self._section.name, **counts, backlog=backlog, last_success=self._last_success)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin to stop: after the request in hand."""
        self._stop.set()

    def join(self, timeout_seconds: float) -> bool:
        """Whether it has stopped within that time. What is left then is told by a successor."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._serve()
            except KafkaError as error:
                logger.warning("notifier %s reads again soon: %s", self._section.name, error)
            except Exception:
                # A notifier that died in silence would be worse than one that is odd.
                logger.exception("notifier %s failed and starts over", self._section.name)
            attempt = 0 if time.monotonic() - began > _LONGEST_RETRY_SECONDS else attempt + 1
            self._stop.wait(self._pace(attempt))

    def _serve(self) -> None:
        reader = self._connect()
        try:
            self._forget()
            while not self._stop.is_set():
                self._turn(reader)
        finally:
            reader.close()

    def _turn(self, reader: GroupReader) -> None:
        """1 read, 2 deliver, 3 commit, 4 repeat. A new group also commits before it delivers: killed in its
        first request, it must not begin anew and take for the past what happened meanwhile."""
        polled = reader.poll(self._patience(), self._backlog.room)  # 1
        if polled.is_reassigned:
            self._forget()
        for message in polled.messages:
            self._take(message)
        for partition, until in polled.read_back.items():
            self._tell_found(partition)
            self._backlog.passed(partition, until - 1)
        reader.commit(self._backlog.position())
        self._unread = reader.lag if not self._backlog.room else 0
        self._deliver()  # 2
        reader.commit(self._backlog.position())  # 3
        if not reader.is_reading_back and reader.is_member:
            self._repeat()  # 4

    def _patience(self) -> float:
        """How long to wait for messages: not at all where something can be delivered."""
        if not self._backlog:
            return _POLL_SECONDS
        return min(_POLL_SECONDS, max(0.0, self._not_before - time.monotonic()))

    def _forget(self) -> None:
        self._backlog.clear()
        self._found.clear()
        self._sender.forget()

    def _take(self, message: Read) -> None:
        notice = self._parsed(message)
        if message.age == "new":
            self._tell_found(message.partition)
            if notice is not None:
                self._backlog.add(
                    Pending(notice.series, message.partition, message.offset, (notice, message.time_ms))
                )
        elif notice is not None and message.age == "old":
            self._remember(notice, message.time_ms)
        elif notice is not None:
            open_now = self._found.setdefault(message.partition, {})
            open_now.pop(notice.id, None)
            if not notice.is_resolved:
                open_now[notice.id] = (notice, message)
        if message.age == "new":
            self._backlog.passed(message.partition, message.offset)

    def _tell_found(self, partition: int) -> None:
        """A new group tells of what is open already, before anything newer."""
        for notice, message in self._found.pop(partition, {}).values():
            self._backlog.add(Pending(notice.series, partition, message.offset, (notice, message.time_ms)))

    def _parsed(self, message: Read) -> Notice | None:
        """None for what this notifier does not tell."""
        try:
            notice = parse(message.value)
        except ValueError as error:
            if message.age == "new":
                self._change(f"partition {message.partition}, offset {message.offset}: no incident: {error}")
            return None
        section = self._section
        if notice.is_resolved and not section.send_resolved:
            return None
        return notice if notice.is_of(section.series, section.min_severity) else None

    def _deliver(self) -> None:
        """What is due, for about a second: then positions are committed and the group hears of us."""
        until = time.monotonic() + _BURST_SECONDS
        while (pending := self._backlog.head()) is not None and not self._stop.is_set():
            if not self._not_before <= time.monotonic() < until:
                return
            notice, time_ms = pending.what
            if notice.key in self._told:
                self._backlog.done()
                continue
            answer = self._post(*self._sender.request(notice))
            if answer.outcome == "again" and time.time() - time_ms / 1000 < self._section.give_up_after:
                self._counts["failed"] += 1
                self._backlog.turn()
            else:
                delivered = answer.outcome == "delivered"
                self._counts["delivered" if delivered else "dropped"] += 1
                if delivered:
                    self._remember(notice, round(time.time() * 1000))
                self._backlog.done()

    def _post(self, body: bytes, headers: dict[str, str]) -> Answer:
        """One attempt, and when the next may be."""
        answer = self._poster.post(body, headers)
        if answer.outcome == "again":
            self._not_before = time.monotonic() + max(self._pace(self._failures), answer.wait_seconds)
            self._failures += 1
        else:
            self._failures = 0
        if answer.outcome == "delivered":
            self._last_success = time.time()
            self._change("")
        else:
            self._change(answer.reason)
        return answer

    def _remember(self, notice: Notice, time_ms: int) -> None:
        self._told[notice.key] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        self._sender.told(notice, time_ms / 1000)

    def _repeat(self) -> None:
        """Tell again what expires; nothing is lost where that fails, so it is neither counted nor retried."""
        now = time.monotonic()
        if now < max(self._repeat_at, self._not_before):
            return
        self._repeat_at = now + self._section.repeat
        for request in self._sender.repeats():
            if self._stop.is_set() or self._post(*request).outcome == "again":
                return

    def _change(self, trouble: str) -> None:
        """Log trouble when it begins, becomes another, or ends."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        name, backlog = self._section.name, len(self._backlog)
        if trouble:
            logs.event("notifier in trouble", logging.WARNING, notifier=name, reason=trouble, backlog=backlog)
        else:
            logs.event("notifier well again", notifier=name, backlog=backlog)
