"""Reads changes of incidents from the local store, for a notifier of a daemon without Kafka."""

from __future__ import annotations

import time
from collections.abc import Mapping

from connectors.kafka.group_reader import Polled, Read
from connectors.local.store import LocalStore

_READ_BACK = 10_000
_PARTITION = 0


class LocalReader:
    """Promise: every change after the committed position is read at least once, while the store is kept.

    A notifier that is new begins with the changes from now on. It has the methods of `GroupReader` that a
    notifier calls.
    """

    def __init__(self, store: LocalStore, name: str) -> None:
        """Read on where the notifier `name` stands."""
        self._store, self._name = store, name
        self._committed = self._until = store.notified(name)
        self._note = store.note_of(name)
        self._at = max(1, self._committed - _READ_BACK)
        self._is_begun, self.is_reading_back = False, True
        self.is_member = True

    def poll(self, timeout_seconds: float, room: int) -> Polled:
        """Return what was committed, at most `room` changes; wait for `timeout_seconds` where nothing was."""
        if not self._is_begun:
            self._is_begun = True
            return Polled(is_reassigned=True, notes={_PARTITION: self._note})
        found = self._store.alerts(self._at, room) if room > 0 else []
        if found:
            self._at = found[-1].number + 1
        elif not self.is_reading_back:
            time.sleep(timeout_seconds)
        messages = tuple(
            Read(_PARTITION, one.number, one.value, one.time_ms, "old" if one.number < self._until else "new")
            for one in found
        )
        return Polled(messages, read_back=self._now_read_back(is_at_end=not found))

    def commit(self, position: Mapping[int, int], note: str = "") -> None:
        """Commit the position, and a note beside it, if one of them changed. Raises StateError."""
        until = position.get(_PARTITION, self._committed)
        if position and (until, note) != (self._committed, self._note):
            self._store.note_notified(self._name, until, note)
            self._committed, self._note = until, note

    @property
    def lag(self) -> int:
        """Changes that were not read yet."""
        return max(0, self._store.next_alert() - self._at)

    def close(self) -> None:
        """Do nothing: the store stays open."""

    def _now_read_back(self, is_at_end: bool) -> Mapping[int, int]:
        """Return the end of the old changes once, when all of them were read."""
        if not self.is_reading_back or (self._at < self._until and not is_at_end):
            return {}
        self.is_reading_back = False
        return {_PARTITION: self._until}
