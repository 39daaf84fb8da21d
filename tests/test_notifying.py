"""The daemon with notifiers, killed, stopped and held up, against a real Apache Kafka."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaConsumer, TopicPartition

from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from detector.notify.notice import parse
from tests.support.artifacts import make_artifact
from tests.support.daemon import Daemon, read_all, running, wait_for
from tests.support.receiver import Got, Receiver, Reply, receiving
from tests.support.strategies import readings_of

CHANNELS = ("flow", "pressure")
NUM_SERIES = 3


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    publish(make_artifact(threshold=0.8), tmp_path / "models" / "pump")
    return tmp_path / "models" / "pump"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def configuration(entry: Path, bootstrap: str, topic: str, url: str, more: str = "") -> str:
    return f"""
[model]
path = "{entry}"
[kafka]
bootstrap_servers = ["{bootstrap}"]
topic = "{topic}"
group_id = "{topic}"
session_timeout = "6s"
[output]
prefix = "out-{topic}"
[[notify]]
name = "hook"
kind = "webhook"
url = "{url}"
{more}
"""


def send(bootstrap: str, topic: str, first: int, num_rows: int) -> None:
    """Readings of three series, one a second: now calm, now wild, so that incidents open and close."""
    series = np.tile(np.arange(NUM_SERIES), num_rows)
    row = first + np.repeat(np.arange(num_rows), NUM_SERIES)
    values = np.random.default_rng(first).standard_normal((len(row), 2))
    values *= np.where(row // 15 % 2 == 0, 0.01, 3.0)[:, None]
    times = 1_700_000_000_000_000_000 + row * 10**9
    producer = Producer(Connection((bootstrap,)))
    producer.produce(encode(readings_of(series, times, values), CHANNELS, topic))
    producer.close()


def in_topic(bootstrap: str, topic: str) -> dict[str, list[str]]:
    """Series -> the keys of its changes in the alerts topic, in order."""
    found = defaultdict(list)
    for message in read_all(bootstrap, f"out-{topic}.alerts"):
        notice = parse(message.value)
        found[notice.series].append(notice.key)
    return dict(found)


def taken(receiver: Receiver) -> dict[str, list[str]]:
    """Series -> the keys that arrived, in order; the second and later arrivals of a key left out."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for got in receiver.taken:
        found[got.json["series"]][got.key] = None
    return {series: list(keys) for series, keys in found.items()}


def all_is_told(bootstrap: str, topic: str, receiver: Receiver) -> Callable[[], bool]:
    """Once the detector has nothing more to say."""
    expected = in_topic(bootstrap, topic)
    assert {key.split("-")[1] for keys in expected.values() for key in keys} >= {"opened", "resolved"}
    return lambda: taken(receiver) == expected


def committed(bootstrap: str, topic: str) -> int:
    """How many readings the detector's group has committed."""
    with KafkaConsumer(bootstrap_servers=[bootstrap], group_id=topic, enable_auto_commit=False) as consumer:
        parts = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic)]
        # A transaction's marker takes an offset of the outputs, not of the input.
        return sum(consumer.committed(part) or 0 for part in parts)


def backlog(daemon: Daemon) -> float:
    code, text = daemon.get("/metrics")
    lines = [line for line in text.splitlines() if line.startswith("streamgauge_notifier_backlog{")]
    return float(lines[0].split()[-1]) if code == 200 and lines else -1


def test_a_kill_between_delivery_and_commit_loses_nothing_and_repeats_the_same_key(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path, receiver: Receiver
) -> None:
    topic = kafka_topic(2)
    config = configuration(entry, kafka_bootstrap, topic, receiver.url)
    send(kafka_bootstrap, topic, 0, 90)
    killed = []
    for at in (3, 8):
        with running(config, tmp_path) as daemon:

            def kill(got: Got, daemon: Daemon = daemon, at: int = at) -> Reply:
                if len(receiver.got) == at:
                    daemon.process.kill()
                    daemon.process.wait()
                    killed.append(got.key)
                return Reply()

            receiver.answer = kill
            wait_for(lambda: daemon.process.poll() is not None, f"the kill; see {daemon.log}")
    receiver.answer = lambda _: Reply()
    with running(config, tmp_path) as daemon:
        wait_for(lambda: committed(kafka_bootstrap, topic) == 90 * NUM_SERIES, f"the end; see {daemon.log}")
        wait_for(all_is_told(kafka_bootstrap, topic, receiver), f"all changes; see {daemon.log}")
        assert daemon.terminate() == 0
    keys = [got.key for got in receiver.taken]
    assert len(killed) == 2
    assert all(keys.count(key) >= 2 for key in killed)


def test_a_receiver_that_hangs_holds_up_neither_readings_nor_the_end(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path, receiver: Receiver
) -> None:
    topic = kafka_topic(2)
    receiver.answer = lambda _: Reply(hang=True)
    config = configuration(entry, kafka_bootstrap, topic, receiver.url, 'timeout = "60s"')
    with running(config, tmp_path) as daemon:
        send(kafka_bootstrap, topic, 0, 60)
        wait_for(lambda: len(receiver.got) == 1, f"a request that hangs; see {daemon.log}")
        send(kafka_bootstrap, topic, 60, 60)
        wait_for(lambda: committed(kafka_bootstrap, topic) == 120 * NUM_SERIES, f"all; see {daemon.log}")
        assert daemon.get("/readyz")[0] == 200
        assert (len(receiver.got), receiver.taken) == (1, [])
        assert backlog(daemon) >= 1
        assert daemon.terminate() == 0
    receiver.over.set()
    receiver.answer = lambda _: Reply()
    with running(config, tmp_path) as daemon:
        wait_for(all_is_told(kafka_bootstrap, topic, receiver), f"all changes; see {daemon.log}")
        wait_for(lambda: backlog(daemon) == 0, f"an empty backlog; see {daemon.log}")
        assert daemon.terminate() == 0


def test_secrets_of_notifiers_are_in_no_log_page_or_metric(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path, receiver: Receiver
) -> None:
    topic = kafka_topic(1)
    (tmp_path / "url").write_text(f"{receiver.url}/hunter2-path?token=hunter2-query\n")
    (tmp_path / "token").write_text("hunter2-token\n")
    receiver.answer = lambda got: Reply(403, json.dumps([got.path, got.headers]).encode())
    config = configuration(entry, kafka_bootstrap, topic, "", "").replace(
        'url = ""', f'url_file = "{tmp_path / "url"}"\nbearer_token_file = "{tmp_path / "token"}"'
    )
    environ = {"STREAMGAUGE_LOG__LEVEL": "debug", "STREAMGAUGE_DEBUG": "1"}
    with running(config, tmp_path, environ) as daemon:
        send(kafka_bootstrap, topic, 0, 30)
        wait_for(lambda: len(receiver.got) >= 3, f"attempts; see {daemon.log}")
        assert receiver.got[0].path == "/hunter2-path?token=hunter2-query"
        assert receiver.got[0].headers["authorization"] == "Bearer hunter2-token"
        pages = [daemon.get(path)[1] for path in ("/metrics", "/", "/api/status")]
        assert daemon.terminate() == 0
    assert any(event["event"] == "notifier failing" for event in daemon.events())
    assert "hunter2" not in daemon.log.read_text() + "".join(pages)
