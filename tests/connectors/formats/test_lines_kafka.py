"""Line protocol through a real broker: after a kill, outputs are those of one engine, once each."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from connectors.formats.contract import FormCodec
from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.records import Message, Raw, RawColumns
from detector.artifact.registry import open_artifact, publish
from detector.config.engine_options import engine_options
from detector.config.input.section import input_codec
from detector.config.load import load_config
from detector.delivery.messages import MessageEncoder, Topics
from detector.engine.engine import Engine
from tests.faults.expected import Output, committed_output
from tests.support.artifacts import make_artifact
from tests.support.daemon import running, wait_for

START_NS = 1_700_000_000_000_000_000
NUM, HALF = 80, 40


def batch_of_lines(row: int) -> bytes:
    """A message as Telegraf sends it: two hosts, a line for each channel, and now and then a fault."""
    flow, heat = np.random.default_rng(row).standard_normal((2, 2)).tolist()
    stamp = START_NS + row * 10**9
    lines = [f"m,host=pump-{at} flow={flow[at]!r} {stamp}" for at in range(2)]
    lines += [f'm,host=pump-{at} pressure={heat[at]!r},note="fine" {stamp}' for at in range(2)]
    return "\n".join([*lines, "m,host=pump-0 flow= 1"] if row % 16 == 3 else lines).encode()


def configuration(entry: Path, bootstrap: str, topic: str) -> str:
    return f"""
[model]
path = "{entry}"
[kafka]
bootstrap_servers = ["{bootstrap}"]
topic = "{topic}"
group_id = "{topic}"
session_timeout = "6s"
[input]
format = "line_protocol"
rename = {{ m_flow = "flow", m_pressure = "pressure" }}
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
    codec = input_codec(channels, settings.input)
    assert isinstance(codec, FormCodec)
    engine = Engine(artifact, engine_options(settings, channels))
    encoder = MessageEncoder(Topics.of("out"), artifact.spec.name, artifact.version, channels)
    output = Output()
    for at in range(0, len(values), 7):
        part = enumerate(values[at : at + 7], at)
        decoded = codec.decode_columns(
            RawColumns.of([Raw("", 0, offset, -1, b"k", value) for offset, value in part])
        )
        result = engine.step(decoded.readings)
        for message in encoder.verdicts(result.verdicts):
            output.add_scores(_body(message))
        for message in encoder.incidents(result.incidents):
            output.add_alert(_body(message))
        for reject in decoded.rejects:
            output.letters[(0, reject.offset, reject.reason)] += 1
    return output


def _body(message: Message) -> dict:  # type: ignore[type-arg]
    return dict(json.loads(message.value or b""))


def test_lines_are_delivered_exactly_once_though_the_process_is_killed(
    kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic, entry = kafka_topic(1), tmp_path / "models" / "pump"
    publish(make_artifact(threshold=0.8), entry)
    values = [batch_of_lines(row) for row in range(NUM)]
    text = configuration(entry, kafka_bootstrap, topic)
    config = tmp_path / "config.toml"
    config.write_text(text)
    with closing(Producer(Connection((kafka_bootstrap,)))) as producer:
        producer.produce([Message(topic, b"k", value) for value in values[:HALF]])
        with running(text, tmp_path) as daemon:
            wait_for(lambda: daemon.readings() == 4 * HALF, f"the first half; see {daemon.log}")
            daemon.process.kill()
        producer.produce([Message(topic, b"k", value) for value in values[HALF:]])
        wanted = expected(config, values)
        with running(text, tmp_path) as daemon:
            wait_for(lambda: len(committed_output(kafka_bootstrap, f"out-{topic}").letters) == 5, "the end")
            wait_for(
                lambda: committed_output(kafka_bootstrap, f"out-{topic}") == wanted,
                f"equal; see {daemon.log}",
            )
            assert daemon.terminate() == 0
    assert committed_output(kafka_bootstrap, f"out-{topic}") == wanted
    assert set(wanted.letters) == {(0, row, "malformed") for row in range(3, NUM, 16)}
