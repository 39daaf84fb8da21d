"""Every source over the same input: what a source promises is tested once, for all of them."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from connectors.files.feed import FileFeed
from connectors.files.pipe import PipeFeed
from connectors.kafka.connection import Connection, ConsumerOptions
from connectors.kafka.producer import Producer
from connectors.kafka.source import KafkaSource
from connectors.local.source import LocalSource, SourceOptions
from connectors.local.store import LocalStore
from connectors.memory import MemorySource, readings_of
from connectors.parquet.dataset import discover
from connectors.parquet.replay_source import ParquetSource
from connectors.parquet.writer import TableWriter
from connectors.records import Readings, Source, StreamSource
from connectors.wide_json.decoder import JsonWideCodec
from connectors.wide_json.encoder import encode
from tests.support.daemon import wait_for
from tests.without_kafka.mosquitto import Mosquitto, mosquitto, publish

CHANNELS = ("flow", "heat")
NUM, BATCH = 20, 5
START_NS = 1_767_225_600_000_000_000


def history() -> Readings:
    """Two series in turn, a second apart, whose values count the readings."""
    return readings_of([(f"pump-{n % 2}", START_NS + n * 10**9, [float(n), -float(n)]) for n in range(NUM)])


@dataclass(frozen=True)
class SourceKit:
    """`start` gives a source over `history`, as a process that starts has it. It is closed after the test."""

    start: Callable[[], Source]
    ends: bool


@dataclass(frozen=True)
class StreamKit:
    """As SourceKit: each start resumes at what earlier ones have committed."""

    start: Callable[[], StreamSource]
    topic: str
    awaits_start: bool
    seeks: bool = True
    """Whether any offset can be read again: MQTT gives again what was not acknowledged, and nothing else."""

    def position(self, offset: int) -> Mapping[tuple[str, int], int]:
        return {(self.topic, 0): offset}


def slices() -> list[Readings]:
    found = history()
    return [
        Readings(
            found.names, found.series[at], found.timestamp_ns[at], found.values[at],
            found.partition[at], found.offset[at],
        )
        for at in (slice(start, start + BATCH) for start in range(0, NUM, BATCH))
    ]  # fmt: skip


def memory_starts(awaits_start: bool) -> Callable[[], StreamSource]:
    sources = [MemorySource(slices(), CHANNELS, awaits_start=awaits_start)]

    def start() -> StreamSource:
        sources.append(sources[-1].restarted())
        return sources[-1]

    return start


def parquet_starts(directory: Path) -> Callable[[], Source]:
    found = history()
    with TableWriter(directory / "history.parquet") as writer:
        series = np.array(found.names, object)[found.series]
        columns = {name: found.values[:, at] for at, name in enumerate(CHANNELS)}
        writer.write({"timestamp": found.timestamp_ns, "series": series, **columns})
    return lambda: ParquetSource(discover(directory), batch_rows=BATCH)


def kafka_starts(bootstrap: str, topic: str, awaits_start: bool) -> Callable[[], StreamSource]:
    connection = Connection((bootstrap,))
    with closing(Producer(connection)) as producer:
        producer.produce(encode(history(), CHANNELS, topic))
    options = ConsumerOptions(
        topic, f"group-{uuid.uuid4().hex[:12]}", max_poll_records=BATCH, awaits_start=awaits_start
    )
    return lambda: KafkaSource(connection, options, JsonWideCodec(CHANNELS))


def lines() -> list[bytes]:
    """The history as lines of JSON."""
    return [(message.value or b"") + b"\n" for message in encode(history(), CHANNELS, "history")]


def file_starts(
    directory: Path, is_followed: bool, awaits_start: bool, opened: ExitStack
) -> Callable[[], StreamSource]:
    """Two files, and a store that outlives the sources."""
    directory.mkdir()
    (directory / "first.jsonl").write_bytes(b"".join(lines()[:7]))
    (directory / "second.jsonl").write_bytes(b"".join(lines()[7:]))
    store = opened.enter_context(LocalStore(directory / "state", "files"))
    options = SourceOptions("files", BATCH, awaits_start)

    def start() -> StreamSource:
        feed = FileFeed(str(directory / "*.jsonl"), is_followed, store.segments(), 100)
        return LocalSource(feed, store, JsonWideCodec(CHANNELS), options)

    return start


def pipe_starts(opened: ExitStack) -> Callable[[], Source]:
    def start() -> Source:
        reading, writing = os.pipe()
        os.write(writing, b"".join(lines()))
        os.close(writing)
        options = SourceOptions("stdin", BATCH)
        opened.callback(os.close, reading)
        store = opened.enter_context(LocalStore(None))
        return LocalSource(PipeFeed(reading), store, JsonWideCodec(CHANNELS), options)

    return start


@pytest.fixture(scope="session")
def mosquitto_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A real Mosquitto."""
    with mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


