"""The broker and the detectors of the demo: each detector is trained, started, watched and stopped here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, TopicSpec
from connectors.kafka.topic_tail import TopicTail
from detector.artifact.registry import open_artifact
from trainer.demo.broker import embedded_broker, free_port
from trainer.demo.processes import started
from trainer.demo.training import model_path, trained_words, training_command
from trainer.errors import TrainerError

TOPIC = "readings"
_NUM_PARTITIONS = 4
_READY_SECONDS, _TRAIN_SECONDS = 120.0, 900.0
# The embedded broker lets the first member of a group wait for half of its session: of 45 s by default.
_CONFIG = """\
[model]
path = "{model}"

[kafka]
bootstrap_servers = ["{bootstrap}"]
topic = "{topic}"
group_id = "demo-{family}"
session_timeout = "6s"

[output]
prefix = "{family}"
detail = "full"

[delivery]
mode = "at_least_once"

[incidents]
quiet_rows = 30

[http]
port = {port}
{link}"""


@dataclass(frozen=True, slots=True)
class Daemon:
    """Hold the address of a running detector, the family of its model, its configuration and its log."""

    family: str
    address: str
    config: Path
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


@dataclass(frozen=True, slots=True)
class Training:
    """Hold a training in a process of its own."""

    process: subprocess.Popen[bytes]
    began: float
    log: Path


class Detectors:
    """Hold the detectors from their training to their alerts; all stop when `stack` closes.

    Pages of detectors that are started link to the address `explorer`; None: to nothing.

    Belongs to the main thread: on Linux a process ends with the thread that started it.
    """

    def __init__(self, directory: Path, connection: Connection, stack: ExitStack, console: Console) -> None:
        self._directory, self._connection = directory, connection
        self._stack, self._console = stack, console
        self._trainings: dict[str, Training] = {}
        self._starting: list[Daemon] = []
        self._tails: dict[str, TopicTail] = {}
        self.ready: list[Daemon] = []
        self.explorer: str | None = None

    @property
    def are_all_ready(self) -> bool:
        """Whether every detector is trained and runs."""
        return not self._trainings and not self._starting

    def train_beside(self, family: str, seed: int) -> None:
        """Begin to train a model in a process of its own; `look` starts its detector."""
        log = self._directory / "logs" / f"train-{family}.log"
        command = training_command(family, self._directory, seed)
        process = self._stack.enter_context(started(command, log))
        self._trainings[family] = Training(process, time.monotonic(), log)

    def start(self, family: str) -> Daemon:
        """Start the detector of a trained model; `look` tells when it is ready."""
        port, config = free_port(), self._directory / f"{family}.toml"
        config.write_text(self._configuration(family, port))
        log = self._directory / "logs" / f"detector-{family}.log"
        self._stack.enter_context(started([sys.executable, "-m", "streamgauge", "run", str(config)], log))
        daemon = Daemon(family, f"http://127.0.0.1:{port}", config, log)
        self._starting.append(daemon)
        return daemon

    def wait(self, daemon: Daemon) -> None:
        """Wait until a detector is ready. Raises TrainerError if it takes too long."""

        def is_ready() -> bool:
            self.look()
            return daemon in self.ready

        wait_until(is_ready, "the start of the detector", _READY_SECONDS, daemon.log)

    def wait_for_all(self, meanwhile: Callable[[], object]) -> None:
        """Call `meanwhile` until every detector is ready. Raises TrainerError if it takes too long."""

        def are_ready() -> bool:
            meanwhile()
            self.look()
            return self.are_all_ready

        wait_until(are_ready, "the second training", _TRAIN_SECONDS, self._directory / "logs")

    def look(self) -> None:
        """Start the detectors of models that are trained by now, and follow those that are ready by now.

        Raises:
            TrainerError: A training failed.
        """
        for family, training in list(self._trainings.items()):
            code = training.process.poll()
            if code is None:
                continue
            if code != 0:
                raise TrainerError(f"the training of {family} ended with code {code}; see {training.log}")
            del self._trainings[family]
            self._say_trained(family, time.monotonic() - training.began)
            self.start(family)
        for daemon in [one for one in self._starting if one.is_ready()]:
            self._starting.remove(daemon)
            tail = TopicTail(self._connection, [f"{daemon.family}.alerts"])
            self._tails[daemon.family] = self._stack.enter_context(tail)
            self.ready.append(daemon)
            self._console.print(f"the detector of {daemon.family} runs: {daemon.address}", soft_wrap=True)

    def alerts(self, timeout_seconds: float) -> list[tuple[str, dict[str, Any]]]:
        """Return the alerts that arrive within about `timeout_seconds`, each with the family of its model."""
        found = []
        share = timeout_seconds / max(1, len(self._tails))
        for family, tail in self._tails.items():
            found += [(family, json.loads(message.value or b"{}")) for message in tail.poll(share)]
        return found

    def _configuration(self, family: str, port: int) -> str:
        (bootstrap,) = self._connection.bootstrap_servers
        return _CONFIG.format(
            model=model_path(self._directory, family),
            family=family,
            bootstrap=bootstrap,
            topic=TOPIC,
            port=port,
            link="" if self.explorer is None else f'explorer = "{self.explorer}"\n',
        )

    def _say_trained(self, family: str, seconds: float) -> None:
        spec = open_artifact(str(model_path(self._directory, family))).spec
        self._console.print(f"trained {family} in {seconds:.0f} s: {trained_words(spec)}", soft_wrap=True)


@contextmanager
def broker_with_topic(directory: Path) -> Iterator[Connection]:
    """Run a broker with the topic of the readings while the context lasts.

    Args:
        directory: Receives `logs/`.

    Raises:
        TrainerError: The broker is missing, or did not start in time.
    """
    with embedded_broker(directory / "logs" / "broker.log") as bootstrap:
        connection = Connection((bootstrap,))
        ensure_topics(connection, [TopicSpec(TOPIC, _NUM_PARTITIONS, 1)])
        yield connection


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
