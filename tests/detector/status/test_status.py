"""What `/api/status` says of a daemon, in figures and in words."""

from __future__ import annotations

import dataclasses
import json
import time

import numpy as np
import pytest

from connectors.records import Batch
from detector.engine.engine import Engine, EngineOptions
from detector.engine.loop import Turn
from detector.incidents.rules import IncidentRules
from detector.metrics.recorder import Metrics
from detector.metrics.sources import Sources
from detector.status.status import Status
from tests.support.artifacts import make_artifact
from tests.support.sources import FixedSources
from tests.support.strategies import readings_of

SECOND_NS = 10**9


def observed(metrics: Metrics, engine: Engine, rows: slice, name: str) -> None:
    """Let rows of one series through the engine, as a turn of the loop does."""
    at, values = np.arange(40)[rows], np.random.default_rng(0).random((40, 2))[rows]
    readings = readings_of(np.zeros(len(at), int), at * SECOND_NS, values)
    readings = dataclasses.replace(readings, names=(name,))
    metrics.observe(Turn(Batch(readings), engine.step(readings), 0.0, 0.0, 0.0, 0.0))


def figures(status: Status) -> dict[str, str]:
    return {one["name"]: one["value"] for one in status.json()["overview"]["figures"]}


@pytest.mark.parametrize(
    ("sources", "state", "words"),
    [
        (FixedSources(ready=True), "ready", "Ready: it judges what arrives."),
        (FixedSources(), "waiting", "Not ready: waiting for partitions."),
        (
            FixedSources(replaying=2),
            "replaying",
            "Not ready: partitions that are replayed up to their committed offsets: 2.",
        ),
        (
            FixedSources(missing_rights=(("READ", "topic readings"),), replaying=2),
            "waiting",
            "Not ready: waiting for a right in Kafka: READ on topic readings.",
        ),
    ],
)
def test_the_state_says_why_it_is_not_ready(sources: Sources, state: str, words: str) -> None:
    found = Status(Metrics(Engine(make_artifact()), 10, "1", sources)).json()["overview"]
    assert (found["state"], found["words"]) == (state, words)


@pytest.mark.parametrize("is_readable", [True, False])
def test_it_says_where_decisions_have_no_effect(is_readable: bool) -> None:
    metrics = Metrics(Engine(make_artifact()), 10, "1", FixedSources(decisions_readable=is_readable))
    status = Status(metrics).json()
    assert status["decisions_readable"] is is_readable
    told = [one for one in status["overview"]["problems"] if "accept, reject and mute have no effect" in one]
    assert bool(told) is not is_readable
    exposition = metrics.exposition("text/plain")[0].decode()
    assert f"\nstreamgauge_decisions_readable {float(is_readable)}\n" in exposition


def test_it_has_incidents_lag_age_and_drift() -> None:
    artifact = dataclasses.replace(make_artifact(threshold=1e-9), written_at=time.time() - 3 * 86400)
    engine = Engine(artifact)
    sources = FixedSources(lag={0: 4}, ready=True, lag_seconds={0: 7.25}, replaying=1)
    metrics = Metrics(engine, 10, "1", sources)
    status = Status(metrics, explorer="https://gauge.example.org/")
    before = status.json()
    assert before["firing"] == []
    assert before["error_psi"] is None
    assert "Change of errors" not in figures(status)
    assert figures(status)["Open incidents"] == "none"
    observed(metrics, engine, slice(0, 12), "<b>pump</b>")
    found = json.loads(json.dumps(status.json()))
    (incident,) = engine.open_incidents
    assert [(one["id"], one["channel"]) for one in found["firing"]] == [
        (incident.id, incident.channels[0].name)
    ]
    assert found["firing"][0]["sentence"].startswith("<b>pump</b>: ")
    assert (found["lag_seconds"], found["replaying"]) == (7.2, 1)
    assert found["model_age_seconds"] == pytest.approx(3 * 86400, abs=60)
    shown = figures(status)
    assert shown["Behind"] == "4 messages, 7.2 s"
    assert shown["Model age"] == "3.0 days"
    assert shown["Open incidents"] == f"1 {incident.severity}"
    assert found["overview"]["explorer"] == "https://gauge.example.org/"


def test_incidents_that_last_wait_for_a_decision() -> None:
    rules = IncidentRules(lasting_after_ns=10 * SECOND_NS)
    engine = Engine(make_artifact(threshold=1e-9), EngineOptions(rules=rules))
    metrics = Metrics(engine, 10, "1", FixedSources(ready=True))
    observed(metrics, engine, slice(0, 12), "pump")
    assert Status(metrics).json()["overview"]["problems"] == []
    observed(metrics, engine, slice(12, 40), "pump")
    (incident,) = engine.open_incidents
    found = Status(metrics).json()
    assert found["firing"][0]["lasting_since_ms"] == incident.lasting_ns // 1_000_000
    assert "Incidents that last and wait for a decision: 1." in found["overview"]["problems"]