def mqtt_starts(broker: Mosquitto, awaits_start: bool, opened: ExitStack) -> Callable[[], StreamSource]:
    """A session that is there before the messages; each start continues it with a connection of its own."""
    from connectors.mqtt.client import MqttClient, MqttOptions
    from connectors.mqtt.feed import MqttFeed

    name = f"contract-{uuid.uuid4().hex[:8]}"
    store, clients = opened.enter_context(LocalStore(None)), list[MqttClient]()

    def connect() -> MqttClient:
        for client in clients:
            client.close()
        ended = len(clients)  # until then the broker may not have read what was acknowledged
        wait_for(lambda: broker.has_ended(name) >= ended, "the broker to have read the connections before")
        clients.append(MqttClient(MqttOptions("127.0.0.1", broker.port, name, (f"{name}/#",))))
        opened.callback(clients[-1].close)
        clients[-1].connect(60.0, threading.Event())
        return clients[-1]

    connect()
    publish(broker.port, [(f"{name}/a", line.strip()) for line in lines()])
    options = SourceOptions("mqtt", BATCH, awaits_start)
    return lambda: LocalSource(MqttFeed(connect()), store, JsonWideCodec(CHANNELS), options)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=["memory", "parquet", "files", "pipe", pytest.param("kafka", marks=pytest.mark.kafka)])
def source_kit(request: pytest.FixtureRequest, opened: ExitStack, tmp_path: Path) -> SourceKit:
    start: Callable[[], Source]
    if request.param == "memory":
        start = memory_starts(False)
    elif request.param == "parquet":
        start = parquet_starts(tmp_path)
    elif request.param == "files":
        start = file_starts(tmp_path / "files", False, False, opened)
    elif request.param == "pipe":
        start = pipe_starts(opened)
    else:
        topic = request.getfixturevalue("kafka_topic")()
        start = kafka_starts(request.getfixturevalue("kafka_bootstrap"), topic, False)
    return SourceKit(lambda: opened.enter_context(closing(start())), request.param != "kafka")


@pytest.fixture(
    params=[
        "memory",
        "memory awaiting its start",
        "files",
        "files awaiting their start",
        "followed files awaiting their start",
        "mqtt",
        pytest.param("kafka", marks=pytest.mark.kafka),
    ]
)
def stream_kit(request: pytest.FixtureRequest, opened: ExitStack, tmp_path: Path) -> StreamKit:
    """Kafka as the daemon uses it: an assigned partition awaits its start."""
    awaits_start = request.param not in ("memory", "files")
    if request.param == "kafka":
        topic = request.getfixturevalue("kafka_topic")()
        start = kafka_starts(request.getfixturevalue("kafka_bootstrap"), topic, awaits_start)
    elif request.param == "mqtt":
        start = mqtt_starts(request.getfixturevalue("mosquitto_broker"), awaits_start, opened)
        return StreamKit(start, "mqtt", awaits_start, seeks=False)
    elif "files" in request.param:
        is_followed = request.param.startswith("followed")
        topic, start = "files", file_starts(tmp_path / "files", is_followed, awaits_start, opened)
    else:
        topic, start = "memory", memory_starts(awaits_start)
    return StreamKit(lambda: opened.enter_context(closing(start())), topic, awaits_start)
