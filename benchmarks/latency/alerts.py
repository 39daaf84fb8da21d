"""From the reading that shows a fault to the alert, at 3,000 rows a second: the whole service.

    python -m benchmarks.latency.alerts [--quick]

Apache Kafka runs on this machine, and the daemon in a process of its own, with exactly-once delivery. A row
closes with the first reading of the next row, as by default ([grid] lateness 0s). The clock starts when that
reading is due to be sent, so a sender that falls behind counts as well. It stops when a reader with
read_committed has the alert. So the figure has the producer, both ways through the broker, the wait of the
poll and the transaction in it. Nothing is subtracted.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from kafka import KafkaConsumer, TopicPartition
from numpy.typing import NDArray

from benchmarks.artifacts import CHANNELS, INTERVAL_NS, WINDOW, conv_artifact
from benchmarks.measurement import Measurement
from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, TopicSpec, client_settings
from connectors.kafka.producer import Producer
from connectors.records import Message, Readings
from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from detector.artifact.spec import Artifact
from detector.engine.engine import Engine
from tests.support.kafka_broker import KafkaBroker

TOPIC, PREFIX, NUM_PARTITIONS = "readings", "out", 4
START_NS = 1_767_225_600_000_000_000  # 2026-01-01
TICKS_PER_SECOND = 30
WARMING_TICKS = 2 * WINDOW
FAULT_EVERY, FAULT = 3 * WINDOW, 50.0
"""Rows between two faults of a series, each of one row: the first has left the window long before."""
PATIENCE_SECONDS = 60.0


class Stream:
    """Rows of all series: each series has a fault of one row every so often, each at a time of its own."""

    def __init__(self, num_series: int) -> None:
        """Begin with the first row of `num_series` series."""
        self.num_series = num_series
        self._names = tuple(f"pump-{number:03d}" for number in range(num_series))
        self._random = np.random.default_rng(7)

    def is_faulty(self, tick: int) -> NDArray[np.bool_]:
        """Return whether each series has a fault in this row, bool [series]."""
        at = tick - WARMING_TICKS + np.arange(self.num_series) * FAULT_EVERY // self.num_series
        return np.asarray((at % FAULT_EVERY == 0) & (tick >= WARMING_TICKS))

    def row(self, tick: int) -> Readings:
        """Return one reading of every series."""
        values = self._random.normal(0.0, 1.0, (self.num_series, len(CHANNELS))).round(4)
        values[self.is_faulty(tick)] += FAULT
        number = np.arange(self.num_series)
        times = np.full(self.num_series, START_NS + tick * INTERVAL_NS)
        return Readings(
            self._names, number.astype(np.int32), times, values, np.zeros_like(number, np.int32), number
        )


def measure(quick: bool) -> list[Measurement]:
    """Measure the 99th percentile of the milliseconds to an alert."""
    num_series, num_ticks = (20, 3 * TICKS_PER_SECOND) if quick else (100, 40 * TICKS_PER_SECOND)
    with tempfile.TemporaryDirectory(prefix="streamgauge-bench-") as name:
        directory = Path(name)
        publish(with_threshold(conv_artifact()), directory / "model")
        broker = KafkaBroker(directory)
        broker.start()
        try:
            connection = Connection((broker.bootstrap,))
            ensure_topics(
                connection, [TopicSpec(name, NUM_PARTITIONS, 1) for name in (TOPIC, f"{PREFIX}.alerts")]
            )
            daemon = _start(directory, connection)
            try:
                seconds = _measure(connection, Stream(num_series), num_ticks)
            finally:
                daemon.send_signal(signal.SIGTERM)
                daemon.wait()
        finally:
            broker.kill()
    median, p99 = (1e3 * float(np.quantile(seconds, share)) for share in (0.5, 0.99))
    detail = {
        "median_ms": round(median, 1),
        "alerts": len(seconds),
        "rows_per_second": num_series * TICKS_PER_SECOND,
    }
    return [Measurement("p99, reading in to alert out", p99, "ms", ceiling=250.0, detail=detail)]


def with_threshold(artifact: Artifact) -> Artifact:
    """Return the artifact with a threshold between the errors of rows with a fault and of others."""
    torch.set_num_threads(1)
    judged = replace(
        artifact, spec=replace(artifact.spec, threshold=replace(artifact.spec.threshold, value=1.0))
    )
    engine, stream = Engine(judged), Stream(4)
    scores, faulty = [], []
    for tick in range(WARMING_TICKS + 40):
        verdicts = engine.step(stream.row(tick)).verdicts
        if tick > WARMING_TICKS:  # a row is judged with the first reading of the next
            scores.append(verdicts.score)
            faulty.append(stream.is_faulty(tick - 1))
    score, is_faulty = np.concatenate(scores), np.concatenate(faulty)
    between = float(np.sqrt(np.median(score[is_faulty]) * np.median(score[~is_faulty])))
    threshold = replace(artifact.spec.threshold, value=between, limit=None)
    return replace(artifact, spec=replace(artifact.spec, threshold=threshold))


def _start(directory: Path, connection: Connection) -> subprocess.Popen[bytes]:
    config = directory / "streamgauge.toml"
    config.write_text(
        f'[model]\npath = "{directory / "model"}"\n'
        f'[kafka]\nbootstrap_servers = ["{connection.servers}"]\ntopic = "{TOPIC}"\n'
        f'[delivery]\nmode = "exactly_once"\n[output]\nprefix = "{PREFIX}"\n[http]\nport = 0\n'
    )
    with (directory / "daemon.log").open("wb") as log:
        command = [sys.executable, "-m", "streamgauge", "run", str(config)]
        return subprocess.Popen(command, stdout=log, stderr=log)


class _Reader(threading.Thread):
    """Notes when each alert of an opened incident arrives: (series, time of its row in ns) -> seconds."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.arrived: dict[tuple[str, int], float] = {}
        self.is_over = threading.Event()
        self._consumer = KafkaConsumer(**client_settings(connection), isolation_level="read_committed")
        self._consumer.assign([TopicPartition(f"{PREFIX}.alerts", at) for at in range(NUM_PARTITIONS)])
        self._consumer.seek_to_beginning()

    def run(self) -> None:
        while not self.is_over.is_set():
            records = self._consumer.poll(timeout_ms=200)
            now = time.perf_counter()
            for record in (one for found in records.values() for one in found):
                body = json.loads(record.value)
                if body["event"] == "opened":
                    at = np.datetime64(body["at"].removesuffix("Z"), "ns").astype(np.int64)
                    self.arrived.setdefault((body["series"], int(at)), now)
        self._consumer.close()


