"""Long work in the background: one process at a time, progress, cancel, a time limit, kept results."""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Literal

from detector.explore.background.child import Work, run

State = Literal["running", "done", "failed", "cancelled"]
MOST_SECONDS = 600.0
_KEPT = 32


class BusyError(Exception):
    """Another job runs; `job` is its id."""

    def __init__(self, job: str) -> None:
        super().__init__(f"another computation runs; wait for it, or cancel {job}")
        self.job = job


@dataclass(slots=True)
class _Job:
    """A job and its process.

    done, of  its progress; `of` is 0 before it is known
    message   why it failed
    """

    id: str
    process: BaseProcess
    started: float
    state: State = "running"
    done: int = 0
    of: int = 0
    seconds: float = 0.0
    result: dict[str, Any] | None = None
    message: str | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def as_json(self) -> dict[str, Any]:
        running = self.state == "running"
        seconds = time.monotonic() - self.started if running else self.seconds
        plain = {name: getattr(self, name) for name in ("id", "state", "done", "of", "message", "result")}
        return plain | {"seconds": round(seconds, 1)}


class Jobs:
    """Run jobs. Safe to use from several threads."""

    def __init__(self, most_seconds: float = MOST_SECONDS) -> None:
        """Kill a job that runs for longer than `most_seconds`."""
        self._most_seconds = most_seconds
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        self._context = multiprocessing.get_context("spawn")  # threads do not survive a fork

    def start(self, job: str, work: Work, task: dict[str, Any]) -> dict[str, Any]:
        """Start a job and return its status. One that runs or is done is not started again.

        Args:
            job: its id; equal ids mean equal tasks.
            work: a function of a module.
            task: what it gets.

        Raises:
            BusyError: another one runs.
        """
        with self._lock:
            known = self._jobs.get(job)
            if known is not None and known.state in ("running", "done"):
                return known.as_json()
            busy = next((one for one in self._jobs.values() if one.state == "running"), None)
            if busy is not None:
                raise BusyError(busy.id)
            reader, writer = self._context.Pipe(duplex=False)
            process = self._context.Process(target=run, args=(writer, work, task), daemon=True)
            process.start()
            writer.close()
            made = self._jobs[job] = _Job(job, process, time.monotonic())
            self._jobs.move_to_end(job)
            while len(self._jobs) > _KEPT:
                self._jobs.popitem(last=False)
            threading.Thread(target=self._follow, args=(made, reader), daemon=True).start()
            return made.as_json()

    def finished(self, job: str, work: Work, task: dict[str, Any]) -> dict[str, Any]:
        """Start a job, unless it runs or is done, and return its status when it is over."""
        self.start(job, work, task)
        self._jobs[job].ended.wait()
        return self._jobs[job].as_json()

    def status(self, job: str) -> dict[str, Any] | None:
        """Return state, progress and result of a job; None: there is none of this id."""
        with self._lock:
            known = self._jobs.get(job)
            return None if known is None else known.as_json()

    def cancel(self, job: str) -> dict[str, Any] | None:
        """Kill a job that runs, and return its status; None: there is none of this id."""
        with self._lock:
            known = self._jobs.get(job)
            if known is None:
                return None
            if known.state == "running":
                self._end(known, "cancelled")
            return known.as_json()

    def close(self) -> None:
        """Kill what runs, and wait until it has ended."""
        with self._lock:
            running = [one for one in self._jobs.values() if one.state == "running"]
            for one in running:
                self._end(one, "cancelled")
        for one in running:
            one.process.join()

    def _end(self, job: _Job, state: State, message: str | None = None) -> None:
        job.state, job.message = state, message
        job.seconds = time.monotonic() - job.started
        job.ended.set()
        if job.process.is_alive():
            job.process.kill()

    def _follow(self, job: _Job, reader: Connection) -> None:
        """Take what the process sends until it ends."""
        with reader:
            try:
                while reader.poll(max(0.0, job.started + self._most_seconds - time.monotonic())):
                    self._take(job, json.loads(reader.recv_bytes()))
                self._fail(job, f"it took more than {self._most_seconds:.0f} s; choose a shorter range")
            except (EOFError, OSError):
                job.process.join()
                self._fail(job, f"the process was killed (code {job.process.exitcode}); try again")
        job.process.join()

    def _take(self, job: _Job, message: dict[str, Any]) -> None:
        with self._lock:
            if job.state != "running":
                return
            if "result" in message:
                job.result = message["result"]
                self._end(job, "done")
            elif "error" in message:
                self._end(job, "failed", message["error"])
            else:
                job.done, job.of = message["done"], message["of"]

    def _fail(self, job: _Job, message: str) -> None:
        with self._lock:
            if job.state == "running":
                self._end(job, "failed", message)
