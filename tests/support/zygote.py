"""Starts daemons by forking from a process that has imported everything: a start costs no seconds.

Reads lines of JSON and answers each with the pid of a process that runs `streamgauge run`. Another process
waits for its end and writes the exit code to the file `exit_file`.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


def exit_file(log: Path) -> Path:
    """Where the exit code of the daemon with this log is written."""
    return log.with_name(f"{log.name}.exit")


class Forked:
    """A daemon that was forked, with those methods of `subprocess.Popen` that tests need."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self._exit_file = exit_file(log)

    def poll(self) -> int | None:
        """The exit code; minus the number of the signal that ended it; None while it runs."""
        return int(self._exit_file.read_text()) if self._exit_file.exists() else None

    def wait(self, timeout: float = 120.0) -> int:
        """The exit code once it has ended. Raises `subprocess.TimeoutExpired` after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("streamgauge run", timeout)
            time.sleep(0.02)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Zygote:
    """Forks daemons."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )
        if self._line() != "ready":
            raise RuntimeError("the daemon cannot be imported")

    def start(
        self, config: Path, log: Path, environ: Mapping[str, str] | None = None, breakages: Sequence[str] = ()
    ) -> Forked:
        """Start a daemon that appends to `log`; `environ` is added to the environment of this process."""
        exit_file(log).unlink(missing_ok=True)
        whole = {**os.environ, **(environ or {})}
        order = {"config": str(config), "log": str(log), "environ": whole, "breakages": list(breakages)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Forked(int(self._line()), log)

    def close(self) -> None:
        with self._process:  # closes its pipes, and waits
            pass

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@cache
def shared_zygote() -> Zygote:
    """The one of this process."""
    zygote = Zygote()
    atexit.register(zygote.close)
    return zygote


def _run(order: dict) -> int:
    """Be the daemon; its exit code."""
    from streamgauge import main as streamgauge

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(order["environ"])
    if order["breakages"]:
        from tests.faults.breakages import apply

        for name in order["breakages"]:
            apply(name)
    code = streamgauge(["run", order["config"]])
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _watch(pid: int, log: Path) -> None:
    """Write the exit code of a child at once when it has ended."""
    _, status = os.waitpid(pid, 0)
    scratch = exit_file(log).with_suffix(".scratch")
    scratch.write_text(str(os.waitstatus_to_exitcode(status)))
    scratch.rename(exit_file(log))


def main() -> None:
    import detector.service.daemon  # noqa: F401  # what takes long, once

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the watchers: the kernel reaps them
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            pid = os.fork()
            if pid == 0:
                os._exit(_run(order))
            print(pid, flush=True)
            _watch(pid, Path(order["log"]))
            os._exit(0)


if __name__ == "__main__":
    main()
