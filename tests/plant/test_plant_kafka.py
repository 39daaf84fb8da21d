"""One daemon with two models, against a real Apache Kafka: exactly once, by kinds, reloads, unassigned."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from connectors.errors import KafkaError
from connectors.records import Message, Raw, RawColumns
from connectors.wide_json.decoder import JsonWideCodec
from detector.artifact.registry import open_artifact, propose, publish
from detector.artifact.spec import Artifact
from detector.engine.engine import Engine
from detector.engine.snapshot import decode_state
from streamgauge import main
from tests.plant.kinds import PRESS, PUMP
from tests.support.artifacts import make_artifact
from tests.support.daemon import Daemon, read_all, running, wait_for
from tests.test_daemon_kafka import samples, send

MakeTopic = Callable[..., str]
KINDS = {"pump": PUMP, "press": PRESS}
SECOND_MS = 1_700_000_000_000


def artifact_of(kind: str, seed: int = 0) -> Artifact:
    window = {"pump": 8, "press": 6}[kind]
    made = make_artifact(KINDS[kind], threshold=0.8, window=window, seed=seed)
    return replace(made, spec=replace(made.spec, name=kind))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A registry with a model for each kind."""
    for kind in KINDS:
        publish(artifact_of(kind), tmp_path / "models" / kind)
    return tmp_path / "models"


def entry(models: Path, kind: str, more: str = "") -> str:
    return f'[[models]]\npath = "{models / kind}"\nseries = ["{kind}-*"]\nreload_every = "200ms"\n{more}\n'


def config_of(models: Path, bootstrap: str, topic: str, kinds: tuple[str, ...] = ("pump", "press")) -> str:
    return f"""
{"".join(entry(models, kind) for kind in kinds)}
[kafka]
bootstrap_servers = ["{bootstrap}"]
topic = "{topic}"
group_id = "{topic}"
session_timeout = "6s"
[output]
prefix = "out-{topic}"
[recovery]
max_replay_rows = 200
"""


def rows(topic: str, first: int, num: int) -> list[Message]:
    """Readings of three pumps, three presses and a fan, one a second; a press lacks a channel at times."""
    rng = np.random.default_rng(first)
    found = []
    for second in range(first, first + num):
        for series, channels in [
            *((f"pump-{at}", PUMP) for at in range(3)),
            *((f"press-{at}", PRESS) for at in range(3)),
            ("fan-1", ("speed",)),
        ]:
            values = dict(zip(channels, rng.standard_normal(len(channels)).tolist(), strict=True))
            if series == "press-1" and second % 7 == 0:
                del values["speed"]
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
            key = (body["model"], body["series"], time)
            times[key] += 1
            scores[key] = score
    return times, scores


