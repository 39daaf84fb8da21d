"""A running group that is shown: its archive grows here or elsewhere, and a second thread watches over it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from connectors.errors import ConnectorError
from detector.explore.archive.archiving import Archiving
from detector.explore.archive.health import Health, Kind, Trouble
from detector.explore.archive.live_store import LiveStore
from detector.explore.source import Group
from detector.explore.storage.archiver_sign import ArchiverSign
from detector.explore.storage.storage import OnFetch, Storage, say_nothing
from detector.explore.store.database import Database
from detector.explore.store.layout import Description, ExploreError


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
    """Shows an archive while it grows. Any thread may read it.

    Args:
        storage: where the archive is.
        group: the group whose outputs it holds; None: unknown, and trouble is what the archive shows.
        archiving: what archives in this process; None: another process does.
        on_fetch: follows what is fetched before the first page can be shown.

    Raises:
        ExploreError: there is no archive.
        ObjectsError: the object storage cannot be read.
    """

    def __init__(
        self,
        storage: Storage,
        group: Group | None,
        archiving: Archiving | None = None,
        on_fetch: OnFetch = say_nothing,
    ) -> None:
        self._shown = LiveStore(storage, time.time_ns(), on_fetch)
        self._look_seconds, self._archiving = storage.look_seconds, archiving
        self._stop = threading.Event()
        self._signs = ArchiverSign(storage.name)
        self._health: Health | None = None
        if group is not None:
            about = self._shown.description
            longest = max(one.interval_ns for one in (about.models or (about,)))
            self._health = Health(group, longest, self._archive_problem)
        self._unread = ""
        self.is_leaving = False
        self.pulse = Pulse(0, self._shown.description, self._shown.manifest.events, None)
        works = [self._watch, *([self._health.run] if self._health else [])]
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
        return self._archiving is not None and not self._archiving.lost

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
        if self._archiving is not None:
            self._archiving.close()
        for thread in self._threads:
            thread.join(10.0)
        self._shown.close()

    def _archive_problem(self) -> str:
        """Return why what the group publishes is not kept; "" if it is."""
        if self._archiving is not None and not self._archiving.lost:
            return self._archiving.problem
        return self._signs.problem

    def _watch(self, stop: threading.Event) -> None:
        """Look again and again whether there is something new."""
        while not stop.wait(self._look_seconds):
            before = self.pulse
            self._refresh()
            now, events = self._shown.description, self._shown.manifest.events
            if self._health is not None and now.rows != before.description.rows:
                self._health.feed()
            trouble = self._trouble(before.trouble)
            if (now, events, trouble) != (before.description, before.events, before.trouble):
                self.pulse = Pulse(before.number + 1, now, events, trouble)

    def _refresh(self) -> None:
        try:
            has_changed = self._shown.refresh()
            self._signs.take(self._shown.sign, has_changed)
            self._unread = ""
        except (ConnectorError, ExploreError, OSError) as error:
            self._unread = str(error)  # it is looked at again
        except Exception as error:  # a thread that ended here would leave pages that look live
            self._unread = f"{type(error).__name__}: {error}"

    def _trouble(self, before: Trouble | None) -> Trouble | None:
        """Return why nothing new comes. Without a group only the archive is asked."""
        if self._unread:
            return _trouble(before, "store", f"The store cannot be read: {self._unread}.")
        if self._health is not None:
            return self._health.trouble
        if self._signs.problem:
            return _trouble(before, "archive", f"New verdicts cannot be kept: {self._signs.problem}.")
        return None


def _trouble(before: Trouble | None, kind: Kind, words: str) -> Trouble:
    """Return a trouble that goes on since it was first seen."""
    is_same = before is not None and before.kind == kind
    return Trouble(kind, before.since_ns if before is not None and is_same else time.time_ns(), words)
