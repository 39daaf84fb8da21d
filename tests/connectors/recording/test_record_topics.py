"""Recording several topics at once: their own channels, files and ages; kills, and topics that come."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaAdminClient

from connectors.errors import ConnectorError
from connectors.parquet.dataset import discover
from connectors.parquet.reader import read_chunks
from connectors.parquet.recorded_names import Stretch, stretch_of
from connectors.partition_numbers import PartitionNumbers
from connectors.recording.directory import RecordingDirectory, locked
from connectors.recording.recorder import Recorder
from connectors.recording.tidying import Tidying
from connectors.recording.topics import RecordedTopics
from connectors.records import Batch, Message, Readings
from connectors.wide_json.encoder import encode
from streamgauge import main
from tests.connectors.test_transfer import CHANNELS, START_NS, as_rows, fill, history

ROOT = Path(__file__).parent.parent.parent.parent
WAIT_SECONDS = 120.0
MakeTopic = Callable[..., str]
Line = tuple[int, str, float]


def configured(path: Path, bootstrap: str, topic: str) -> Path:
    """A configuration of wide JSON on `topic`, and of lines on all topics that begin with its name."""
    path.write_text(
        f"""
        [kafka]
        bootstrap_servers = ["{bootstrap}"]
        topics = ["{topic}", "{topic}-*"]
        [[inputs]]
        topics = ["{topic}-*"]
        format = "line_protocol"
        [output]
        prefix = "{topic}-out"
        """
    )
    return path


def create(bootstrap: str, topic: str, num_partitions: int = 2) -> str:
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.create_topics({topic: {"num_partitions": num_partitions}})
        admin.wait_for_topics([topic])
    return topic


def lines(topic: str, num: int, first: int = 0) -> list[Message]:
    """Messages of two presses in line protocol; they share a channel with nobody."""
    return [
        Message(topic, b"%d" % (at % 2), f"m,host=press-{at % 2} force={at} {START_NS + at * 10**9}".encode())
        for at in range(first, first + num)
    ]


def as_lines(num: int, first: int = 0) -> list[Line]:
    return [(START_NS + at * 10**9, f"press-{at % 2}", float(at)) for at in range(first, first + num)]


def files_of(out: Path, topic: str) -> list[Path]:
    return sorted(path for path in out.glob("*.parquet") if (one := stretch_of(path)) and one.topic == topic)


def lines_of(out: Path, topic: str) -> list[Line]:
    """What the files of a topic of presses hold, by time."""
    files = files_of(out, topic)
    if not files:
        return []
    dataset = discover(files)
    assert dataset.channels == ("m_force",)
    return sorted(
        (int(when), chunk.names[code], float(values[0]))
        for chunk in read_chunks(dataset)
        for when, code, values in zip(chunk.timestamp_ns, chunk.series, chunk.values, strict=True)
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def has_more(out: Path, num: int) -> bool:
    return len(list(out.glob("*.parquet"))) >= num


def test_a_recorder_of_two_topics_that_is_killed_loses_and_doubles_nothing(
    kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic, out = kafka_topic(2), tmp_path / "out"
    presses = create(kafka_bootstrap, f"{topic}-presses", 3)
    create(kafka_bootstrap, f"{topic}-out.scores")  # the daemon's own topic is never read
    fill(kafka_bootstrap, [Message(f"{topic}-out.scores", b"", b"m,host=x wrong=1 1")])
    config = configured(tmp_path / "streamgauge.toml", kafka_bootstrap, topic)
    command = ["record", "--config", str(config), "--out", str(out)]
    draw, kills = random.Random(3), 2
    for kill in range(kills):
        one, other = (
            encode(history(400, first=400 * kill), CHANNELS, topic),
            lines(presses, 300, 300 * kill),
        )
        fill(kafka_bootstrap, [*one, *other])
        before = len(list(out.glob("*.parquet")))
        more = draw.randint(1, 3)
        process = subprocess.Popen(
            [sys.executable, "streamgauge.py", *command, "--file-every", "50ms"],
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(partial(has_more, out, before + more), process)
        finally:
            process.kill()  # while it writes, renames or commits
            assert process.wait(WAIT_SECONDS) == -signal.SIGKILL
    assert main([*command, "--until-end"]) == 0
    assert len(files_of(out, topic)) + len(files_of(out, presses)) == len(list(out.glob("*.parquet")))
    assert discover(files_of(out, topic)).channels == CHANNELS
    assert rows_of_topic(out, topic) == as_rows(history(400 * kills))
    assert lines_of(out, presses) == as_lines(300 * kills)
    assert not list(out.glob(".*.part"))
    assert main([*command, "--until-end", "--topic", presses]) == 0  # its own group, and the same files
    assert lines_of(out, presses) == as_lines(300 * kills)


def rows_of_topic(out: Path, topic: str) -> list[tuple[int, str, float, float]]:
    return rows_of_files(files_of(out, topic))


def rows_of_files(files: list[Path]) -> list[tuple[int, str, float, float]]:
    return sorted(
        (int(when), chunk.names[code], *np.nan_to_num(values, nan=-1.0).tolist())
        for chunk in read_chunks(discover(files, CHANNELS))
        for when, code, values in zip(chunk.timestamp_ns, chunk.series, chunk.values, strict=True)
    )


@pytest.mark.kafka_changes
def test_topics_that_come_later_and_first_numbers_that_come_late_are_recorded_from_their_beginning(
    kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic, out = kafka_topic(2), tmp_path / "out"
    silent = create(kafka_bootstrap, f"{topic}-silent")
    fill(kafka_bootstrap, encode(history(50), CHANNELS, topic))
    config = configured(tmp_path / "streamgauge.toml", kafka_bootstrap, topic)
    command = [sys.executable, "streamgauge.py", "record", "--config", str(config), "--out", str(out)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--file-every", "100ms"], cwd=ROOT, stderr=log)
    try:
        wait_for(lambda: bool(files_of(out, topic)), process)
        fill(kafka_bootstrap, lines(silent, 20))
        wait_for(lambda: len(lines_of(out, silent)) == 20, process)
        later = create(kafka_bootstrap, f"{topic}-later")
        fill(kafka_bootstrap, [*lines(later, 30), *encode(history(50, first=50), CHANNELS, topic)])
        wait_for(lambda: len(lines_of(out, later)) == 30, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
    assert lines_of(out, silent) == as_lines(20)
    assert lines_of(out, later) == as_lines(30)
    assert rows_of_topic(out, topic) == as_rows(history(100))
    told = f"topic {silent} is not recorded so far: it has no message with numbers yet"
    assert told in (tmp_path / "log").read_text()


def test_no_topic_at_all_is_an_error_that_names_what_was_looked_for(
    kafka_bootstrap: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(tmp_path / "streamgauge.toml", kafka_bootstrap, "nowhere")
    assert main(["record", "--config", str(config), "--out", str(tmp_path / "out"), "--until-end"]) == 2
    assert "there is no topic nowhere, nowhere-* to record" in capsys.readouterr().err


def both(path: Path) -> tuple[RecordedTopics, Recorder]:
    """Topics `a` and `ab` with other channels each; the columns of readings are those of both."""
    topics = RecordedTopics(path, {"a": ("flow",), "ab": ("heat", "flow")}.__getitem__, PartitionNumbers())
    assert topics.learn_more(["a", "ab"])
    assert topics.channels == ("flow", "heat")
    return topics, Recorder(topics.known, numbers=topics.numbers)


def batch(first: int, num: int) -> Batch:
    """Rows of both topics in turn, from offsets `first` on."""
    number = np.arange(2 * first, 2 * (first + num))
    readings = history(len(number), first=2 * first)
    parts = Readings(
        readings.names,
        readings.series,
        readings.timestamp_ns,
        np.stack([number * 1.0, number * 2.0], axis=1),
        (number % 2).astype(np.int32),
        number // 2,
    )
    return Batch(parts, position={("a", 0): first + num, ("ab", 0): first + num})


def test_files_of_each_topic_are_merged_and_deleted_by_age(tmp_path: Path) -> None:
    topics, recorder = both(tmp_path)
    recorder.begin({topics.numbers.number(name, 0): 0 for name in ("a", "ab")})
    for at in range(8):
        recorder.add(batch(10 * at, 10))
        assert recorder.close_files() == {("a", 0): 10 * at + 10, ("ab", 0): 10 * at + 10}
    few = Tidying(most_small=4, at_least=3, full_rows=10_000)
    for name, channels in (("a", ("flow",)), ("ab", ("heat", "flow"))):
        directory = topics.directories[name]
        assert len(directory.files()) == 8
        few.tidy(directory)
        assert len(directory.files()) < 8
        assert directory.ends() == {0: 80}
        found = discover(list(directory.files().values()))
        assert (found.channels, found.num_rows) == (channels, 80)
    for path in topics.directories["a"].files().values():
        os.utime(path, (1.0, 1.0))
    for directory in topics.directories.values():
        Tidying(keep_seconds=3_600).tidy(directory)
    assert [one.topic for one in topics.directories["a"].files()] == ["a"]  # the newest says where to go on
    assert sum(one.next - one.first for one in topics.directories["ab"].files()) == 80


def test_a_recorder_leaves_unfinished_files_of_other_topics_alone(tmp_path: Path) -> None:
    mine, other = tmp_path / ".a~2-0.parquet.part", tmp_path / ".ab-0.parquet.part"
    mine.touch()
    other.touch()
    with RecordingDirectory(tmp_path, "a").held():
        assert (mine.exists(), other.exists()) == (False, True)


def test_a_topic_that_another_process_records_is_refused(tmp_path: Path) -> None:
    with (
        RecordingDirectory(tmp_path, "a").held(),
        RecordedTopics(tmp_path, lambda topic: CHANNELS, PartitionNumbers()) as topics,
        pytest.raises(ConnectorError, match="another process records a into this directory"),
    ):
        topics.learn("a")
    with locked(tmp_path, "~topics", "several topics"):
        pass


def test_messages_of_a_topic_without_known_channels_are_not_committed(tmp_path: Path) -> None:
    _, recorder = both(tmp_path)
    found = batch(0, 5)
    more = Batch(found.readings, position={**(found.position or {}), ("later", 0): 7})
    recorder.add(more)
    assert set(recorder.close_files()) == {("a", 0), ("ab", 0)}
    stretches = [stretch_of(path) for path in sorted(tmp_path.glob("*.parquet"))]
    assert stretches == [Stretch("a", 0, 0, 5), Stretch("ab", 0, 0, 5)]


def test_a_reading_with_channels_of_another_topic_alone_is_no_reading_of_this_one(tmp_path: Path) -> None:
    topics, recorder = both(tmp_path)
    values = np.array([[1.0, np.nan], [np.nan, 2.0], [np.nan, np.nan]])
    zeros = np.zeros(3, np.int32)
    readings = Readings(("s",), zeros, START_NS + np.arange(3), values, zeros, np.arange(3))
    topics.numbers.number("a", 0)
    recorder.add(Batch(readings, position={("a", 0): 3}))
    recorder.close_files()
    (chunk,) = read_chunks(discover(tmp_path))
    assert json.dumps(np.nan_to_num(chunk.values, nan=-1.0).tolist()) == "[[1.0], [-1.0]]"
