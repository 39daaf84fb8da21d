"""Watching for a new model, beside the loop: looked at every few seconds, loaded and checked in a thread.

The loop takes what is ready between two transactions (`detector.service.model_reload`) and never waits for it. What cannot
be used is refused with the reason and tried again later and later: a registry that is being copied heals
itself, and a bad model does not keep the disk busy.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from connectors.errors import ConnectorError
from detector import logs
from detector.artifact.registry import fingerprint_of, open_artifact
from detector.artifact.spec import Artifact, Spec
from detector.errors import ArtifactError

_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 30.0, 3600.0

Made = TypeVar("Made")


def check_compatible(running: Spec, found: Spec) -> None:
    """Whether the series of one model can go on with another. Raises ArtifactError with the remedy."""
    if found.name != running.name:
        raise ArtifactError(
            f"it is model {found.name!r}, {running.name!r} is running, and incidents are named after it;"
            " restart the daemon to judge with another model"
        )
    if found.interval_ns != running.interval_ns:
        raise ArtifactError(
            f"its rows are {found.interval_ns / 1e9:g} s long, those of the running model"
            f" {running.interval_ns / 1e9:g} s, and some rows would be judged twice; restart the daemon,"
            " with another output prefix"
        )


class ModelWatcher(Generic[Made]):
    """Looks at `location` every `seconds` (0: only when asked to) for another artifact than the running one,
    and makes of it what the loop needs: `make` runs in the watching thread."""

    def __init__(
        self, location: str, seconds: float, running: Artifact, make: Callable[[Artifact], Made]
    ) -> None:
        self._location, self._seconds, self._make = location, seconds, make
        self._running = running
        self._seen = running.version  # what the pointer of an entry says
        self._lock = threading.Lock()
        self._ready: Made | None = None
        self._asked, self._stopped = threading.Event(), threading.Event()
        self._retry_seconds, self._retry_at = _RETRY_SECONDS, 0.0
        self._is_unreadable = False
        self.refused = 0
        self._thread = threading.Thread(target=self._watch, name="model-watch", daemon=True)

    def start(self) -> None:
        """Watch, until `close`."""
        self._thread.start()

    def ask(self) -> None:
        """Look at once, at what was refused too."""
        self._asked.set()

    def take(self) -> Made | None:
        """What is ready, once. It counts as the running one from here on."""
        with self._lock:
            made, self._ready = self._ready, None
            return made

    def close(self) -> None:
        """Stop watching; what is being read from a distant registry is not waited for."""
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
        """One look: load what is new. Never raises for what it finds."""
        try:
            seen = fingerprint_of(self._location)
        except ArtifactError as error:
            if was_asked or not self._is_unreadable:
                logs.event("cannot look for a new model", logging.WARNING, error=str(error))
            self._is_unreadable = True
            return
        self._is_unreadable = False
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
        artifact = open_artifact(self._location)
        if artifact.version == self._running.version:
            return
        check_compatible(self._running.spec, artifact.spec)
        made = self._make(artifact)
        with self._lock:
            self._ready = made
        self._running = artifact

    def _refuse(self, error: Exception) -> None:
        self.refused += 1
        logs.event(
            "model refused, going on with the old one",
            logging.ERROR,
            location=self._location,
            error=str(error),
            retry_in_seconds=self._retry_seconds,
        )
        self._retry_at = time.monotonic() + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, _LONGEST_RETRY_SECONDS)
