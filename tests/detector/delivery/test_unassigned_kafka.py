"""Series that are not of this model, beside its own on one topic of a real Kafka."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.records import Message
from detector.artifact.registry import publish
from tests.support.artifacts import make_artifact
from tests.support.daemon import read_all, running, wait_for
from tests.test_daemon_kafka import configuration, rows, samples, scored, send

OWN = '[model]\nseries = ["pump-*", "conveyor-*"]\nleast_channels = 2'


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """The model of the daemon."""
    publish(make_artifact(threshold=0.8), tmp_path / "models" / "pump")
    return tmp_path / "models" / "pump"


def strangers(topic: str, first: int, num_rows: int) -> list[Message]:
    """Messages of a conveyor with one known channel, a compressor with none, and a fan of another name."""
    values = {
        "conveyor-1": {"flow": 1, "belt": 2},
        "conveyor-2": {"belt": 3},
        "fan-1": {"flow": 1, "pressure": 2},
    }
    return [
        Message(
            topic,
            series.encode(),
            json.dumps(
                {"series": series, "timestamp": 1_700_000_000_000 + 1_000 * at, "values": channels}
            ).encode(),
        )
        for at in range(first, first + num_rows)
        for series, channels in values.items()
    ]


def test_strangers_are_counted_and_named_and_neither_judged_nor_dead_letters(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = kafka_topic(2)
    config = configuration(entry, kafka_bootstrap, topic).replace("[model]", OWN)
    send(kafka_bootstrap, [*strangers(topic, 0, 10), *rows(topic, 0, 20), *strangers(topic, 10, 10)])
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.readings() == 60, f"60 readings of pumps; see {daemon.log}")
        messages = "streamgauge_unassigned_messages_total"
        channels, name = ((("reason", one),) for one in ("channels", "name"))
        wait_for(
            lambda: (samples(daemon)[messages, channels], samples(daemon)[messages, name]) == (40, 20),
            f"all strangers; see {daemon.log}",
        )
        assert samples(daemon)["streamgauge_unassigned_series", channels] == 2
        assert samples(daemon)["streamgauge_unassigned_series", name] == 1
        status = json.loads(daemon.get("/api/status")[1])
        told = [one for one in daemon.events() if one["event"] == "series is unassigned"]
        daemon.process.kill()
    assert {(one["series"], one["messages"]) for one in status["unassigned"]["most"]} == {
        ("conveyor-1", 20),
        ("conveyor-2", 20),
        ("fan-1", 20),
    }
    (problem,) = [one for one in status["overview"]["problems"] if "too few channels" in one]
    assert "conveyor-1 (20 messages)" in problem
    assert "fan-1" not in problem
    assert sorted(one["series"] for one in told) == ["conveyor-1", "conveyor-2", "fan-1"]

    lacking = json.dumps({"series": "pump-1", "timestamp": 1_700_000_020_000, "values": {"flow": 1}}).encode()
    send(kafka_bootstrap, [Message(topic, b"pump-1", lacking), *rows(topic, 21, 5), *strangers(topic, 20, 5)])
    with running(config, tmp_path) as daemon:  # after kill -9 the pumps are known, the others are not
        wait_for(lambda: scored(kafka_bootstrap, topic)["pump-1", 1_700_000_024_000] == 1, "the newest row")
        assert daemon.terminate() == 0
    times = scored(kafka_bootstrap, topic)
    assert {series for series, _ in times} == {"pump-1", "pump-2", "pump-3"}
    assert times["pump-1", 1_700_000_020_000] == 1  # a known series is judged with one channel
    assert set(times.values()) == {1}
    assert read_all(kafka_bootstrap, f"out-{topic}.dead-letters") == []
