"""The daemon from end to end against kafka-python alone, which reads the same topic and drops the bytes.

Apache Kafka runs on this machine, with wide JSON of 8 channels and 100 series on 4 partitions. The daemon
scores every row, writes every verdict and commits. Both use the same client settings. The rate of the daemon
is measured between commits: its start does not count, and the outputs of every counted row are acknowledged.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from kafka import KafkaConsumer, TopicPartition

from benchmarks.artifacts import CHANNELS, INTERVAL_NS, conv_artifact, ensemble_artifact
from benchmarks.measurement import Measurement, alternate
from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import (
    Connection,
    ConsumerOptions,
    TopicSpec,
    client_settings,
    fetch_settings,
)
from connectors.kafka.producer import Producer
from connectors.records import Readings
from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from detector.artifact.spec import Artifact
from tests.support.kafka_broker import KafkaBroker

TOPIC = "readings"
NUM_PARTITIONS = 4
NUM_SERIES = 100
START_NS = 1_767_225_600_000_000_000  # 2026-01-01
PARTITIONS = [TopicPartition(TOPIC, number) for number in range(NUM_PARTITIONS)]
PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.02


def measure(quick: bool) -> list[Measurement]:
    """Measure the rows per second of the daemon, divided by those of the bare client."""
    num_readings, num_rounds = (80_000, 1) if quick else (400_000, 5)
    with tempfile.TemporaryDirectory(prefix="streamgauge-bench-") as name, _broker(Path(name)) as connection:
        num_bytes = _fill(connection, num_readings)
        found = []
        for model, artifact, floor in (("conv", conv_artifact(), 0.3), ("ensemble", _ensemble(), None)):
            publish(artifact, Path(name) / model / "model")
            daemon = _Daemon(Path(name) / model, connection, num_readings)
            ours, bare = alternate(
                daemon.rows_per_second, partial(_bare, connection, num_readings, daemon.options), num_rounds
            )
            detail = {
                "daemon_rows_per_second": round(ours),
                "client_rows_per_second": round(bare),
                "bytes_a_message": round(num_bytes / num_readings),
                "daemon_peak_mib": round(daemon.peak_bytes / 2**20),
            }
            title = f"daemon, {model} / kafka-python dropping bytes"
            found.append(Measurement(title, ours / bare, "x", floor=floor, detail=detail))
    return found


def _ensemble() -> Artifact:
    return ensemble_artifact(len(CHANNELS))


@contextmanager
def _broker(directory: Path) -> Iterator[Connection]:
    broker = KafkaBroker(directory)
    broker.start()
    try:
        yield Connection((broker.bootstrap,))
    finally:
        broker.kill()


def _fill(connection: Connection, num_readings: int) -> int:
    """Produce the readings of all series, sorted by time; return their bytes."""
    ensure_topics(connection, [TopicSpec(TOPIC, NUM_PARTITIONS, 1)])
    producer = Producer(connection)
    random = np.random.default_rng(7)
    names = tuple(f"pump-{number:03d}" for number in range(NUM_SERIES))
    num_bytes = 0
    for start in range(0, num_readings, 20_000):
        number = np.arange(start, min(start + 20_000, num_readings))
        readings = Readings(
            names,
            (number % NUM_SERIES).astype(np.int32),
            START_NS + number // NUM_SERIES * INTERVAL_NS,
            random.normal(20.0, 1.0, (len(number), len(CHANNELS))).round(4),
            np.zeros(len(number), np.int32),
            number,
        )
        messages = encode(readings, CHANNELS, TOPIC)
        num_bytes += sum(len(message.value) for message in messages)
        producer.produce(messages)
    producer.close()
    return num_bytes


def _bare(connection: Connection, num_readings: int, options: ConsumerOptions) -> float:
    """Return the messages per second of the client alone, from its first records to its last."""
    consumer = KafkaConsumer(
        **client_settings(connection),
        **fetch_settings(options),
        group_id=None,
        max_poll_records=options.max_poll_records,
    )
    consumer.assign(PARTITIONS)
    consumer.seek_to_beginning(*PARTITIONS)
    counted = _count(consumer)  # the first records start the clock
    start = time.perf_counter()
    num_read = 0
    while counted + num_read < num_readings:
        num_read += _count(consumer)
    rate = num_read / (time.perf_counter() - start)
    consumer.close()
    return rate


def _count(consumer: KafkaConsumer) -> int:
    records: dict[TopicPartition, list[object]] = {}
    while not records:
        records = consumer.poll(timeout_ms=1000)
    return sum(len(found) for found in records.values())


class _Daemon:
    """Run `streamgauge run` in a process of its own, with a new consumer group each time."""

    def __init__(self, directory: Path, connection: Connection, num_readings: int) -> None:
        self._directory, self._connection, self._num_readings = directory, connection, num_readings
        self._num_runs = 0
        self.peak_bytes = 0
        self.options = ConsumerOptions(TOPIC, "bench")

    def rows_per_second(self) -> float:
        """Return the rows per second from the first commit seen to the commit of the last row."""
        self._num_runs += 1
        group = f"bench-{self._directory.name}-{self._num_runs}"
        observer = KafkaConsumer(
            **client_settings(self._connection), group_id=group, enable_auto_commit=False
        )
        with self._running(group) as process:
            first = self._wait(observer, process, at_least=1)
            start = time.perf_counter()
            self._wait(observer, process, at_least=self._num_readings)
            rate = (self._num_readings - first) / (time.perf_counter() - start)
            self.peak_bytes = max(self.peak_bytes, _peak_bytes(process.pid))
        observer.close()
        return rate

    def _wait(self, observer: KafkaConsumer, process: subprocess.Popen[bytes], at_least: int) -> int:
        """Wait until at least so many messages are committed; return their number."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            committed = sum(observer.committed(partition) or 0 for partition in PARTITIONS)
            if committed >= at_least:
                return committed
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the daemon stopped at {committed}:\n{self._log.read_text()[-2000:]}")
            time.sleep(POLL_SECONDS)

    @property
    def _log(self) -> Path:
        return self._directory / "daemon.log"

    @contextmanager
    def _running(self, group: str) -> Iterator[subprocess.Popen[bytes]]:
        config = self._directory / f"{group}.toml"
        config.write_text(
            f'[model]\npath = "{self._directory / "model"}"\n'
            f'[kafka]\nbootstrap_servers = ["{self._connection.servers}"]\n'
            f'topic = "{TOPIC}"\ngroup_id = "{group}"\n'
            f'[output]\nprefix = "{group}"\n[http]\nport = 0\n'
        )
        command = [sys.executable, "-m", "streamgauge", "run", str(config)]
        with self._log.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ})
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _peak_bytes(pid: int) -> int:
    """Return the peak resident memory in bytes on Linux, elsewhere the current one."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return int(psutil.Process(pid).memory_info().rss)
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
