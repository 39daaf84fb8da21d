"""Recording from a real broker: every reading in exactly one file, after kills, crashes and new topics."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaAdminClient

from connectors.errors import ConnectorError
from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, ConsumerOptions, TopicSpec
from connectors.kafka.source import KafkaSource
from connectors.parquet.dataset import discover
from connectors.parquet.reader import read_chunks
from connectors.parquet.recorded_names import stretch_of
from connectors.partition_numbers import PartitionNumbers
from connectors.recording.directory import RecordingDirectory
from connectors.recording.record import Recording
from connectors.recording.recorder import Recorded, Rolling
from connectors.recording.tidying import Tidying
from connectors.recording.topics import RecordedTopics
from connectors.records import Message, Position
from connectors.wide_json.decoder import JsonWideCodec
from connectors.wide_json.encoder import encode
from tests.connectors.test_transfer import CHANNELS, as_rows, fill, history, record_all, rows_of

ROOT = Path(__file__).parent.parent.parent.parent
WAIT_SECONDS = 60.0
MakeTopic = Callable[..., str]


@contextmanager
def recording_of(
    bootstrap: str, topic: str, out: Path, rolling: Rolling | None = None
) -> Iterator[Recording]:
    with RecordedTopics(out, lambda topic: CHANNELS, PartitionNumbers(topic)) as topics:
        group = topics.meet(topic).group
        topics.learn(topic)
        options = ConsumerOptions(topic, group, f"{group}-1", max_poll_records=10, awaits_start=True)
        with closing(KafkaSource(Connection((bootstrap,)), options, JsonWideCodec(CHANNELS))) as source:
            yield Recording(source, topics, JsonWideCodec, Tidying(), rolling)


def record(recording: Recording) -> Recorded:
    return recording.run(threading.Event(), until_end=True)


class CrashError(Exception):
    """A process that ended here."""


def test_files_are_named_by_partition_and_offsets_and_have_their_rows_in_order(
    kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic(2)
    fill(kafka_bootstrap, [*encode(history(100), CHANNELS, topic), Message(topic, b"pump-a", b"nonsense")])
    assert record_all(kafka_bootstrap, topic, tmp_path) == 0
    found = [one for path in tmp_path.glob("*.parquet") if (one := stretch_of(path))]
    assert {one.topic for one in found} == {topic}
    assert len({one.partition for one in found}) == len(found)
    assert sum(one.next - one.first for one in found) == 101  # the message that is no reading too
    assert rows_of(tmp_path) == as_rows(history(100))


def test_a_crash_between_the_file_and_its_commit_doubles_nothing(
    kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = kafka_topic(2)
    fill(kafka_bootstrap, encode(history(200), CHANNELS, topic))

    def crash(self: KafkaSource, position: Position) -> None:
        raise CrashError

    for _ in range(3):  # each leaves whole files whose offsets are not committed
        with (
            recording_of(kafka_bootstrap, topic, tmp_path, Rolling(max_rows=40, chunk_rows=20)) as recording,
            monkeypatch.context() as patch,
        ):
            patch.setattr(KafkaSource, "commit", crash)
            with pytest.raises(CrashError):
                record(recording)
    assert len(list(tmp_path.glob("*.parquet"))) >= 3
    with recording_of(kafka_bootstrap, topic, tmp_path) as recording:
        record(recording)
    assert rows_of(tmp_path) == as_rows(history(200))
    assert record_all(kafka_bootstrap, topic, tmp_path) == 0  # everything is committed by now
    assert rows_of(tmp_path) == as_rows(history(200))


def test_a_recorder_that_is_killed_again_and_again_loses_and_doubles_nothing(
    kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic, out = kafka_topic(3), tmp_path / "out"
    place = ["--bootstrap-servers", kafka_bootstrap, "--topic", topic, "--out", str(out)]
    command = [sys.executable, "streamgauge.py", "record", *place, "--channels", ",".join(CHANNELS)]
    draw = random.Random(7)
    kills = 3
    for kill in range(kills):
        fill(kafka_bootstrap, encode(history(600, first=600 * kill), CHANNELS, topic))
        before = len(list(out.glob("*.parquet")))
        process = subprocess.Popen([*command, "--file-every", "50ms"], cwd=ROOT, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + WAIT_SECONDS
        while len(list(out.glob("*.parquet"))) < before + draw.randint(1, 3):
            assert time.monotonic() < deadline
            assert process.poll() is None
        process.kill()  # while it writes, renames or commits
        assert process.wait(WAIT_SECONDS) == -signal.SIGKILL
    assert record_all(kafka_bootstrap, topic, out) == 0
    assert rows_of(out) == as_rows(history(600 * kills))
    assert not list(out.glob(".*.part"))


def test_a_topic_that_was_created_again_is_recorded_from_its_beginning(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    topic, connection = f"again-{uuid.uuid4().hex[:8]}", Connection((kafka_bootstrap,))
    for number in range(2):
        ensure_topics(connection, [TopicSpec(topic, 1)])
        fill(kafka_bootstrap, encode(history(50, first=50 * number), CHANNELS, topic))
        assert record_all(kafka_bootstrap, topic, tmp_path) == 0
        with KafkaAdminClient(bootstrap_servers=kafka_bootstrap) as admin:
            admin.delete_topics([topic])
            deadline = time.monotonic() + WAIT_SECONDS
            while topic in admin.list_topics():
                assert time.monotonic() < deadline
    labels = {one.topic for path in tmp_path.glob("*.parquet") if (one := stretch_of(path))}
    assert labels == {topic, f"{topic}~2"}
    assert rows_of(tmp_path) == as_rows(history(100))


def test_a_second_recorder_of_a_topic_into_one_directory_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RecordingDirectory(tmp_path, "t").held():
        with (
            pytest.raises(ConnectorError, match="another process records t into this directory"),
            RecordingDirectory(tmp_path, "t").held(),
        ):
            pass
        with RecordingDirectory(tmp_path, "other").held():
            pass
    with RecordingDirectory(tmp_path, "t").held():
        pass


def test_rows_stay_in_the_order_of_their_offsets(
    kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic(1)
    messages = encode(history(60), CHANNELS, topic)
    order = np.random.default_rng(1).permutation(60).tolist()
    fill(kafka_bootstrap, [messages[at] for at in order])
    assert record_all(kafka_bootstrap, topic, tmp_path) == 0
    found = [chunk.timestamp_ns for chunk in read_chunks(discover(tmp_path, CHANNELS))]
    assert np.concatenate(found).tolist() == history(60).timestamp_ns[order].tolist()
