"""Avro on a real broker with a real registry: nothing is lost while the registry is away, or after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import streamgauge
from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.records import Message, Raw, RawColumns
from detector.artifact.registry import open_artifact, publish
from detector.config.engine_options import engine_options
from detector.config.load import load_config
from detector.delivery.messages import MessageEncoder, Topics
from detector.engine.engine import Engine
from detector.service.clients import codec_of
from tests.connectors.formats.schema_registry import Apicurio, apicurio, framed
from tests.faults.expected import Output, committed_output
from tests.faults.proxy import Proxy
from tests.support.artifacts import make_artifact
from tests.support.daemon import Daemon, running, wait_for
from tests.support.kafka_broker import free_ports, need_java

START_MS = 1_700_000_000_000
pytestmark = pytest.mark.kafka_changes
NUM, HALF = 80, 40
TIME = {"type": "long", "logicalType": "timestamp-millis"}
OLD = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "machine", "type": "string"},
        {"name": "at", "type": TIME},
        {"name": "flow", "type": "double"},
        {"name": "pressure", "type": ["null", "double"]},
    ],
}
NEW = {**OLD, "fields": [{"name": "firmware", "type": "string"}, *OLD["fields"]]}  # type: ignore[misc]
LETTERS = {(0, row, "unknown_schema") for row in range(3, NUM, 16)}
LETTERS |= {(0, row, "malformed") for row in range(9, NUM, 16)}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apicurio]:
    need_java()
    with apicurio(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    found = Proxy(free_ports(1)[0])
    (found.target,) = free_ports(1)
    yield found
    found.close()


def message(row: int, old: int, new: int) -> bytes:
    flow, pressure = np.random.default_rng(row).standard_normal(2).tolist()
    body = {
        "machine": f"pump-{row % 2}",
        "at": START_MS + row // 2 * 1_000,
        "flow": flow,
        "pressure": pressure,
    }
    if row % 16 == 3:
        return framed(999_999, OLD, body)
    if row % 16 == 9:
        return framed(old, OLD, body)[:-1]
    return framed(old, OLD, body) if row % 3 else framed(new, NEW, {**body, "firmware": "2.1"})


def configuration(entry: Path, bootstrap: str, topic: str, port: int) -> str:
    return f"""
[model]
path = "{entry}"
[kafka]
bootstrap_servers = ["{bootstrap}"]
topic = "{topic}"
group_id = "{topic}"
session_timeout = "6s"
[input]
format = "avro"
series = "$.machine"
time = "$.at"
values = "$"
[schema_registry]
url = "http://127.0.0.1:{port}/apis/ccompat/v7"
[recovery]
max_replay_rows = 30
[output]
prefix = "out-{topic}"
"""


def expected(config: Path, values: Sequence[bytes]) -> Output:
    """What one engine makes of the messages, a few at a time."""
    settings = load_config(config, {})
    artifact = open_artifact(settings.model.path)
    channels = artifact.spec.channel_names
    codec = codec_of(settings, channels)
    engine = Engine(artifact, engine_options(settings, channels))
    encoder = MessageEncoder(Topics.of("out"), artifact.spec.name, artifact.version, channels)
    output = Output()
    for at in range(0, len(values), 7):
        part = enumerate(values[at : at + 7], at)
        decoded = codec.decode_columns(
            RawColumns.of([Raw("", 0, row, -1, b"k", value) for row, value in part])
        )
        result = engine.step(decoded.readings)
        for one in encoder.verdicts(result.verdicts):
            output.add_scores(json.loads(one.value or b""))
        for one in encoder.incidents(result.incidents):
            output.add_alert(json.loads(one.value or b""))
        for reject in decoded.rejects:
            output.letters[(0, reject.offset, reject.reason)] += 1
    return output


def metric(daemon: Daemon, name: str) -> float:
    lines = daemon.get("/metrics")[1].splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"streamgauge_{name} ")), -1.0)


def test_no_message_is_lost_though_the_registry_is_away_and_the_process_is_killed(
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
    registry: Apicurio,
    proxy: Proxy,
    tmp_path: Path,
) -> None:
    topic, entry = kafka_topic(1), tmp_path / "models" / "pump"
    publish(make_artifact(threshold=0.8), entry)
    old, new = registry.register(f"{topic}-value", OLD), registry.register(f"{topic}-new", NEW)
    values = [message(row, old, new) for row in range(NUM)]
    text = configuration(entry, kafka_bootstrap, topic, proxy.port)
    config = tmp_path / "config.toml"
    config.write_text(text)

    def output() -> Output:
        return committed_output(kafka_bootstrap, f"out-{topic}")

    with closing(Producer(Connection((kafka_bootstrap,)))) as producer:
        producer.produce([Message(topic, b"k", value) for value in values[:HALF]])
        with running(text, tmp_path) as daemon:
            wait_for(lambda: metric(daemon, "schema_registry_waiting") == 1, f"it waits; see {daemon.log}")
            wait_for(lambda: metric(daemon, "schema_registry_failures_total") >= 2, "it asks again")
            assert "wait for the schema registry" in daemon.get("/api/status")[1]
            assert (daemon.readings(), output()) == (0, Output())
            proxy.target = registry.port
            wait_for(lambda: metric(daemon, "schema_registry_waiting") == 0, "the registry answers")
            wait_for(lambda: daemon.readings() == HALF - 5, f"the first half; see {daemon.log}")
            daemon.process.kill()
        producer.produce([Message(topic, b"k", value) for value in values[HALF:]])
        wanted = expected(config, values)
        with running(text, tmp_path) as daemon:
            wait_for(lambda: output() == wanted, f"equal; see {daemon.log}")
            assert daemon.terminate() == 0
    assert output() == wanted
    assert set(wanted.letters) == LETTERS


def test_init_proposes_avro_from_the_messages_of_a_topic(
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
    registry: Apicurio,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = kafka_topic(1)
    old, new = registry.register(f"{topic}-value", OLD), registry.register(f"{topic}-new", NEW)
    with closing(Producer(Connection((kafka_bootstrap,)))) as producer:
        producer.produce([Message(topic, b"k", message(row, old, new)) for row in range(NUM)])
    url = f"http://127.0.0.1:{registry.port}/apis/ccompat/v7"
    command = [
        "init",
        topic,
        "--bootstrap",
        kafka_bootstrap,
        "--schema-registry",
        url,
        "--out",
        str(tmp_path),
    ]
    assert streamgauge.main(command) == 0
    shown = capsys.readouterr()
    assert "70 readings, 2 series, 2 channels: flow, pressure" in shown.out
    assert "5 messages: unknown_schema" in shown.err
    assert "pump-0  2023-11-14T22:13:20.000Z" in shown.out
    found = load_config(tmp_path / "streamgauge.toml", {})
    assert (found.input.format, found.input.series, found.input.time) == ("avro", ("$.machine",), "$.at")
    assert (found.input.values, found.schema_registry.url) == ("$", url)
