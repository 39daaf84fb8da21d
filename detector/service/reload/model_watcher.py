"""Watch for a new model: look every few seconds, load and check it in a thread of its own.

The loop takes what is ready between two turns (see `model_reload` beside this) and never waits for it.
An artifact that cannot be used is refused with the reason. It is tried again, each time after a longer pause.
A registry that is still being copied heals itself, and a bad model does not keep the disk busy.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from connectors.errors import ConnectorError
from connectors.objects.names import is_remote, without_secrets
from detector import logs
from detector.artifact.description.place import fingerprint_of
from detector.artifact.registry import open_named
from detector.artifact.spec import Artifact, Spec
from detector.errors import ArtifactError
from detector.lifecycle.versions import waiting_at
from detector.service.reload.reload_counts import ReloadCounts

_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 30.0, 3600.0

Made = TypeVar("Made")


def check_compatible(running: Spec, found: Spec) -> None:
    """Check that the series of one model can continue with another. Raises ArtifactError with the remedy."""
    if found.name != running.name:
        raise ArtifactError(
            f"this is model {found.name!r}, but {running.name!r} is running, and incidents carry its name;"
            " restart the daemon to use another model"
        )
    if found.interval_ns != running.interval_ns:
        raise ArtifactError(
            f"its rows are {found.interval_ns / 1e9:g} s long, those of the running model"
            f" {running.interval_ns / 1e9:g} s, so some rows would be scored twice; restart the daemon"
            " with another output prefix"
        )


class ModelWatcher(Generic[Made]):
    """Look at a registry entry for another artifact than the one in use, and prepare it.

    `take`, `ask` and `close` may be called from any thread.
    """

    def __init__(
        self,
        location: str,
        seconds: float,
        running: Artifact,
        make: Callable[[Artifact], Made],
        counts: ReloadCounts,
        name: str | None = None,
    ) -> None:
        """Prepare to watch; `start` begins.

        Args:
            location: registry entry, one version of it, or the URI of either.
            seconds: time between two looks; 0 looks only when asked.
            running: the artifact in use.
            make: prepares a new artifact for the loop; called in the watcher's thread.
            counts: counts refused artifacts.
            name: what the model is called here; None: as the artifact says.
        """
        self._location, self._seconds, self._make, self._name = location, seconds, make, name
        self._running, self.counts = running, counts
        self._seen = running.version  # what the entry's pointer named at the last look
        self._lock = threading.Lock()
        self._ready: Made | None = None
        self._asked, self._stopped = threading.Event(), threading.Event()
        self._retry_seconds, self._retry_at = _RETRY_SECONDS, 0.0
        self._is_unreadable = False
        self._thread = threading.Thread(target=self._watch, name="model-watch", daemon=True)

    def start(self) -> None:
        """Watch until `close`."""
        self._thread.start()

    def ask(self) -> None:
        """Look at once, also at an artifact that was refused before."""
        self._asked.set()

    def take(self) -> Made | None:
        """Return the prepared model once, else None. From now on it counts as the one in use."""
        with self._lock:
            made, self._ready = self._ready, None
            return made

    def close(self) -> None:
        """Stop watching. Does not wait for a read from a remote registry."""
        self._stopped.set()
        self._asked.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)

    def _watch(self) -> None:
        while not self._stopped.is_set():
            was_asked = self._asked.wait(self._seconds or None)
            self._asked.clear()
            if not self._stopped.is_set():
                self.look_once(was_asked)

    def look_once(self, was_asked: bool = False) -> None:
        """Look once, and load a new artifact. Logs whatever is wrong with it and never raises."""
        try:
            seen = fingerprint_of(self._location)
        except ArtifactError as error:
            if was_asked or not self._is_unreadable:
                logs.event("cannot look for a new model", logging.WARNING, error=str(error))
            self._is_unreadable, self.counts.unreachable = True, str(error)
            return
        self._is_unreadable, self.counts.unreachable = False, ""
        if is_remote(self._location):
            waiting_at(self._location)  # for the page, which waits for no store
        is_refused = seen == self._seen and self._retry_at > 0
        if seen == self._seen and not (is_refused and (was_asked or time.monotonic() >= self._retry_at)):
            return
        if seen != self._seen:
            self._retry_seconds = _RETRY_SECONDS
        self._seen, self._retry_at = seen, 0.0
        try:
            self._load()
        except (ArtifactError, ConnectorError, MemoryError, RuntimeError, ValueError) as error:
            self._refuse(error)

    def _load(self) -> None:
        artifact = open_named(self._location, self._name)
        if artifact.version == self._running.version:
            return
        check_compatible(self._running.spec, artifact.spec)
        made = self._make(artifact)
        with self._lock:
            self._ready = made
        self._running = artifact

    def _refuse(self, error: Exception) -> None:
        self.counts.add("refused")
        logs.event(
            "model refused, the old one stays in use",
            logging.ERROR,
            location=without_secrets(self._location),
            error=str(error),
            retry_in_seconds=self._retry_seconds,
        )
        self._retry_at = time.monotonic() + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, _LONGEST_RETRY_SECONDS)
