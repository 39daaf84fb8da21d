"""Recording a topic as Parquet and replaying Parquet to a topic, against a real broker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from connectors.kafka.cluster import count_partitions, sample
from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.parquet.dataset import discover
from connectors.parquet.reader import read_chunks
from connectors.parquet.writer import TableWriter
from connectors.records import Message, Readings
from connectors.transfer import due_seconds
from connectors.wide_json.encoder import encode
from streamgauge import main

ROOT = Path(__file__).parent.parent.parent
CHANNELS = ("flow", "heat")
START_NS = 1_767_225_600_000_000_000
WAIT_SECONDS = 60.0
MakeTopic = Callable[..., str]


def history(num_rows: int, first: int = 0) -> Readings:
    """`num_rows` readings a second apart, of two series in turn; each tenth flow is missing."""
    number = np.arange(first, first + num_rows)
    values = np.stack([number.astype(float), number / 8], axis=1)
    values[number % 10 == 9, 0] = np.nan
    zeros = np.zeros(num_rows, np.int32)
    return Readings(
        ("pump-a", "pump-b"),
        (number % 2).astype(np.int32),
        START_NS + number * 1_000_000_000,
        values,
        zeros,
        number.astype(np.int64),
    )


def fill(bootstrap: str, messages: list[Message]) -> None:
    with closing(Producer(Connection((bootstrap,)))) as producer:
        producer.produce(messages)


def rows_of(path: Path) -> list[tuple[int, str, float, float]]:
    """What the files hold, by time; a missing value is -1."""
    return sorted(
        (int(when), chunk.names[code], *np.nan_to_num(values, nan=-1.0).tolist())
        for chunk in read_chunks(discover(path, CHANNELS))
        for when, code, values in zip(chunk.timestamp_ns, chunk.series, chunk.values, strict=True)
    )


def as_rows(readings: Readings) -> list[tuple[int, str, float, float]]:
    return [
        (int(when), readings.names[code], *np.nan_to_num(values, nan=-1.0).tolist())
        for when, code, values in zip(readings.timestamp_ns, readings.series, readings.values, strict=True)
    ]


def record_all(bootstrap: str, topic: str, out: Path, *more: str) -> int:
    where = ["--bootstrap-servers", bootstrap, "--topic", topic]
    return main(["record", *where, "--out", str(out), "--until-end", *more])


def write(path: Path, readings: Readings) -> None:
    with TableWriter(path) as writer:
        series = np.array(readings.names, object)[readings.series]
        columns = {name: readings.values[:, at] for at, name in enumerate(CHANNELS)}
        writer.write({"timestamp": readings.timestamp_ns, "series": series, **columns})


def test_a_topic_is_recorded_to_its_end_and_bad_messages_are_counted(
    kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = kafka_topic(3)
    fill(kafka_bootstrap, [*encode(history(500), CHANNELS, topic), Message(topic, b"k", b"nonsense")])
    assert record_all(kafka_bootstrap, topic, tmp_path / "history") == 0
    assert rows_of(tmp_path / "history") == as_rows(history(500))
    said = capsys.readouterr()
    assert "recorded 500 readings of 2 series in 2 files" in said.out
    assert "channels: flow, heat" in said.err
    assert "left out: 1 not_json" in said.err


def test_a_directory_is_continued_and_another_one_starts_from_the_beginning(
    kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic()
    fill(kafka_bootstrap, encode(history(100), CHANNELS, topic))
    record_all(kafka_bootstrap, topic, tmp_path / "one")
    fill(kafka_bootstrap, encode(history(50, first=100), CHANNELS, topic))
    record_all(kafka_bootstrap, topic, tmp_path / "one")
    record_all(kafka_bootstrap, topic, tmp_path / "two")
    assert len(list((tmp_path / "one").glob("*.parquet"))) == 2
    assert rows_of(tmp_path / "one") == rows_of(tmp_path / "two") == as_rows(history(150))


def test_only_the_channels_asked_for_are_recorded(
    kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = kafka_topic()
    fill(kafka_bootstrap, encode(history(20), CHANNELS, topic))
    assert record_all(kafka_bootstrap, topic, tmp_path, "--channels", "heat") == 0
    assert discover(tmp_path).channels == ("heat",)
    assert "left out: 18 values of other channels" in capsys.readouterr().err


def test_recording_is_stopped_by_ctrl_c_and_loses_nothing(
    kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic()
    fill(kafka_bootstrap, encode(history(100), CHANNELS, topic))
    command = [sys.executable, "streamgauge.py", "record", "--bootstrap-servers", kafka_bootstrap]
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--topic", topic, "--out", str(tmp_path / "out")], cwd=ROOT, stderr=output, text=True
        )
        deadline = time.monotonic() + WAIT_SECONDS
        while "100 readings" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_SECONDS) == 0
    assert rows_of(tmp_path / "out") == as_rows(history(100))


def test_history_is_replayed_and_recorded_again_unchanged(
    kafka_bootstrap: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = f"replayed-{uuid.uuid4().hex}"  # created by the replay
    write(tmp_path / "second.parquet", history(60, first=40))
    write(tmp_path / "first.parquet", history(40))
    where = ["--bootstrap-servers", kafka_bootstrap, "--topic", topic]
    assert main(["replay", str(tmp_path), *where, "--speed", "max"]) == 0
    assert f"sent 100 of 100 rows to {topic}" in capsys.readouterr().out
    assert record_all(kafka_bootstrap, topic, tmp_path / "again") == 0
    assert rows_of(tmp_path / "again") == as_rows(history(100))
    sent = [
        json.loads(one.value or b"")["timestamp"]
        for one in sample(Connection((kafka_bootstrap,)), topic, 100)
    ]
    assert sent == sorted(sent)
    assert count_partitions(Connection((kafka_bootstrap,)), topic) == 1


def test_a_replay_at_a_speed_sends_everything_in_order(kafka_bootstrap: str, tmp_path: Path) -> None:
    topic = f"replayed-{uuid.uuid4().hex}"
    write(tmp_path / "a.parquet", history(30))
    where = ["--bootstrap-servers", kafka_bootstrap, "--topic", topic]
    assert main(["replay", str(tmp_path), *where, "--speed", "100"]) == 0
    sent = [
        json.loads(one.value or b"")["timestamp"]
        for one in sample(Connection((kafka_bootstrap,)), topic, 100)
    ]
    assert sent == [(START_NS // 1_000_000) + 1000 * n for n in range(30)]


def test_readings_are_due_at_their_time_divided_by_the_speed() -> None:
    times = START_NS + np.array([0, 10, 60]) * 1_000_000_000
    assert due_seconds(times, START_NS, 20.0).tolist() == [0, 0.5, 3]
    assert due_seconds(times, START_NS, None).tolist() == [0, 0, 0]


def test_rows_without_any_value_are_not_sent(kafka_bootstrap: str, tmp_path: Path) -> None:
    topic = f"replayed-{uuid.uuid4().hex}"
    readings = history(10)
    readings.values[3] = np.nan
    write(tmp_path / "a.parquet", readings)
    main(
        ["replay", str(tmp_path), "--bootstrap-servers", kafka_bootstrap, "--topic", topic, "--speed", "max"]
    )
    assert len(sample(Connection((kafka_bootstrap,)), topic, 100)) == 9


def test_cluster_topic_and_fields_come_from_the_daemons_configuration(
    kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic()
    body = {"device": "p", "ts": START_NS // 1_000_000, "readings": {"flow": 1.0, "heat": 2.0}}
    fill(kafka_bootstrap, [Message(topic, None, json.dumps(body).encode())])
    config = tmp_path / "streamgauge.toml"
    config.write_text(
        f"""
        [kafka]
        bootstrap_servers = ["{kafka_bootstrap}"]
        topic = "{topic}"
        [input]
        series_field = "device"
        timestamp_field = "ts"
        values_field = "readings"
        """
    )
    assert main(["record", "--config", str(config), "--out", str(tmp_path / "out"), "--until-end"]) == 0
    assert rows_of(tmp_path / "out") == [(START_NS, "p", 1.0, 2.0)]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["record", "--out", "x"], "no cluster given: use --bootstrap-servers, or --config"),
        (["record", "--out", "x", "--bootstrap-servers", "a:1"], "no topic given: use --topic"),
        (["record", "--out", "x", "--config", "nowhere.toml"], "nowhere.toml: No such file"),
        (["replay", "nowhere.parquet", "--bootstrap-servers", "a:1", "--topic", "t"], "no such file"),
        (["replay", "x", "--bootstrap-servers", "a:1", "--topic", "t", "--speed", "fast"], "--speed fast"),
        (["replay", "x", "--bootstrap-servers", "a:1", "--topic", "t", "--speed", "0"], "a number above 0"),
        (["replay", "x", "--bootstrap-servers", "a:1", "--topic", "t", "--speed", "inf"], "--speed inf"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("streamgauge: error: ")
    assert complaint in line


def test_a_configuration_with_a_secret_in_it_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "streamgauge.toml"
    config.write_text('[kafka]\nbootstrap_servers = ["a:1"]\ntopic = "t"\nsasl_password = "hush"\n')
    assert main(["record", "--config", str(config), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "secrets do not belong in this file" in said
    assert "hush" not in said


@pytest.mark.parametrize("setting", ["ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_key_password_file"])
def test_a_file_that_cannot_be_read_is_named_with_its_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    certificate = tmp_path / "certificate.pem"
    certificate.write_text("-----BEGIN CERTIFICATE-----\n")
    more = f'ssl_certfile = "{certificate}"\n' if setting == "ssl_keyfile" else ""
    config = tmp_path / "streamgauge.toml"
    config.write_text(f'[kafka]\ntopic = "t"\n{setting} = "/nowhere"\n{more}')
    assert main(["record", "--config", str(config), "--out", str(tmp_path / "out")]) == 2
    assert f"[kafka] {setting}: /nowhere: No such file or directory" in capsys.readouterr().err
