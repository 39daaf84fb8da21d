"""A running group that is shown: its archive grows in one thread, and a second one watches over it."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from detector.explore.archive.archive import Archive, Limits
from detector.explore.archive.archiver import Archiver
from detector.explore.archive.health import Health, Trouble
from detector.explore.archive.live_store import LiveStore
from detector.explore.archive.manifest import read_archive
from detector.explore.archive.opening import open_archive
from detector.explore.source import Group
from detector.explore.store.database import Database
from detector.explore.store.layout import Description, ExploreError

_WATCH_SECONDS = 0.25
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Pulse:
    """What changes on the pages.

    number       differs whenever anything else does
    description  the range and the number of rows
    events       how many events of incidents and decisions there were
    trouble      why nothing new comes; None if all is well
    """

    number: int
    description: Description
    events: int
    trouble: Trouble | None


class Live:
    """Shows a running group. Any thread may read it.

    One explorer archives into a store. Others that open the same store read what the first one writes.

    Args:
        store: the directory of the archive; it is made if it is missing.
        group: the group.
        limits: how much the archive keeps.

    Raises:
        ArtifactError: the model of the group cannot be read.
        ExploreError: the store is of something else, or cannot be written.
    """

    def __init__(self, store: Path, group: Group, limits: Limits) -> None:
        manifest = open_archive(store, group)
        self._lock = _claim(store)
        self._stop = threading.Event()
        self._archive, archiver = None, None
        if self._lock is not None:
            self._archive = Archive(store, read_archive(store) or manifest, limits)
            self._archive.describe(manifest.description)
            archiver = Archiver(group, self._archive)
        self._shown = LiveStore(store, time.time_ns())
        interval_ns = manifest.description.interval_ns
        self._health = Health(group, interval_ns, lambda: archiver.problem if archiver else "")
        self.is_leaving = False
        self.pulse = Pulse(0, self._shown.description, self._shown.manifest.events, None)
        works = [self._health.run, self._watch, *([archiver.run] if archiver else [])]
        self._threads = [threading.Thread(target=one, args=(self._stop,), daemon=True) for one in works]
        for thread in self._threads:
            thread.start()

    @property
    def database(self) -> Database:
        """The database, with a view of each table."""
        return self._shown.database

    @property
    def description(self) -> Description:
        """What is in it now."""
        return self._shown.description

    @property
    def is_archiver(self) -> bool:
        """Whether this process writes the archive."""
        return self._archive is not None

    @property
    def dropped(self) -> str:
        """The newest day that was deleted because of age or size; "" if none."""
        return self._shown.manifest.dropped

    def leave(self) -> None:
        """Tell the pages that listen that there will be nothing more."""
        self.is_leaving = True

    def close(self) -> None:
        """Stop the threads and release the files."""
        self._stop.set()
        for thread in self._threads:
            thread.join(10.0)
        if self._archive is not None and not any(one.is_alive() for one in self._threads):
            self._archive.close()
        self._shown.close()
        if self._lock is not None:
            os.close(self._lock)

    def _watch(self, stop: threading.Event) -> None:
        """Look again and again whether there is something new."""
        while not stop.wait(_WATCH_SECONDS):
            before = self.pulse
            try:
                self._shown.refresh()
            except ExploreError:
                continue  # it is looked at again
            now, events = self._shown.description, self._shown.manifest.events
            if now.rows != before.description.rows:
                self._health.feed()
            trouble = self._health.trouble
            if (now, events, trouble) != (before.description, before.events, before.trouble):
                self.pulse = Pulse(before.number + 1, now, events, trouble)


def _claim(store: Path) -> int | None:
    """Return a handle that locks the archive; None if another process archives. Raises ExploreError."""
    try:
        handle = os.open(store / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise ExploreError(f"{store}: cannot be written: {error.strerror}; use --store") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
