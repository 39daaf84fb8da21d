"""`streamgauge verify` against a running daemon and a real Apache Kafka."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, TopicPartition

from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, TopicSpec
from connectors.records import Message
from detector.artifact.registry import open_artifact, publish
from streamgauge import main
from tests.support.artifacts import make_artifact
from tests.support.daemon import read_all, running, wait_for
from tests.test_daemon_kafka import rows, send
from tests.test_reload_kafka import committed, configured, logged

MakeTopic = Callable[..., str]
FULL = '[output]\ndetail = "full"\n'


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    publish(make_artifact(threshold=0.8), tmp_path / "models" / "pump")
    return tmp_path / "models" / "pump"


def configuration(entry: Path, bootstrap: str, topic: str) -> str:
    return configured(entry, bootstrap, topic).replace("[output]\n", FULL)


def verified(config: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the receipt of `streamgauge verify --json`."""
    capsys.readouterr()
    code = main(["verify", str(config), "--json", *more])
    return code, json.loads(capsys.readouterr().out)


def run_twice(entry: Path, bootstrap: str, topic: str, directory: Path, window: int) -> Path:
    """A daemon that gets another model while it runs, is killed, and goes on as another process."""
    config = directory / "streamgauge.toml"
    config.write_text(configuration(entry, bootstrap, topic))
    send(bootstrap, rows(topic, 0, 40))
    with running(config.read_text(), directory) as daemon:
        wait_for(lambda: daemon.readings() == 120, f"120 readings; see {daemon.log}")
        publish(make_artifact(threshold=0.9, window=window, seed=5), entry)
        wait_for(lambda: logged(daemon, "model loaded"), f"the new model; see {daemon.log}")
        send(bootstrap, rows(topic, 40, 7))
        wait_for(lambda: daemon.readings() == 141, f"21 more; see {daemon.log}")
        daemon.process.kill()
        daemon.process.wait()
    send(bootstrap, rows(topic, 47, 30))
    with running(config.read_text(), directory) as daemon:
        wait_for(lambda: committed(bootstrap, topic) == 3 * 77, f"the rest; see {daemon.log}")
        assert daemon.terminate() == 0
    return config


@pytest.mark.parametrize(
    "window",
    [
        pytest.param(8, id="the same window"),
        pytest.param(12, id="another window", marks=pytest.mark.kafka_changes),
    ],
)
def test_a_run_with_a_change_of_models_and_a_kill_is_verified_bit_by_bit(
    entry: Path,
    kafka_bootstrap: str,
    kafka_topic: MakeTopic,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    window: int,
) -> None:
    topic, old = kafka_topic(2), open_artifact(entry).version
    config = run_twice(entry, kafka_bootstrap, topic, tmp_path, window)
    new = open_artifact(entry).version
    code, receipt = verified(config, capsys)
    assert (code, receipt["result"]) == (0, "equal"), receipt
    assert receipt["equal"] == receipt["compared"] == 3 * 76
    assert sum(receipt["faults"].values()) == sum(receipt["not_compared"].values()) == 0
    assert {one["version"]: one["rows"] for one in receipt["versions"]} == {old: 3 * 39, new: 3 * 37}
    assert all(len(one["artifact"]) == 64 and one["in_use"] for one in receipt["versions"])
    assert receipt["input"]["partitions"] == receipt["input"]["from_their_first_message"]

    history = tmp_path / "history"
    place = ["--config", str(config), "--out", str(history), "--until-end"]
    assert main(["record", *place]) == 0
    code, recorded = verified(config, capsys, "--recorded", str(history))
    assert (code, recorded["equal"]) == (0, 3 * 76)
    assert recorded["input"]["sha256"] == receipt["input"]["sha256"]
    assert recorded["verdicts"]["sha256"] == receipt["verdicts"]["sha256"]


