"""A running daemon is given another model and other settings, against a real Apache Kafka."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition

from detector.artifact.description.manifest import WEIGHTS
from detector.artifact.registry import open_artifact, propose, publish
from detector.journal import read_journal
from streamgauge import main
from tests.support.artifacts import make_artifact
from tests.support.daemon import Daemon, read_all, running, wait_for
from tests.test_daemon_kafka import configuration, rows, samples, send

MakeTopic = Callable[..., str]
SOON = 'reload_every = "200ms"'


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    publish(make_artifact(threshold=0.8), tmp_path / "models" / "pump")
    return tmp_path / "models" / "pump"


def configured(entry: Path, bootstrap: str, topic: str, more: str = "") -> str:
    text = configuration(entry, bootstrap, topic)
    return text.replace("[kafka]", f"{SOON}\n[kafka]") + more


def logged(daemon: Daemon, event: str) -> list[dict]:
    return [json.loads(line) for line in daemon.log.read_text().splitlines() if f'"event": "{event}' in line]


def scores(bootstrap: str, topic: str) -> list[dict]:
    return [json.loads(message.value) for message in read_all(bootstrap, f"out-{topic}.scores")]


def rows_said(bootstrap: str, topic: str) -> Counter:
    found: Counter = Counter()
    for body in scores(bootstrap, topic):
        found.update((body["series"], time) for time in body["timestamp"])
    return found


def committed(bootstrap: str, topic: str) -> int:
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, group_id=topic)) as consumer:
        return sum(consumer.committed(TopicPartition(topic, number)) or 0 for number in range(2))


@pytest.mark.parametrize("window", [8, 12], ids=["the same window", "another window"])
def test_a_new_model_takes_over_between_two_batches_and_survives_a_kill(
    entry: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path, window: int
) -> None:
    topic = kafka_topic(2)
    config = configured(entry, kafka_bootstrap, topic)
    send(kafka_bootstrap, rows(topic, 0, 40))
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.readings() == 120, f"120 readings; see {daemon.log}")
        old = json.loads(daemon.get("/api/status")[1])["version"]
        new = publish(make_artifact(threshold=0.9, window=window, seed=5), entry).version
        wait_for(lambda: logged(daemon, "model loaded"), f"the new model; see {daemon.log}")
        assert json.loads(daemon.get("/api/status")[1])["version"] == new
        found = samples(daemon)
        assert found["streamgauge_reloads_total", (("outcome", "loaded"),)] == 1
        model = (("family", "conv"), ("name", "pump"), ("version", new))
        assert found["streamgauge_model_info", model] == 1
        assert found["streamgauge_readings_total", ()] == 120, "totals go on"
        send(kafka_bootstrap, rows(topic, 40, 3))
        wait_for(lambda: daemon.readings() == 129, f"9 more; see {daemon.log}")
        daemon.process.kill()
        daemon.process.wait()
    send(kafka_bootstrap, rows(topic, 43, 40))
    with running(config, tmp_path) as daemon:
        wait_for(lambda: committed(kafka_bootstrap, topic) == 3 * 83, f"the rest; see {daemon.log}")
        assert daemon.terminate() == 0
    said = rows_said(kafka_bootstrap, topic)
    assert set(said.values()) == {1}
    assert len(said) == 3 * 82
    versions: dict[str, list[tuple[str, str]]] = {}
    for body in scores(kafka_bootstrap, topic):
        versions.setdefault(body["series"], []).extend((body["version"], state) for state in body["state"])
    for series, seen in versions.items():
        cut = [version for version, _ in seen].index(new)
        assert [version for version, _ in seen] == [old] * cut + [new] * (82 - cut), series
        warming = [state for _, state in seen[cut:]].count("warming")
        assert warming == (0 if window == 8 else window - 1), series


def test_a_candidate_is_not_loaded_and_one_rollback_is_one_reload_that_keeps_every_window(
    entry: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic(2)
    first = open_artifact(entry).version
    with running(configured(entry, kafka_bootstrap, topic), tmp_path) as daemon:
        send(kafka_bootstrap, rows(topic, 0, 20))
        wait_for(lambda: daemon.readings() == 60, f"60 readings; see {daemon.log}")
        second = publish(make_artifact(threshold=0.9), entry).version
        candidate = propose(make_artifact(threshold=0.7, window=2), entry).version
        wait_for(lambda: len(logged(daemon, "model loaded")) == 1, f"the second; see {daemon.log}")
        assert logged(daemon, "model loaded")[0]["version"] == second
        assert [one["version"] for one in status(daemon)["candidates"]] == [candidate]
        assert main(["models", "rollback", str(entry), "--why", "too calm"]) == 0
        wait_for(lambda: len(logged(daemon, "model loaded")) == 2, f"the first; see {daemon.log}")
        loaded = logged(daemon, "model loaded")[1]
        assert (loaded["version"], loaded["before"], loaded["windows"]) == (first, second, "kept")
        send(kafka_bootstrap, rows(topic, 20, 5))
        wait_for(lambda: daemon.readings() == 75, f"75 readings; see {daemon.log}")
        assert status(daemon)["series"]["warming"] == 0
        assert daemon.terminate() == 0
    assert [one.action for one in read_journal(entry).events].count("rolled back") == 1
    assert len(logged(daemon, "model loaded")) == 2


def status(daemon: Daemon) -> dict:
    return json.loads(daemon.get("/api/status")[1])


def test_a_bad_model_is_refused_with_the_reason_and_the_old_one_stays(
    entry: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic()
    with running(configured(entry, kafka_bootstrap, topic), tmp_path) as daemon:
        wait_for(lambda: daemon.get("/readyz")[0] == 200, "readiness")
        old = json.loads(daemon.get("/api/status")[1])["version"]
        elsewhere = publish(make_artifact(threshold=0.7, seed=2), tmp_path / "elsewhere")
        damaged = tmp_path / "elsewhere" / elsewhere.version
        content = bytearray((damaged / WEIGHTS).read_bytes())
        content[-1] ^= 1
        (damaged / WEIGHTS).write_bytes(content)
        damaged.rename(entry / elsewhere.version)
        point(entry, elsewhere.version)
        wait_for(lambda: logged(daemon, "model refused"), f"a refusal; see {daemon.log}")
        assert "does not match its hash" in logged(daemon, "model refused")[0]["error"]
        publish(replace_spec(name="valve"), entry)
        wait_for(lambda: len(logged(daemon, "model refused")) == 2, f"the other name; see {daemon.log}")
        assert "restart the daemon" in logged(daemon, "model refused")[1]["error"]
        publish(replace_spec(interval_ns=2 * 10**9), entry)
        wait_for(lambda: len(logged(daemon, "model refused")) == 3, f"the interval; see {daemon.log}")
        point(entry, "../../etc")
        wait_for(lambda: logged(daemon, "cannot look for a new model"), f"the pointer; see {daemon.log}")
        send(kafka_bootstrap, rows(topic, 0, 20))
        wait_for(lambda: daemon.readings() == 60, f"60 readings; see {daemon.log}")
        found = samples(daemon)
        refused = found["streamgauge_reloads_total", (("outcome", "refused"),)]
        assert 3 <= refused < 10, "no hot loop"
        assert json.loads(daemon.get("/api/status")[1])["version"] == old
        good = publish(make_artifact(threshold=0.75), entry).version
        wait_for(lambda: logged(daemon, "model loaded"), f"the good one; see {daemon.log}")
        assert json.loads(daemon.get("/api/status")[1])["version"] == good
        assert daemon.terminate() == 0


def point(entry: Path, version: str) -> None:
    scratch = entry / "next"
    scratch.write_text(version + "\n")
    scratch.replace(entry / "current")


def replace_spec(**more: object):
    artifact = make_artifact()
    return replace(artifact, spec=replace(artifact.spec, **more))


def test_sighup_loads_model_and_settings_at_once_and_names_what_needs_a_restart(
    entry: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic()
    config = configured(entry, kafka_bootstrap, topic).replace(SOON, 'reload_every = "0s"')
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.get("/readyz")[0] == 200, "readiness")
        (path,) = tmp_path.glob("streamgauge-*.toml")
        text = path.read_text()

        def hang_up(content: str, event: str, times: int) -> dict:
            path.write_text(content)
            os.kill(daemon.process.pid, signal.SIGHUP)
            wait_for(lambda: len(logged(daemon, event)) == times, f"{event}; see {daemon.log}")
            return logged(daemon, event)[-1]

        publish(make_artifact(threshold=0.01), entry)
        rules = '\n[incidents]\nfor_rows = 5\nof_rows = 5\n[input]\nmax_future = "2d"\n'
        event = hang_up(text + rules, "configuration loaded", 1)
        assert event["applied"] == "incidents.for_rows,incidents.of_rows"
        assert event["needs_restart"] == "input.max_future"
        wait_for(lambda: logged(daemon, "model loaded"), f"the model; see {daemon.log}")
        event = hang_up(text + "\n[incidents]\nfor_rows = 7\n", "configuration refused", 1)
        assert "for_rows 7 must be at most of_rows 1" in event["error"]
        send(kafka_bootstrap, rows(topic, 0, 30))
        wait_for(lambda: logged(daemon, "incident opened"), f"incidents; see {daemon.log}")
        alerts = [json.loads(one.value) for one in read_all(kafka_bootstrap, f"out-{topic}.alerts")]
        found = samples(daemon)
        assert found["streamgauge_config_reloads_total", (("outcome", "loaded"),)] == 1
        assert found["streamgauge_config_reloads_total", (("outcome", "refused"),)] == 1
        event = hang_up(
            text.replace("[output]", '[output]\nscores = "none"') + rules, "configuration loaded", 2
        )
        assert event["applied"] == "output.scores"
        before = len(scores(kafka_bootstrap, topic))
        send(kafka_bootstrap, rows(topic, 30, 10))
        wait_for(lambda: daemon.readings() == 120, f"120 readings; see {daemon.log}")
        assert daemon.terminate() == 0
    assert len(scores(kafka_bootstrap, topic)) == before
    assert alerts
    for alert in alerts:
        if alert["event"] == "opened":
            assert alert["opened"] >= alert["start"]