def expected(messages: list[Message]) -> dict[tuple[str, str, int], float | None]:
    """The scores of an engine for each model alone, without a broker and without a group."""
    found = {}
    for kind, channels in KINDS.items():
        own = [one for one in messages if one.key is not None and one.key.startswith(f"{kind}-".encode())]
        raw = [Raw("t", 0, at, SECOND_MS, one.key, one.value) for at, one in enumerate(own)]
        decoded = JsonWideCodec(channels).decode_columns(RawColumns.of(raw))
        verdicts = Engine(artifact_of(kind)).step(decoded.readings).verdicts
        for code, time, score in zip(
            verdicts.series.tolist(), verdicts.timestamp_ns.tolist(), verdicts.score.tolist(), strict=True
        ):
            key = (kind, verdicts.names[code], time // 1_000_000)
            found[key] = None if np.isnan(score) else score
    return found


def wait_for_row(bootstrap: str, topic: str, newest: int, log: Path, *series: str) -> None:
    """Until these series have this row; the newest one stays open."""
    wanted = series or tuple(f"{kind}-{at}" for kind in KINDS for at in range(3))

    def is_there() -> bool:
        try:
            times, _ = published(bootstrap, topic)
        except KafkaError:
            return False  # the daemon makes its topics at the start
        return all((one.split("-")[0], one, SECOND_MS + 1_000 * newest) in times for one in wanted)

    wait_for(is_there, f"row {newest}; see {log}")


def status(daemon: Daemon) -> dict:
    return json.loads(daemon.get("/api/status")[1])


def test_two_kinds_and_three_members_lose_and_double_nothing(
    models: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic(3)
    config = config_of(models, kafka_bootstrap, topic)
    sent: list[Message] = []

    def send_more(num: int) -> int:
        more = rows(topic, len(sent) // 7, num)
        sent.extend(more)
        send(kafka_bootstrap, more)
        return len(sent) // 7 - 2

    with ExitStack() as stack:
        members = []
        for at in range(3):
            (tmp_path / str(at)).mkdir()
            members.append(stack.enter_context(running(config, tmp_path / str(at))))
        wait_for_row(kafka_bootstrap, topic, send_more(40), members[0].log)
        send_more(30)
        members[0].process.kill()
        wait_for_row(kafka_bootstrap, topic, send_more(30), members[1].log)
        send_more(20)
        members[1].process.kill()
        members[2].process.kill()
    with running(config, tmp_path) as daemon:
        wait_for_row(kafka_bootstrap, topic, send_more(30), daemon.log)
        assert daemon.terminate() == 0
    times, scores = published(kafka_bootstrap, topic)
    assert set(times.values()) == {1}
    assert scores == expected(sent)
    assert read_all(kafka_bootstrap, f"out-{topic}.dead-letters") == []


def test_the_page_and_the_metrics_tell_the_models_apart(
    models: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic(2)
    send(kafka_bootstrap, [*rows(topic, 0, 30), Message(topic, b"x", b"{oops")])
    with running(config_of(models, kafka_bootstrap, topic), tmp_path) as daemon:
        wait_for(lambda: daemon.readings() == 180, f"180 readings; see {daemon.log}")
        found = samples(daemon)
        said = status(daemon)
        assert daemon.terminate() == 0
    assert found["streamgauge_readings_total", ()] == 180
    for kind in KINDS:
        assert found["streamgauge_series", (("model", kind), ("state", "warming"))] == 0
        info = (("family", "conv"), ("name", kind), ("version", open_artifact(models / kind).version))
        assert found["streamgauge_model_info", info] == 1
        assert ("streamgauge_score", (("model", kind), ("series", f"{kind}-1"))) in found
        assert ("streamgauge_threshold", (("model", kind),)) in found
    assert found["streamgauge_unassigned_series", (("reason", "name"),)] == 1
    assert found["streamgauge_unassigned_messages_total", (("reason", "name"),)] == 30
    assert found["streamgauge_rejected_messages_total", (("reason", "not_json"),)] == 1
    assert len([key for key in found if key[0] == "streamgauge_ready"]) == 1
    assert [one["model"] for one in said["models"]] == ["pump", "press"]
    assert [one["judged"]["series"] for one in said["models"]] == [3, 3]
    assert said["overview"]["state"] == "ready"
    assert {one["name"] for one in said["overview"]["figures"]} >= {"Model pump", "Model press"}


def test_the_candidate_of_one_model_judges_beside_it_and_nothing_of_it_is_published(
    models: Path,
    kafka_bootstrap: str,
    kafka_topic: MakeTopic,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = kafka_topic(2)
    current = {kind: open_artifact(models / kind).version for kind in KINDS}
    version = propose(artifact_of("pump", seed=5), models / "pump").version
    propose(artifact_of("press", seed=6), models / "press")
    config = (
        f"""{entry(models, "pump", "shadow = true")}{config_of(models, kafka_bootstrap, topic, ("press",))}"""
    )
    with running(config, tmp_path) as daemon:
        send(kafka_bootstrap, rows(topic, 0, 60))
        wait_for(lambda: daemon.readings() == 360, f"360 readings; see {daemon.log}")
        wait_for(lambda: status(daemon)["models"][0]["shadow"]["rows"] >= 3 * 51, "the candidate's rows")
        found, said = samples(daemon), status(daemon)
        capsys.readouterr()
        assert main(["models", "show", str(models / "pump"), "--daemon", daemon.address]) == 0
        assert main(["models", "show", str(models / "press"), "--daemon", daemon.address]) == 0
        shown = capsys.readouterr().out
        assert daemon.terminate() == 0
    assert f"{version}, candidate" in shown
    assert f"{daemon.address}: in shadow since 2" in shown
    assert f"{version}: agrees on " in shown
    assert f"{current['press']} is not in shadow there" in shown
    assert found["streamgauge_shadow_info", (("model", "pump"), ("version", version))] == 1
    assert found["streamgauge_shadow_rows_total", (("model", "pump"),)] >= 3 * 51
    assert ("streamgauge_shadow_rows_total", (("model", "press"),)) not in found
    assert [one["shadow"]["version"] for one in said["models"]] == [version, None]
    figures = {one["name"]: one["value"] for one in said["overview"]["figures"]}
    assert version in figures["Candidate in shadow of pump"]
    bodies = [json.loads(one.value) for one in read_all(kafka_bootstrap, f"out-{topic}.scores")]
    assert {(one["model"], one["version"]) for one in bodies} == set(current.items())
    times, _ = published(kafka_bootstrap, topic)
    assert set(times.values()) == {1}


@pytest.mark.kafka_changes
def test_another_version_of_one_model_leaves_the_other_as_it_is(
    models: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic(2)
    send(kafka_bootstrap, rows(topic, 0, 30))
    with running(config_of(models, kafka_bootstrap, topic), tmp_path) as daemon:
        wait_for_row(kafka_bootstrap, topic, 28, daemon.log)
        published_now = publish(artifact_of("pump", seed=5), models / "pump").version
        wait_for(lambda: any(one["event"] == "model loaded" for one in daemon.events()), "the other version")
        send(kafka_bootstrap, rows(topic, 30, 20))
        wait_for_row(kafka_bootstrap, topic, 48, daemon.log)
        said = status(daemon)
        assert daemon.terminate() == 0
    times, scores = published(kafka_bootstrap, topic)
    assert set(times.values()) == {1}
    everything = expected([*rows(topic, 0, 30), *rows(topic, 30, 20)])
    assert {key: one for key, one in scores.items() if key[0] == "press"} == {
        key: one for key, one in everything.items() if key[0] == "press"
    }
    versions = {one["model"]: one["version"] for one in said["models"]}
    assert versions == {"pump": published_now, "press": open_artifact(models / "press").version}


@pytest.mark.kafka_changes
def test_a_model_that_is_not_configured_leaves_its_states_and_goes_on_when_it_is_back(
    models: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic(1)

    def state_of(series: str) -> tuple[str, int] | None:
        """The model and the offset of the saved state of a series."""
        newest = None
        for message in read_all(kafka_bootstrap, f"out-{topic}.state"):
            if message.key == series.encode() and message.value:
                newest = decode_state(series, message.value)
        return None if newest is None else (newest[0].model, newest[1])

    send(kafka_bootstrap, rows(topic, 0, 60))
    with running(config_of(models, kafka_bootstrap, topic), tmp_path) as daemon:
        wait_for_row(kafka_bootstrap, topic, 58, daemon.log)
        assert daemon.terminate() == 0
    before = state_of("press-1")
    assert before is not None
    assert before[0] == "press"
    send(kafka_bootstrap, rows(topic, 60, 60))
    with running(config_of(models, kafka_bootstrap, topic, ("pump",)), tmp_path) as daemon:
        wait_for_row(kafka_bootstrap, topic, 118, daemon.log, "pump-0", "pump-1", "pump-2")
        names = {one["series"] for one in status(daemon)["unassigned"]["most"]}
        assert daemon.terminate() == 0
    assert names == {"press-0", "press-1", "press-2", "fan-1"}
    assert state_of("press-1") == before
    send(kafka_bootstrap, rows(topic, 120, 20))
    with running(config_of(models, kafka_bootstrap, topic), tmp_path) as daemon:
        wait_for_row(kafka_bootstrap, topic, 138, daemon.log)
        assert daemon.terminate() == 0
    times, _ = published(kafka_bootstrap, topic)
    assert set(times.values()) == {1}
    assert state_of("press-1") != before


@pytest.mark.kafka_changes
def test_models_come_and_go_by_a_reload_while_the_others_go_on(
    models: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic(2)

    def reload(daemon: Daemon, *kinds: str) -> None:
        before = len([one for one in daemon.events() if one["event"] == "configuration loaded"])
        path = tmp_path / f"streamgauge-{daemon.address.rsplit(':', 1)[1]}.toml"
        http = path.read_text().partition("[http]")[2]
        path.write_text(f"{config_of(models, kafka_bootstrap, topic, kinds)}\n[http]{http}")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(
            lambda: len([one for one in daemon.events() if one["event"] == "configuration loaded"]) > before,
            f"a reload; see {daemon.log}",
        )

    pumps = tuple(f"pump-{at}" for at in range(3))
    presses = tuple(f"press-{at}" for at in range(3))
    with running(config_of(models, kafka_bootstrap, topic, ("pump",)), tmp_path) as daemon:
        send(kafka_bootstrap, rows(topic, 0, 30))
        wait_for_row(kafka_bootstrap, topic, 28, daemon.log, *pumps)
        reload(daemon, "pump", "press")
        send(kafka_bootstrap, rows(topic, 30, 30))
        wait_for_row(kafka_bootstrap, topic, 58, daemon.log)
        reload(daemon, "press")
        send(kafka_bootstrap, rows(topic, 60, 2))
        wait_for_row(kafka_bootstrap, topic, 60, daemon.log, *presses)
        assert [one["model"] for one in status(daemon)["models"]] == ["press"]
        reload(daemon, "pump", "press")
        send(kafka_bootstrap, rows(topic, 62, 10))
        wait_for_row(kafka_bootstrap, topic, 70, daemon.log)
        assert [one["model"] for one in status(daemon)["models"]] == ["pump", "press"]
        daemon.process.kill()
    with running(config_of(models, kafka_bootstrap, topic), tmp_path) as daemon:
        send(kafka_bootstrap, rows(topic, 72, 10))
        wait_for_row(kafka_bootstrap, topic, 80, daemon.log)
        assert daemon.terminate() == 0
    times, scores = published(kafka_bootstrap, topic)
    assert set(times.values()) == {1}
    assert {second for _, series, second in times if series == "press-0"} == {
        SECOND_MS + 1_000 * at for at in range(30, 81)
    }
    sent = [*rows(topic, 0, 30), *rows(topic, 30, 30), *rows(topic, 60, 2), *rows(topic, 62, 10)]
    sent += rows(topic, 72, 10)
    late = expected(sent[30 * 7 :])  # the press came at row 30
    assert {key: one for key, one in scores.items() if key[0] == "press"} == {
        key: one for key, one in late.items() if key[0] == "press"
    }
    back = {key[2]: one for key, one in scores.items() if key[1] == "pump-0"}
    assert back[SECOND_MS + 63_000] is not None  # its window was not lost while it was away
