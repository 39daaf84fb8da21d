"""`streamgauge verify` over a daemon with two models and two topics in two forms, on a real Apache Kafka."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import KafkaAdminClient

from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, TopicSpec
from connectors.parquet.recorded_names import stretch_of
from connectors.records import Message
from detector.artifact.registry import open_artifact, publish
from streamgauge import main
from tests.plant.kinds import PRESS, PUMP
from tests.plant.test_plant_kafka import KINDS, SECOND_MS, artifact_of
from tests.support.daemon import Daemon, read_all, running, wait_for
from tests.test_daemon_kafka import send
from tests.test_reload_kafka import logged

MakeTopic = Callable[..., str]
PUMPS, PRESSES = (tuple(f"{kind}-{at}" for at in range(3)) for kind in KINDS)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A registry with a model for each kind."""
    for kind in KINDS:
        publish(artifact_of(kind), tmp_path / "models" / kind)
    return tmp_path / "models"


@pytest.fixture
def topics(kafka_bootstrap: str, kafka_topic: MakeTopic) -> tuple[str, str]:
    """A topic of pumps in wide JSON, and one of presses in line protocol that a pattern matches."""
    first = kafka_topic(2)
    with KafkaAdminClient(bootstrap_servers=kafka_bootstrap) as admin:
        admin.create_topics({f"{first}-lines": {"num_partitions": 3}})
        admin.wait_for_topics([f"{first}-lines"])
    return first, f"{first}-lines"


def configuration(models: Path, bootstrap: str, topics: tuple[str, str], prefix: str = "out") -> str:
    topic = topics[0]
    return f"""
[[models]]
path = "{models / "pump"}"
series = ["pump-*"]
topics = ["{topic}"]
reload_every = "200ms"
[[models]]
path = "{models / "press"}"
name = "presses"
series = ["press-*"]
reload_every = "200ms"
[models.incidents]
for_rows = 2
of_rows = 3
[kafka]
bootstrap_servers = ["{bootstrap}"]
topics = ["{topic}", "{topic}-*"]
group_id = "{topic}"
session_timeout = "6s"
[[inputs]]
topics = ["{topic}-*"]
format = "line_protocol"
rename = {{ m_force = "force", m_pressure = "pressure", m_speed = "speed" }}
[output]
prefix = "{prefix}-{topic}"
detail = "full"
[recovery]
max_replay_rows = 60
"""


def rows(topics: tuple[str, str], first: int, num: int) -> list[Message]:
    """A row a second of three pumps, three presses and a fan; a pump at times has a channel of presses."""
    draw = np.random.default_rng(first)
    found = []
    for second in range(first, first + num):
        time_ms = SECOND_MS + 1_000 * second
        for name in (*PUMPS, "fan-1"):
            values = dict(zip(PUMP, draw.standard_normal(len(PUMP)).tolist(), strict=True))
            if name == "pump-1" and second % 7 == 0:
                values = {"flow": values["flow"], "force": 1.0}
            if name == "fan-1":
                values = {"speed": 1.0}
            body = {"series": name, "timestamp": time_ms, "values": values}
            found.append(Message(topics[0], name.encode(), json.dumps(body).encode()))
        for name in PRESSES:
            values = zip(PRESS, draw.standard_normal(len(PRESS)).tolist(), strict=True)
            fields = ",".join(f"{channel}={value}" for channel, value in values)
            line = f"m,host={name} {fields} {time_ms * 1_000_000}"
            found.append(Message(topics[1], name.encode(), line.encode()))
    return found


