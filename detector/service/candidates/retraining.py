"""Runs `streamgauge retrain` now and then, in a process of its own that yields to the daemon.

It is due `every` after the newest training or attempt in the journal of the model. So several daemons, cron
and restarts do not add up. `retrain` itself ends at once if another one runs, if an
incident is open, or if nothing has changed. If an incident was open, or a run failed, it is tried again after
a seventh of the time. Of several models one is trained at a time.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from connectors.objects.names import name_of
from detector import logs
from detector.errors import ArtifactError
from detector.lifecycle.versions import journal_at

_NICE = 15
_LOOK_SECONDS = 60.0
_POLL_SECONDS = 1.0
_GRACE_SECONDS = 15.0
_AGAIN = 7
"""An attempt that was held up is repeated after this part of the time."""
_HELD_UP = ("incident open", "busy", "failed")
_NOT = "not retrained"


class Retraining:
    """Starts retrainings from a thread of its own. `close` ends it, and a retraining that runs.

    Args:
        place: directory or URI of the model in the registry, without secrets.
        every_seconds: time between two retrainings.
        command: what to run; it prints one JSON value with `outcome` and `why`.
        look_seconds: longest time between two looks at the journal.
        turn: held while it trains; several models share it.
    """

    def __init__(
        self,
        place: str,
        every_seconds: float,
        command: Sequence[str],
        look_seconds: float = _LOOK_SECONDS,
        turn: threading.Lock | None = None,
    ) -> None:
        self._place, self._every, self._command = place, every_seconds, list(command)
        self._look_seconds, self._turn = look_seconds, turn or threading.Lock()
        self._stopped = threading.Event()
        self._not_before = 0.0
        self._thread = threading.Thread(target=self._run, name="retraining", daemon=True)

    def start(self) -> None:
        """Retrain when it is due, until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Stop. A retraining that runs is ended; it publishes nothing by halves."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(2 * _GRACE_SECONDS)

    def due_at(self) -> float:
        """Return when the next retraining is due, seconds since the epoch.

        A journal that cannot be read puts it off.
        """
        try:
            events = journal_at(self._place).events
        except ArtifactError:
            return time.time() + self._every
        # An attempt that an open incident held up has no figures: it does not count.
        ended = [one for one in events if one.action == "published" or (one.action == _NOT and one.figures)]
        newest = max((_seconds(one.at) for one in ended), default=None)
        return max(0.0 if newest is None else newest + self._every, self._not_before)

    def _run(self) -> None:
        while not self._stopped.wait(min(self._look_seconds, max(0.0, self.due_at() - time.time()))):
            if time.time() < self.due_at():
                continue
            if not self._turn.acquire(blocking=False):  # another model is trained
                self._stopped.wait(self._look_seconds)
                continue
            try:
                self._retrain()
            finally:
                self._turn.release()

    def _retrain(self) -> None:
        """Run one retraining and log how it ended."""
        logs.event("retraining started", model=name_of(self._place))
        began = time.monotonic()
        found = self._outcome()
        if found is None:
            return
        wait = self._every / _AGAIN if found["outcome"] in _HELD_UP else self._every
        self._not_before = time.time() + wait
        logs.event(
            "retraining ended",
            logging.WARNING if found["outcome"] == "failed" else logging.INFO,
            model=name_of(self._place),
            outcome=found["outcome"],
            why=found["why"],
            version=found.get("version") or "",
            seconds=round(time.monotonic() - began, 1),
        )

    def _outcome(self) -> dict[str, Any] | None:
        """Return what the command printed, None if it was ended because the daemon stops."""
        quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
        try:
            process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet
            )
        except OSError as error:
            return {"outcome": "failed", "why": str(error)}
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        while not self._stopped.is_set():
            try:
                out, complaints = process.communicate(timeout=_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            return _read(process.returncode, out, complaints)
        _end(process)
        return None


def retrain_command(history: Path, place: str, config: Path) -> list[str]:
    """Return the command line that retrains a model as its daemon wants it."""
    flags = [str(history), "--out", place, "--daemon", str(config)]
    return [sys.executable, "-m", "streamgauge", "retrain", *flags, "--who", "streamgauge run", "--json"]


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _read(code: int, out: str, complaints: str) -> dict[str, Any]:
    """Return the outcome that a retraining printed; a run without one has failed."""
    try:
        found = json.loads(out) if code == 0 else None
    except ValueError:
        found = None
    if isinstance(found, dict) and {"outcome", "why"} <= found.keys():
        return found
    last = (complaints.strip().splitlines() or [f"exit code {code}"])[-1]
    return {"outcome": "failed", "why": last}


def _seconds(at: str) -> float:
    """Return an ISO 8601 time as seconds since the epoch, 0 if it is none."""
    try:
        return datetime.fromisoformat(at).timestamp()
    except ValueError:
        return 0.0
