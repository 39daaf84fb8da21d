"""Memory and processor time of one daemon at a given load, for docs/operate.md.

    python -m benchmarks.sizing MODEL [--series 1000] [--rates 100,1000] [--seconds 30]

Apache Kafka runs on this machine, and the daemon in a process of its own with exactly-once delivery. The
simulated plant sends its series at each rate (readings per second) in turn. Processor time is that of the
process, so that other load on the machine changes the figures little.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, TopicSpec
from connectors.kafka.producer import Producer
from connectors.records import Readings
from connectors.wide_json.encoder import encode
from detector.artifact.registry import open_artifact
from tests.support.kafka_broker import KafkaBroker, free_ports
from trainer.demo.plant import CHANNELS, Plant

TOPIC, PARTITIONS = "readings", 4
TICK_SECONDS = 0.5
START_NS = 1_767_225_600_000_000_000  # 2026-01-01
READY_SECONDS = 120.0


class Stream:
    """Make readings of `num_series` series, sorted by time: the eight pumps of the plant under many names."""

    def __init__(self, num_series: int, interval_ns: int) -> None:
        self._names = tuple(f"pump-{number:05d}" for number in range(num_series))
        self._plant = Plant(interval_seconds=round(interval_ns / 1e9))
        self._interval_ns, self._at = interval_ns, 0

    def take(self, num_readings: int) -> Readings:
        at = self._at + np.arange(num_readings)
        self._at += num_readings
        series, times = at % len(self._names), START_NS + at // len(self._names) * self._interval_ns
        values = np.empty((num_readings, len(CHANNELS)))
        for pump in range(self._plant.num_pumps):
            mine = series % self._plant.num_pumps == pump
            values[mine] = self._plant.values(pump, times[mine] // self._interval_ns)
        partition = np.zeros(num_readings, np.int32)
        return Readings(
            self._names, series.astype(np.int32), times, values, partition, np.arange(num_readings)
        )


@contextmanager
def running(model: Path, connection: Connection, directory: Path) -> Iterator[psutil.Process]:
    """Run the daemon while the context lasts; yield its process when it is ready."""
    (port,) = free_ports(1)
    config = directory / "streamgauge.toml"
    config.write_text(
        f'[model]\npath = "{model.resolve()}"\n'
        f'[kafka]\nbootstrap_servers = ["{connection.bootstrap_servers[0]}"]\ntopic = "{TOPIC}"\n'
        f"[http]\nport = {port}\n"
    )
    with (directory / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "streamgauge", "run", str(config)],
            stdout=log,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/readyz", daemon, directory / "daemon.log")
        yield psutil.Process(daemon.pid)
    finally:
        daemon.kill()  # its results are not needed
        daemon.wait()


def _wait_until_ready(url: str, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the daemon did not become ready:\n{log.read_text()}") from None
        time.sleep(0.1)


def load(stream: Stream, producer: Producer, rate: int, seconds: float) -> float:
    """Send `rate` readings per second for `seconds`; return the rate that was reached."""
    began, num_sent = time.monotonic(), 0
    for tick in range(1, round(seconds / TICK_SECONDS) + 1):
        producer.produce(encode(stream.take(round(rate * TICK_SECONDS)), CHANNELS, TOPIC))
        num_sent += round(rate * TICK_SECONDS)
        time.sleep(max(0.0, began + tick * TICK_SECONDS - time.monotonic()))
    return num_sent / (time.monotonic() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--rates", default="100,1000", help="readings per second, comma-separated")
    parser.add_argument("--seconds", type=float, default=30.0)
    args = parser.parse_args()
    artifact = open_artifact(args.model)
    print(f"{artifact.spec.name}: {len(artifact.spec.members)} members, {args.series} series")
    with tempfile.TemporaryDirectory(prefix="streamgauge-sizing-") as name:
        directory = Path(name)
        broker = KafkaBroker(directory)
        broker.start()
        try:
            connection = Connection((broker.bootstrap,))
            ensure_topics(connection, [TopicSpec(TOPIC, PARTITIONS, 1)])
            with running(args.model, connection, directory) as process:
                producer = Producer(connection)
                _measure(args, process, producer, Stream(args.series, artifact.spec.interval_ns))
                producer.close()
        finally:
            broker.kill()
    return 0


def _measure(args: argparse.Namespace, process: psutil.Process, producer: Producer, stream: Stream) -> None:
    print(f"{'readings/s':>10} {'cores':>6} {'us/reading':>10} {'RSS MiB':>8}")
    print(f"{0:>10} {'':>6} {'':>10} {process.memory_info().rss / 2**20:>8.0f}")
    for rate in map(int, args.rates.split(",")):
        before, began = sum(process.cpu_times()[:2]), time.monotonic()
        sent = load(stream, producer, rate, args.seconds)
        spent = sum(process.cpu_times()[:2]) - before
        cores = spent / (time.monotonic() - began)
        rss = process.memory_info().rss / 2**20
        print(f"{sent:>10.0f} {cores:>6.2f} {cores / sent * 1e6:>10.0f} {rss:>8.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
