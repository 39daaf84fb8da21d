"""Reads what the processes of a consumer group have noted beside the offsets that they commit."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from connectors.errors import KafkaError
from connectors.kafka.cluster import admin_client, translated
from connectors.kafka.connection import Connection

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


@dataclass(frozen=True, slots=True, eq=False)
class Noted:
    """What was committed at the time of one look.

    at_ns  epoch nanoseconds of this host when the broker had answered
    notes  (topic, partition) -> committed offset and the text beside it
    """

    at_ns: int
    notes: Mapping[tuple[str, int], tuple[int, str]]


class GroupNotes:
    """Looks regularly, in a thread of its own, from the first time on that somebody asks for `latest`.

    Promise: none; nothing is committed and nobody joins. Offsets of a transaction that is still open may be
    absent.

    Args:
        connection: the cluster and how to log in.
        group_id: the group.
        every_seconds: the time between two looks.
    """

    def __init__(self, connection: Connection, group_id: str, every_seconds: float) -> None:
        self._connection, self._group_id, self.every_seconds = connection, group_id, every_seconds
        self._stop, self._is_wanted = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="group-notes", daemon=True)
        self._latest: Noted | None = None
        self._pause, self._complaint = _FIRST_PAUSE, ""

    def latest(self) -> Noted | None:
        """Return the newest look; None: there was none yet."""
        if not self._is_wanted.is_set():
            self._is_wanted.set()
            self._thread.start()
        return self._latest

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                self._look_until_stopped()
            except Exception as error:  # a thread that ended here would leave the stream unwatched, unnoticed
                words = str(error) if isinstance(error, KafkaError) else f"{type(error).__name__}: {error}"
                if words != self._complaint:
                    logger.warning("cannot look at the other members of %s: %s", self._group_id, words)
                self._pause, self._complaint = min(2 * self._pause, _LONGEST_PAUSE), words
            self._stop.wait(self._pause)

    def _look_until_stopped(self) -> None:
        """Look again and again. Raises KafkaError."""
        with (
            translated(self._connection, f"cannot read the offsets of group {self._group_id}"),
            admin_client(self._connection) as admin,
        ):
            while not self._stop.is_set():
                found = admin.list_group_offsets(self._group_id)[self._group_id]
                notes = {
                    (tp.topic, tp.partition): (one.offset, one.metadata or "") for tp, one in found.items()
                }
                self._latest = Noted(time.time_ns(), notes)
                self._pause, self._complaint = _FIRST_PAUSE, ""  # the next failure is another one
                self._stop.wait(self.every_seconds)