def published(bootstrap: str, topic: str) -> Counter[tuple[str, int]]:
    """(series, second) -> how often the topic of scores has it."""
    return Counter(
        (body["series"], (time - SECOND_MS) // 1_000)
        for message in read_all(bootstrap, f"out-{topic}.scores")
        for body in [json.loads(message.value)]
        for time in body["timestamp"]
    )


def wait_for_row(bootstrap: str, topics: tuple[str, str], newest: int, daemon: Daemon) -> None:
    """Until all six machines have this row; the one after it stays open."""
    wait_for(lambda: daemon.get("/readyz")[0] == 200, f"readiness; see {daemon.log}")
    wanted = {(name, newest) for name in (*PUMPS, *PRESSES)}
    wait_for(lambda: wanted <= published(bootstrap, topics[0]).keys(), f"row {newest}; see {daemon.log}")


def verified(config: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the receipt of `streamgauge verify --json`."""
    capsys.readouterr()
    code = main(["verify", str(config), "--json", *more])
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else {"error": said.err}


@pytest.mark.kafka_changes
def test_two_models_over_two_topics_are_verified_through_a_new_version_and_a_kill(
    models: Path,
    topics: tuple[str, str],
    kafka_bootstrap: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "streamgauge.toml"
    config.write_text(configuration(models, kafka_bootstrap, topics))
    old = {kind: open_artifact(models / kind).version for kind in KINDS}
    send(kafka_bootstrap, rows(topics, 0, 30))
    with running(config.read_text(), tmp_path) as daemon:
        wait_for_row(kafka_bootstrap, topics, 28, daemon)
        new = publish(artifact_of("press", seed=5), models / "press").version
        wait_for(lambda: logged(daemon, "model loaded"), f"the new model; see {daemon.log}")
        send(kafka_bootstrap, rows(topics, 30, 10))
        wait_for_row(kafka_bootstrap, topics, 38, daemon)
        daemon.process.kill()
    send(kafka_bootstrap, rows(topics, 40, 30))
    with running(config.read_text(), tmp_path) as daemon:
        wait_for_row(kafka_bootstrap, topics, 68, daemon)
        assert daemon.terminate() == 0

    code, receipt = verified(config, capsys)
    assert (code, receipt["result"]) == (0, "equal"), receipt
    assert receipt["equal"] == receipt["compared"] == 6 * 69
    assert sum(receipt["faults"].values()) == sum(receipt["not_compared"].values()) == 0
    assert receipt["input"]["source"] == f"topics {topics[0]}, {topics[0]}-*"
    found = {(one["model"], one["version"]): one["rows"] for one in receipt["versions"]}
    assert found == {
        ("pump", old["pump"]): 3 * 69,
        ("presses", old["press"]): 3 * 29,
        ("presses", new): 3 * 40,
    }
    assert {one["entry"] for one in receipt["versions"]} == {str(models / kind) for kind in KINDS}
    assert all(len(one["artifact"]) == 64 and one["in_use"] for one in receipt["versions"])

    history = tmp_path / "history"
    assert main(["record", "--config", str(config), "--out", str(history), "--until-end"]) == 0
    assert {one.topic for path in history.glob("*.parquet") if (one := stretch_of(path))} == set(topics)
    code, recorded = verified(config, capsys, "--recorded", str(history))
    assert (code, recorded["equal"]) == (0, 6 * 69), recorded
    assert recorded["input"]["sha256"] == receipt["input"]["sha256"]
    assert recorded["verdicts"]["sha256"] == receipt["verdicts"]["sha256"]


def tampered(bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages, with another last bit in the newest score of a press that has one."""
    body = next(one for one in reversed(bodies) if one["series"] == "press-1" and one["score"][-1])
    body["score"][-1] *= 1 + 2**-52
    return bodies


def first_row(body: Any) -> Any:
    """A message with the first of its rows alone."""
    if isinstance(body, list):
        return body[:1]
    return {key: first_row(one) for key, one in body.items()} if isinstance(body, dict) else body


def test_a_changed_verdict_and_a_model_that_is_not_configured_are_found(
    models: Path,
    topics: tuple[str, str],
    kafka_bootstrap: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    send(kafka_bootstrap, rows(topics, 0, 30))
    with running(configuration(models, kafka_bootstrap, topics), tmp_path) as daemon:
        wait_for_row(kafka_bootstrap, topics, 28, daemon)
        assert daemon.terminate() == 0
    bodies = [json.loads(one.value) for one in read_all(kafka_bootstrap, f"out-{topics[0]}.scores")]
    names = [f"other-{topics[0]}.scores", f"other-{topics[0]}.alerts"]
    ensure_topics(Connection((kafka_bootstrap,)), [TopicSpec(one, 1) for one in names])
    send(kafka_bootstrap, [Message(names[0], b"", json.dumps(one).encode()) for one in tampered(bodies)])
    config = tmp_path / "other.toml"
    config.write_text(configuration(models, kafka_bootstrap, topics, "other"))
    code, receipt = verified(config, capsys)
    assert (code, receipt["faults"]) == (1, {"differs": 1, "missing": 0, "extra": 0, "twice": 0}), receipt
    assert receipt["equal"] == 6 * 29 - 1
    (example,) = receipt["examples"]
    assert (example["series"], example["published"]["model"]) == ("press-1", "presses")
    assert example["published"]["score"] == example["rescored"]["score"] * (1 + 2**-52)

    stranger = dict(first_row(bodies[0]), model="gone", series="pump-0")
    send(kafka_bootstrap, [Message(names[0], b"", json.dumps(stranger).encode())])
    code, refused = verified(config, capsys)
    assert code == 2
    assert "model gone judged rows from" in refused["error"]
    assert "use the configuration of that time" in refused["error"]
    code, receipt = verified(config, capsys, "--from", "2023-11-14T22:13:45Z")  # row 25, after its row
    assert (code, receipt["faults"]["differs"]) == (1, 1)
    assert receipt["not_compared"]["other model"] == 4
    assert receipt["compared"] == 5 * 4
