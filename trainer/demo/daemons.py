"""The broker and the daemons of the demo: started together, watched over HTTP, stopped together."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, TopicSpec
from trainer.demo.broker import embedded_broker, free_port
from trainer.demo.processes import started
from trainer.errors import TrainerError

TOPIC = "readings"
_NUM_PARTITIONS = 4
_READY_SECONDS = 120.0
# The embedded broker lets the first member of a group wait for half of its session: of 45 s by default.
_CONFIG = """\
[model]
path = "{directory}/models/pump-{family}"

[kafka]
bootstrap_servers = ["{bootstrap}"]
topic = "{topic}"
group_id = "demo-{family}"
session_timeout = "15s"

[output]
prefix = "{family}"
[delivery]
mode = "at_least_once"

[incidents]
quiet_rows = 30

[http]
port = {port}
"""


@dataclass(frozen=True, slots=True)
class Daemon:
    """Hold the address of a running detector, the family of its model, and its log file."""

    family: str
    address: str
    log: Path

    def is_ready(self) -> bool:
        """Return whether /readyz answers 200."""
        return _get(f"{self.address}/readyz") is not None

    def num_readings(self) -> int:
        """Return the readings that the detector has processed; 0 while it does not answer."""
        body = _get(f"{self.address}/api/status")
        return int(json.loads(body)["readings"]) if body is not None else 0

    def judged(self) -> str:
        """Return how much the detector has judged, in the words of `Coverage.summary`."""
        body = _get(f"{self.address}/api/status")
        return (
            str(json.loads(body)["judged"]["summary"]) if body is not None else "of an unknown number of rows"
        )


@contextmanager
def broker_and_daemons(directory: Path, families: Sequence[str]) -> Iterator[tuple[Connection, list[Daemon]]]:
    """Run a broker and one daemon per family while the context lasts; yield when all of them are ready.

    Args:
        directory: Holds `models/pump-FAMILY`; receives `FAMILY.toml` and `logs/`.
        families: Families of the models.

    Raises:
        TrainerError: The broker is missing, or a process did not start in time.
    """
    with ExitStack() as stack:
        bootstrap = stack.enter_context(embedded_broker(directory / "logs" / "broker.log"))
        connection = Connection((bootstrap,))
        ensure_topics(connection, [TopicSpec(TOPIC, _NUM_PARTITIONS, 1)])
        daemons = []
        for family in families:
            port = free_port()
            config = directory / f"{family}.toml"
            config.write_text(
                _CONFIG.format(
                    directory=directory, family=family, bootstrap=bootstrap, topic=TOPIC, port=port
                )
            )
            log = directory / "logs" / f"detector-{family}.log"
            stack.enter_context(started([sys.executable, "-m", "streamgauge", "run", str(config)], log))
            daemons.append(Daemon(family, f"http://127.0.0.1:{port}", log))
        for daemon in daemons:
            wait_until(daemon.is_ready, "the start of the detector", _READY_SECONDS, daemon.log)
        yield connection, daemons


def wait_until(condition: Callable[[], bool], what: str, seconds: float, log: Path) -> None:
    """Wait until `condition` holds; after `seconds` raise TrainerError that names `what` and the log."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TrainerError(f"{what} took longer than {seconds:.0f} s; see {log}")
        time.sleep(0.1)


def _get(url: str) -> bytes | None:
    """Return the body of an answer with status 200, else None."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bytes(answer.read())
    except (urllib.error.URLError, OSError):
        return None
