"""A daemon without any model, against a real Apache Kafka: verdicts from the first rows, and exactly once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from connectors.errors import KafkaError
from connectors.records import Message, Raw, RawColumns
from connectors.wide_json.decoder import JsonWideCodec
from detector.artifact.fallback.statistical import name_of, statistical_model
from detector.engine.engine import Engine, EngineOptions
from detector.scoring.cold.learnt_scales import ColdOptions
from tests.support.daemon import Daemon, read_all, running, wait_for
from tests.test_daemon_kafka import samples, send

MakeTopic = Callable[..., str]
KINDS = {"fan": ("noise", "speed"), "saw": ("teeth",)}
SERIES = {"fan-1": KINDS["fan"], "fan-2": KINDS["fan"], "saw-1": KINDS["saw"]}
SECOND_MS, WARMUP = 1_700_000_000_000, 64
NUM_ROWS, FAULT = 240, 220


def config_of(bootstrap: str, topic: str) -> str:
    return f"""
[fallback]
enabled = true
warmup_rows = {WARMUP}
ready_rows = 300
[kafka]
bootstrap_servers = ["{bootstrap}"]
topic = "{topic}"
group_id = "{topic}"
session_timeout = "6s"
[output]
prefix = "out-{topic}"
[recovery]
max_replay_rows = 100
"""


def rows(topic: str, first: int, num: int) -> list[Message]:
    """Readings of two kinds, one a second; one fan is far too loud from `FAULT` on."""
    found = []
    for second in range(first, first + num):
        rng = np.random.default_rng(second)
        for series, channels in SERIES.items():
            values: dict[str, object] = {name: float(rng.normal(100, 3)) for name in channels}
            if series == "fan-2" and second >= FAULT:
                values["noise"] = 300.0
            values["mood"] = "good"
            body = {"series": series, "timestamp": SECOND_MS + 1_000 * second, "values": values}
            found.append(Message(topic, series.encode(), json.dumps(body).encode()))
    return found


def published(bootstrap: str, topic: str) -> tuple[Counter, dict[tuple[str, str, int], float | None]]:
    """How often each row was published, and its score; by model, series and time."""
    times: Counter = Counter()
    scores: dict[tuple[str, str, int], float | None] = {}
    for message in read_all(bootstrap, f"out-{topic}.scores"):
        body = json.loads(message.value)
        for time, score in zip(body["timestamp"], body["score"], strict=True):
            times[body["model"], body["series"], time] += 1
            scores[body["model"], body["series"], time] = score
    return times, scores


def expected(messages: list[Message]) -> dict[tuple[str, str, int], float | None]:
    """The scores of an engine for each kind alone, without a broker, a group or a restart."""
    found = {}
    options = EngineOptions(cold=ColdOptions(enabled=True, warmup_rows=WARMUP))
    for kind, channels in KINDS.items():
        own = [one for one in messages if one.key is not None and one.key.startswith(f"{kind}-".encode())]
        raw = [Raw("t", 0, at, SECOND_MS, one.key, one.value) for at, one in enumerate(own)]
        readings = JsonWideCodec(channels).decode_columns(RawColumns.of(raw)).readings
        verdicts = Engine(statistical_model(channels, 10**9, WARMUP), options).step(readings).verdicts
        for code, time, score in zip(
            verdicts.series.tolist(), verdicts.timestamp_ns.tolist(), verdicts.score.tolist(), strict=True
        ):
            found[name_of(channels), verdicts.names[code], time // 1_000_000] = (
                None if np.isnan(score) else score
            )
    return found


def wait_for_row(bootstrap: str, topic: str, newest: int, daemon: Daemon) -> None:
    """Until all series have this row; the newest one stays open."""

    def is_there() -> bool:
        try:
            times, _ = published(bootstrap, topic)
        except KafkaError:
            return False  # the daemon makes its topics at the start
        wanted = SECOND_MS + 1_000 * newest
        return all((name_of(channels), name, wanted) in times for name, channels in SERIES.items())

    wait_for(is_there, f"row {newest}; see {daemon.log}")


@pytest.mark.kafka_changes
def test_a_daemon_without_a_model_judges_new_kinds_and_survives_kill_9(
    kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic(2)
    config, sent = config_of(kafka_bootstrap, topic), rows(topic, 0, NUM_ROWS)
    begun = 0
    for until in (40, 150):  # before the first verdicts, and after
        with running(config, tmp_path) as daemon:
            send(kafka_bootstrap, sent[begun * 3 : until * 3])
            begun = until
            wait_for_row(kafka_bootstrap, topic, until - 2, daemon)
            daemon.process.kill()
    with running(config, tmp_path) as daemon:
        send(kafka_bootstrap, sent[begun * 3 :])
        wait_for_row(kafka_bootstrap, topic, NUM_ROWS - 2, daemon)
        wait_for(lambda: said_of(daemon)["kinds"], "the kinds on the page")
        wait_for(lambda: any(one["is_ready"] for one in said_of(daemon)["kinds"]), "a kind that is ready")
        found, said = samples(daemon), json.loads(daemon.get("/api/status")[1])
        logged = [one for one in daemon.events() if one["event"] == "kind is ready to be trained"]
        assert daemon.terminate() == 0
    times, scores = published(kafka_bootstrap, topic)
    assert set(times.values()) == {1}
    assert scores == expected(sent)
    assert min(time for (_, _, time), score in scores.items() if score is not None) <= (
        SECOND_MS + 1_000 * (WARMUP + 95)
    )
    alerts = [json.loads(one.value) for one in read_all(kafka_bootstrap, f"out-{topic}.alerts")]
    opened = [one for one in alerts if one["event"] == "opened"]
    assert [(one["series"], one["model"], one["severity"]) for one in opened] == [
        ("fan-2", name_of(KINDS["fan"]), "warning")
    ]
    assert opened[0]["channels"][0]["name"] == "noise"
    assert read_all(kafka_bootstrap, f"out-{topic}.dead-letters") == []
    fans = next(one for one in said["fallback"]["kinds"] if one["series"] == 2)
    assert (fans["channels"], fans["is_ready"]) == (["noise", "speed"], True)
    assert f"--topic {topic}" in said["fallback"]["command"]
    assert said["fallback"]["command"].endswith("streamgauge train history --group-by auto --out models")
    assert [one["model"] for one in logged] == [name_of(KINDS["fan"])]
    assert found["streamgauge_fallback_series", ()] == 3
    assert found["streamgauge_fallback_kinds_ready", ()] == 1
    lines = {one["name"]: one["value"] for one in said["overview"]["figures"]}
    assert lines["Series judged without a model"] == "3 of 2 kinds"
    assert "streamgauge record" in lines["Ready to be trained"]


def said_of(daemon: Daemon) -> dict:
    return json.loads(daemon.get("/api/status")[1])["fallback"]
