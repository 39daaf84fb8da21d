"""A running group for pictures and benchmarks: Apache Kafka, one daemon, and the explorer that shows it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import urllib3

from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, TopicSpec
from connectors.kafka.producer import Producer
from connectors.records import Readings
from connectors.wide_json.encoder import encode
from tests.support.kafka_broker import KafkaBroker, free_ports
from trainer.demo.plant import CHANNELS

TOPIC, PARTITIONS = "readings", 2
PATIENCE_SECONDS = 900.0
_HTTP = urllib3.PoolManager(retries=False, timeout=30.0)


@dataclass(frozen=True, slots=True)
class RunningGroup:
    """What runs.

    site      the address of the explorer, without a slash at its end
    explorer  its process
    producer  the way in for readings
    """

    site: str
    explorer: psutil.Process
    producer: Producer

    def send(self, readings: Readings) -> None:
        """Send readings of the demo's plant."""
        self.producer.produce(encode(readings, CHANNELS, TOPIC))

    def rows(self) -> int:
        """Return how many rows the explorer has kept."""
        answer = _HTTP.request("GET", f"{self.site}/api/v1/source")
        assert answer.status == 200, answer.data
        return int(answer.json()["rows"])

    def wait_for_rows(self, num: int) -> None:
        """Return once the explorer has kept so many rows."""
        until(lambda: self.rows() >= num, f"{num:,} rows in the explorer")


@contextmanager
def running_group(directory: Path, model: Path) -> Iterator[RunningGroup]:
    """Run broker, daemon and explorer while the context lasts.

    Args:
        directory: receives the configuration, the archive, logs and the data of the broker.
        model: the entry of a model of the demo's plant.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        broker = KafkaBroker(directory)
        broker.start()
        stack.callback(broker.kill)
        connection = Connection((broker.bootstrap,))
        ensure_topics(connection, [TopicSpec(TOPIC, PARTITIONS)])
        config, port = directory / "plant.toml", free_ports(1)[0]
        config.write_text(
            f'[model]\npath = "{model.resolve()}"\n[kafka]\nbootstrap_servers = ["{broker.bootstrap}"]\n'
            f'topic = "{TOPIC}"\ngroup_id = "plant"\n[output]\nprefix = "plant"\ndetail = "full"\n'
            f"[http]\nport = {port}\n"
        )
        stack.enter_context(_started(["run", str(config)], directory / "daemon.log"))
        until(lambda: _answers(f"http://127.0.0.1:{port}/readyz"), "the daemon")
        words = ["explore", str(config), "--port", "0", "--no-browser", "--user", "ada"]
        process = stack.enter_context(_started(words, directory / "explorer.log"))
        until(lambda: "http://" in (directory / "explorer.log").read_text(), "the explorer")
        text = (directory / "explorer.log").read_text()
        site = next(word.rstrip("/") for word in text.split() if word.startswith("http://"))
        until(lambda: _answers(f"{site}/api/v1/source"), "the explorer")
        producer = Producer(connection)
        stack.callback(producer.close)
        yield RunningGroup(site, psutil.Process(process.pid), producer)


def until(condition: Callable[[], bool], what: str) -> None:
    """Return once `condition` holds; raise TimeoutError that names `what` after a quarter of an hour."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: nothing came within {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.1)


@contextmanager
def _started(words: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamgauge", *words], stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return _HTTP.request("GET", url).status == 200
    except urllib3.exceptions.HTTPError:
        return False
