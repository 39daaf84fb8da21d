"""The real daemon in a process of its own, for tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from connectors.kafka.connection import Connection
from connectors.kafka.topic_tail import TopicTail
from tests.support.secrets import remember
from tests.support.zygote import Forked, shared_zygote

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 180.0  # a bound on hanging, not an expectation


@dataclass
class Daemon:
    """A running `streamgauge run`."""

    process: subprocess.Popen[bytes] | Forked
    address: str
    log: Path

    def get(self, path: str) -> tuple[int, str]:
        """Status code and body of an HTTP GET; code 0 while nothing listens."""
        try:
            with urllib.request.urlopen(self.address + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def readings(self) -> int:
        code, body = self.get("/api/status")
        return json.loads(body)["readings"] if code == 200 else -1

    def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)

    def events(self) -> list[dict]:
        """The log so far; every line must be JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Return once `condition` holds; fail after a generous bound.

    It is asked again after twice the time that the question took: asking leaves the cores to the daemon.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        asked = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        assert now < deadline, f"waited {PATIENCE_SECONDS:.0f} s for {what}"
        time.sleep(min(1.0, max(0.05, 2 * (now - asked))))


@contextmanager
def running(
    config: str, directory: Path, environ: dict[str, str] | None = None, prefix: Sequence[str] | None = None
) -> Iterator[Daemon]:
    """`streamgauge run` on a configuration without [http] while the context lasts.

    It is forked from a process that has imported everything. With a `prefix`, which may be empty, it is a
    command of its own that the prefix starts.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = directory / f"streamgauge-{port}.toml"
    path.write_text(f"{config}\n[http]\nport = {port}\n")
    log = directory / f"daemon-{port}.log"
    remember(log)
    log.write_bytes(b"")
    process: subprocess.Popen[bytes] | Forked
    if prefix is None:
        process = shared_zygote().start(path, log, environ)
    else:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "streamgauge", "run", str(path)],
                cwd=ROOT,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environ or {})},
            )
    daemon = Daemon(process, f"http://127.0.0.1:{port}", log)
    try:
        yield daemon
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def read_all(bootstrap: str, topic: str) -> list:
    """All messages that a topic holds now, and maybe some that come meanwhile."""
    found: list = []
    with TopicTail(Connection((bootstrap,)), [topic]) as tail:
        end = tail.end()
        while any(tail.position()[place] < at for place, at in end.items()):
            found += tail.poll(0.5)
    return found