def _measure(connection: Connection, stream: Stream, num_ticks: int) -> list[float]:
    """Send rows at their pace; return the seconds of every alert."""
    reader = _Reader(connection)
    reader.start()
    closed: dict[tuple[str, int], float] = {}
    try:
        with closing(Producer(connection)) as producer:
            for tick in range(WARMING_TICKS):
                producer.produce(_messages(stream, tick))
            _wait_for_commit(connection, stream.num_series * WARMING_TICKS)
            began = time.perf_counter()
            for tick in range(WARMING_TICKS, WARMING_TICKS + num_ticks):
                messages = _messages(stream, tick)
                planned = began + (tick - WARMING_TICKS) / TICKS_PER_SECOND
                time.sleep(max(0.0, planned - time.perf_counter()))
                for number in np.flatnonzero(stream.is_faulty(tick - 1)).tolist():
                    closed[f"pump-{number:03d}", START_NS + (tick - 1) * INTERVAL_NS] = planned
                producer.produce(messages)
        _wait_for_alerts(reader, closed)
    finally:
        reader.is_over.set()
        reader.join()
    return [reader.arrived[key] - seconds for key, seconds in closed.items()]


def _messages(stream: Stream, tick: int) -> list[Message]:
    return encode(stream.row(tick), CHANNELS, TOPIC)


def _wait_for_commit(connection: Connection, num_rows: int) -> None:
    """Wait until the rows that fill the windows are judged."""
    looker = KafkaConsumer(**client_settings(connection), group_id="streamgauge", enable_auto_commit=False)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (
        sum(looker.committed(TopicPartition(TOPIC, number)) or 0 for number in range(NUM_PARTITIONS))
        < num_rows
    ):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the daemon did not judge {num_rows} rows in {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.05)
    looker.close(autocommit=False)


def _wait_for_alerts(reader: _Reader, expected: dict[tuple[str, int], float]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while missing := len(expected.keys() - reader.arrived.keys()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{missing} of {len(expected)} alerts did not come")
        time.sleep(0.05)


if __name__ == "__main__":
    for one in measure("--quick" in sys.argv):
        print(f"{one.name}: {one.value:.3g} {one.unit} ({one.bound}: {one.kept}) {one.detail}")