def without_row(body: dict[str, Any], at: int) -> dict[str, Any]:
    """A message without one of its rows."""

    def cut(value: Any) -> Any:
        if isinstance(value, list):
            return value[:at] + value[at + 1 :]
        return {name: cut(one) for name, one in value.items()} if isinstance(value, dict) else value

    return {name: cut(value) for name, value in body.items()}


def tampered(bodies: list[dict[str, Any]]) -> list[bytes]:
    """Messages with another last bit of a score, a row less, a row more, and one that is no JSON."""
    at = len(bodies[0]["score"]) - 1
    bodies[0]["score"][at] *= 1 + 2**-52
    bodies[0]["timestamp"][3] += 500
    bodies[0] = without_row(bodies[0], 5)
    return [*(json.dumps(body).encode() for body in bodies), b"nonsense"]


def test_what_was_tampered_with_is_found(
    entry: Path,
    kafka_bootstrap: str,
    kafka_topic: MakeTopic,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = kafka_topic(2)
    config = tmp_path / "streamgauge.toml"
    config.write_text(configuration(entry, kafka_bootstrap, topic))
    send(kafka_bootstrap, rows(topic, 0, 40))
    with running(config.read_text(), tmp_path) as daemon:
        wait_for(lambda: committed(kafka_bootstrap, topic) == 120, f"120 readings; see {daemon.log}")
        assert daemon.terminate() == 0
    messages = read_all(kafka_bootstrap, f"out-{topic}.scores")
    names = [f"other-{topic}.scores", f"other-{topic}.alerts"]
    ensure_topics(Connection((kafka_bootstrap,)), [TopicSpec(one, 1) for one in names])
    values = tampered([json.loads(one.value) for one in messages])
    send(kafka_bootstrap, [Message(names[0], b"pump", value) for value in values])
    other = tmp_path / "other.toml"
    other.write_text(config.read_text().replace(f'prefix = "out-{topic}"', f'prefix = "other-{topic}"'))

    code, receipt = verified(other, capsys)
    assert (code, receipt["result"]) == (1, "wrong")
    assert receipt["faults"] == {"differs": 1, "missing": 2, "extra": 1, "twice": 0}
    assert receipt["verdicts"]["damaged"] == 1
    assert receipt["equal"] == 3 * 39 - 3
    (differs,) = [one for one in receipt["examples"] if one["fault"] == "differs"]
    assert differs["published"]["score"] == differs["rescored"]["score"] * (1 + 2**-52)

    send(kafka_bootstrap, [Message(names[0], b"pump", values[1])])
    assert main(["verify", str(other)]) == 1
    said = capsys.readouterr().out
    assert "NOT verified" in said
    assert f"were published twice: {len(json.loads(values[1])['score'])}" in said


@pytest.mark.kafka_changes
def test_a_stretch_and_an_input_that_begins_late_are_compared_as_far_as_they_can_be(
    entry: Path,
    kafka_bootstrap: str,
    kafka_topic: MakeTopic,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = kafka_topic(2)
    config = run_twice(entry, kafka_bootstrap, topic, tmp_path, 8)
    stretch = ("--from", "2023-11-14T22:13:50Z", "--to", "2023-11-14T22:13:59Z")  # rows 30 to 39
    code, receipt = verified(config, capsys, *stretch)
    assert (code, receipt["compared"]) == (0, 30)

    with KafkaAdminClient(bootstrap_servers=kafka_bootstrap) as admin:
        admin.delete_records({TopicPartition(topic, number): 20 for number in range(2)})
    code, receipt = verified(config, capsys)
    assert code == 0, receipt
    assert receipt["input"]["from_their_first_message"] == 0
    assert receipt["not_compared"]["settling"] > 0
    assert receipt["not_compared"]["no input"] > 0
    assert receipt["compared"] > 100

    assert main(["verify", str(config), "--from", "2030-01-01"]) == 2
    assert "nothing could be compared" in capsys.readouterr().out
