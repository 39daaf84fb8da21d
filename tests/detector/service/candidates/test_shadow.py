"""A candidate judges beside the current version: what is counted, and that it harms nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from connectors.records import Batch, Readings
from detector.artifact.registry import open_artifact, propose, publish
from detector.artifact.spec import Artifact
from detector.config.models.budget import with_budget
from detector.config.models.section import ModelsSection
from detector.engine.engine import Engine
from detector.engine.loop import Turn
from detector.lifecycle.moves import promote, remove
from detector.scoring.verdicts import State
from detector.service.candidates.shadow import Shadow
from tests.support.artifacts import make_artifact
from tests.support.daemon import Daemon, read_all, running, wait_for
from tests.test_daemon_kafka import rows, samples, send
from tests.test_reload_kafka import configured, rows_said

SOON = 0.01
START_NS = 1_700_000_000_000_000_000


def turns(engine: Engine, num_rows: int, per_batch: int = 10, first: int = 0) -> Iterator[Turn]:
    """Turns of an engine over rows of two series, a second apart."""
    rng = np.random.default_rng(3)
    width = len(engine.artifact.spec.channels)
    for start in range(first, first + num_rows, per_batch):
        at = np.repeat(np.arange(start, start + per_batch), 2)
        readings = Readings(
            ("pump-1", "pump-2"),
            np.tile(np.arange(2, dtype=np.int32), per_batch),
            START_NS + at * 10**9,
            rng.standard_normal((2 * per_batch, width)) * np.where(at % 17 == 0, 9, 1)[:, None],
            np.zeros(2 * per_batch, np.int32),
            2 * at.astype(np.int64),
        )
        yield Turn(Batch(readings), engine.step(readings), 0, 0, 0, 0)


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    publish(make_artifact(threshold=0.8), tmp_path / "models" / "pump")
    return tmp_path / "models" / "pump"


def fed(shadow: Shadow, engine: Engine, num_rows: int, first: int = 0) -> list[Turn]:
    """Feed a shadow, and wait until it has taken in all of it."""
    found = []
    for turn in turns(engine, num_rows, first=first):
        shadow.on_turn(turn, engine)
        found.append(turn)
    wait_for(lambda: shadow._batches.unfinished_tasks == 0, "the shadow")
    return found


def verdicts_of(artifact: Artifact, num_rows: int) -> dict[tuple[str, int], bool]:
    """(series, time) -> whether a row with a score is anomalous."""
    engine = Engine(artifact)
    found = {}
    for turn in turns(engine, num_rows):
        one = turn.result.verdicts
        for code, at, score, state in zip(one.series, one.timestamp_ns, one.score, one.state, strict=True):
            if not np.isnan(score):
                found[one.names[code], int(at)] = bool(state == State.ANOMALOUS)
    return found


def test_rows_are_compared_as_if_each_had_been_alone(entry: Path) -> None:
    candidate = make_artifact(threshold=0.5, seed=5)
    version = propose(candidate, entry).version
    current = open_artifact(entry)
    with closing(Shadow(str(entry), SOON)) as shadow:
        shadow.start()
        fed(shadow, Engine(current), 200)
        view = shadow.view
    ours, theirs = verdicts_of(current, 200), verdicts_of(candidate, 200)
    both = ours.keys() & theirs.keys()
    assert view.version == version
    assert view.rows == len(both) > 300
    assert view.alike == sum(ours[key] == theirs[key] for key in both)
    assert view.anomalous == {
        "candidate": sum(theirs[key] for key in both),
        "current": sum(ours[key] for key in both),
    }
    assert 0 < view.agreement < 1
    assert view.incidents["candidate"] > 0


def test_a_candidate_is_prepared_as_the_daemon_would_prepare_it(entry: Path) -> None:
    candidate = make_artifact(threshold=0.8, seed=5)
    version = propose(candidate, entry).version

    def stricter(artifact: Artifact) -> Artifact:
        assert artifact.version == version
        return with_budget(artifact, ModelsSection(path=str(entry), alarm_budget="3/day"))

    with closing(Shadow(str(entry), SOON, prepare=stricter)) as shadow:
        shadow.start()
        fed(shadow, Engine(open_artifact(entry)), 200)
        view = shadow.view
    assert "keeps no held-out errors" in view.problem  # as the daemon refuses it
    loose = replace(
        candidate, spec=replace(candidate.spec, threshold=replace(candidate.spec.threshold, value=2.0))
    )
    with closing(Shadow(str(entry), SOON, prepare=lambda artifact: loose)) as shadow:
        shadow.start()
        fed(shadow, Engine(open_artifact(entry)), 200)
        view = shadow.view
    ours, theirs = verdicts_of(open_artifact(entry), 200), verdicts_of(loose, 200)
    unprepared = verdicts_of(candidate, 200)
    both = ours.keys() & theirs.keys()
    assert view.anomalous["candidate"] == sum(theirs[key] for key in both)
    assert sum(theirs[key] for key in both) < sum(unprepared[key] for key in both)


def test_a_candidate_that_judges_alike_agrees_on_every_row_and_incident(entry: Path) -> None:
    current = make_artifact(threshold=0.8)
    propose(make_artifact(threshold=0.8, batch_size=8), entry)
    with closing(Shadow(str(entry), SOON)) as shadow:
        shadow.start()
        fed(shadow, Engine(current), 200)
        assert shadow.view.agreement == 1
        assert shadow.view.incidents["candidate"] == shadow.view.incidents["current"] > 0


def test_candidates_that_appear_change_and_vanish_are_followed(entry: Path) -> None:
    engine = Engine(open_artifact(entry))
    with closing(Shadow(str(entry), SOON)) as shadow:
        shadow.start()
        fed(shadow, engine, 20)
        assert shadow.view.version == ""
        first = propose(make_artifact(threshold=0.7), entry).version
        fed(shadow, engine, 40, first=20)
        assert shadow.view.version == first
        second = propose(make_artifact(threshold=0.6, window=4), entry).version
        fed(shadow, engine, 20, first=60)
        assert shadow.view.version == second
        assert shadow.view.rows < 40, "another candidate begins again"
        remove(entry, second)
        fed(shadow, engine, 20, first=80)
        assert shadow.view.version == first
        promote(entry, first, open_artifact(entry).version)
        engine.take_over(Engine(open_artifact(entry)))
        fed(shadow, engine, 20, first=100)
        assert shadow.view.version == ""


def test_a_candidate_of_other_channels_gets_those_that_there_are(entry: Path) -> None:
    version = propose(make_artifact(("pressure",)), entry).version
    engine = Engine(open_artifact(entry))
    with closing(Shadow(str(entry), SOON)) as shadow:
        shadow.start()
        fed(shadow, engine, 60)
        assert shadow.view.version == version
        assert shadow.view.rows > 50
        other = propose(make_artifact(("flow", "torque")), entry).version
        fed(shadow, engine, 20, first=60)
        assert shadow.view.version == ""
        assert other in shadow.view.problem
        assert "torque" in shadow.view.problem


def test_a_candidate_that_fails_is_dropped_and_the_next_one_is_taken(
    entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    propose(make_artifact(threshold=0.7), entry)
    engine = Engine(open_artifact(entry))
    with closing(Shadow(str(entry), SOON)) as shadow:
        shadow.start()
        fed(shadow, engine, 20)
        shadow._engine = None  # its next step fails
        monkeypatch.setattr(shadow, "_give", lambda one: 1 / 0)
        shadow._engine = Engine(make_artifact())
        fed(shadow, engine, 20, first=20)
        assert "ZeroDivisionError" in shadow.view.problem
        monkeypatch.undo()
        fed(shadow, engine, 20, first=40)
        assert shadow.view.version == "", "it is not tried again"
        version = propose(make_artifact(threshold=0.6), entry).version
        fed(shadow, engine, 20, first=60)
        assert shadow.view.version == version


def test_a_shadow_that_is_behind_begins_again_and_never_waits(entry: Path) -> None:
    propose(make_artifact(threshold=0.7), entry)
    engine = Engine(open_artifact(entry))
    with closing(Shadow(str(entry), SOON, most_batches=2)) as shadow:
        for turn in turns(engine, 50):
            shadow.on_turn(turn, engine)  # it does not run yet
        shadow.start()
        fed(shadow, engine, 10, first=50)
        wait_for(lambda: shadow.view.version, "the candidate")
        for first in range(60, 100, 10):
            fed(shadow, engine, 10, first=first)
        assert shadow.view.rows > 0


def status(daemon: Daemon) -> dict:
    return json.loads(daemon.get("/api/status")[1])


def test_a_daemon_counts_what_a_candidate_finds_and_publishes_none_of_it(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = kafka_topic(2)
    config = configured(entry, kafka_bootstrap, topic).replace("[model]\n", "[model]\nshadow = true\n")
    current = open_artifact(entry).version
    version = propose(make_artifact(threshold=0.4, seed=5), entry).version
    with running(config, tmp_path) as daemon:
        send(kafka_bootstrap, rows(topic, 0, 60))
        wait_for(lambda: daemon.readings() == 180, f"180 readings; see {daemon.log}")
        wait_for(lambda: status(daemon)["shadow"]["rows"] >= 3 * 51, "the rows of the candidate")
        found = samples(daemon)
        shown = {one["name"]: one["value"] for one in status(daemon)["overview"]["figures"]}
        assert daemon.terminate() == 0
    assert found["streamgauge_shadow_info", (("version", version),)] == 1
    assert found["streamgauge_shadow_rows_total", ()] >= 3 * 51
    assert 0 <= found["streamgauge_shadow_agreement_ratio", ()] < 1
    for judge in ("candidate", "current"):
        assert ("streamgauge_shadow_incidents_total", (("judge", judge),)) in found
    assert version in shown["Candidate in shadow"]
    bodies = [json.loads(one.value) for one in read_all(kafka_bootstrap, f"out-{topic}.scores")]
    alerts = [json.loads(one.value) for one in read_all(kafka_bootstrap, f"out-{topic}.alerts")]
    assert {one["version"] for one in (*bodies, *alerts)} == {current}
    assert set(rows_said(kafka_bootstrap, topic).values()) == {1}
