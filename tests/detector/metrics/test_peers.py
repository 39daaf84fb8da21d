"""Series beside their peers, as Prometheus and the page of a daemon see them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from connectors.records import Batch, Readings
from detector.artifact.spec import Artifact
from detector.engine.engine import Engine
from detector.engine.loop import Turn
from detector.metrics.recorder import Metrics
from detector.status.status import Status
from tests.detector.peers.machines import CHANNELS, DAY_ROWS, ROW_NS, Crowd
from tests.support.artifacts import make_artifact
from tests.support.sources import FixedSources

LIVE = Crowd(1, rows=3 * DAY_ROWS, start=14 * DAY_ROWS)


def model(peers: bool = True) -> Artifact:
    """A model of the crowd that finds nothing in a row."""
    artifact = make_artifact(CHANNELS, interval_ns=ROW_NS, threshold=1e9)
    return replace(artifact, spec=replace(artifact.spec, peers=Crowd(1).spec().peers if peers else None))


def turn_of(engine: Engine, values: np.ndarray, rows: slice) -> Turn:
    """Return a turn in which every machine sends these rows, in the order of time."""
    names, times, own = LIVE.names, LIVE.timestamp_ns[rows], values[:, rows]
    series = np.tile(np.arange(len(names), dtype=np.int32), len(times))
    cells = own.transpose(1, 0, 2).reshape(-1, len(CHANNELS))
    nothing = np.zeros(len(series), np.int64)
    readings = Readings(names, series, np.repeat(times, len(names)), cells, nothing.astype(np.int32), nothing)
    return Turn(Batch(readings), engine.step(readings), 0.0, 0.0, 0.0, 0.0)


def scrape(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (
            sample.name.removeprefix("streamgauge_"),
            tuple(value for _, value in sorted(sample.labels.items())),
        ): (sample.value)
        for family in text_string_to_metric_families(metrics.exposition("text/plain")[0].decode())
        for sample in family.samples
    }


def observed(artifact: Artifact, drift: float) -> Metrics:
    """Return the metrics after three days in turns of 20 rows, in which one machine leaves the others."""
    engine = Engine(artifact)
    metrics, values = Metrics(engine, 3, "1.2.3", FixedSources(ready=True)), LIVE.values()
    values[3, :, 1] += drift
    for start in range(0, LIVE.rows, 20):
        metrics.observe(turn_of(engine, values, slice(start, start + 20)))
    return metrics


def test_a_machine_that_left_the_others_is_a_metric_and_a_problem_but_no_incident() -> None:
    metrics = observed(model(), 3.0)
    found = scrape(metrics)
    assert found["compared_series", ()] == 8
    assert found["apart_series", ()] == 1
    assert found["apart_from_peers", ("heat", "pump-3")] > 1
    assert metrics.engine.open_incidents == ()
    status = Status(metrics).json()
    assert status["peers"]["apart"][0]["series"] == "pump-3"
    (problem,) = status["overview"]["problems"]
    assert problem.startswith("Away from their peers: pump-3: heat")
    lines = {one["name"]: one["value"] for one in status["overview"]["figures"]}
    assert lines["Series beside their peers"] == "8 compared, 1 away from the others"


def test_healthy_machines_are_compared_and_a_model_without_peers_says_nothing() -> None:
    metrics = observed(model(), 0.0)
    found = scrape(metrics)
    assert (found["compared_series", ()], found["apart_series", ()]) == (8, 0)
    assert Status(metrics).json()["overview"]["problems"] == []
    alone = observed(model(peers=False), 3.0)
    assert not [name for name, _ in scrape(alone) if name in ("compared_series", "apart_series")]
    assert "Series beside their peers" not in str(Status(alone).json()["overview"])


def test_verdicts_and_states_are_those_of_a_model_without_peers() -> None:
    values = LIVE.values()
    results = []
    for peers in (True, False):
        engine = Engine(model(peers))
        metrics = Metrics(engine, 3, "1", FixedSources(ready=True))
        turn = turn_of(engine, values, slice(0, DAY_ROWS))
        metrics.observe(turn)
        results.append((turn.result.verdicts, engine.save(engine.slots_of(LIVE.names))))
    (verdicts, states), (others, other_states) = results
    for part in ("score", "cumulative", "actual", "expected", "threshold"):
        np.testing.assert_array_equal(getattr(verdicts, part), getattr(others, part))
    assert [repr(one) for one in states] == [repr(one) for one in other_states]


def test_what_went_to_another_process_is_no_longer_reported() -> None:
    metrics = observed(model(), 3.0)
    metrics.engine.drop([0])
    gone = Batch(Readings.empty(len(CHANNELS)), lost=frozenset({0}))
    metrics.observe(Turn(gone, metrics.engine.step(gone.readings), 0.0, 0.0, 0.0, 0.0))
    assert scrape(metrics)["apart_series", ()] == 0


def test_a_model_without_results_in_a_turn_forgets_what_went_to_another_process() -> None:
    metrics = observed(model(), 3.0)
    metrics.refresh(False)
    assert scrape(metrics)["apart_series", ()] == 1
    metrics.engine.drop([0])
    metrics.refresh(True)
    assert scrape(metrics)["apart_series", ()] == 0
    assert Status(metrics).json()["overview"]["problems"] == []


@pytest.mark.parametrize("num", [2, 4])
def test_series_that_become_anomalous_together_are_one_problem_with_the_first_on_top(num: int) -> None:
    artifact = make_artifact(CHANNELS, interval_ns=ROW_NS, threshold=1e9)
    spec = artifact.spec
    channels = tuple(replace(one, valid_max=50.0) for one in spec.channels)
    engine = Engine(replace(artifact, spec=replace(spec, channels=channels)))
    metrics, values = Metrics(engine, 3, "1.2.3", FixedSources(ready=True)), LIVE.values()
    values[:num, 30:, 0] += 100.0
    values[num - 1, 29:, 0] += 100.0
    metrics.observe(turn_of(engine, values, slice(0, 60)))
    status = Status(metrics).json()
    problems = [one for one in status["overview"]["problems"] if "together" in one]
    if num == 2:
        assert (status["together"], problems) == ([], [])
        return
    (group,) = status["together"]
    assert (group["first"], group["channel"], group["num_series"]) == ("pump-3", "load", 4)
    assert group["first_incident"] in {one["id"] for one in status["firing"]}
    (problem,) = problems
    assert problem.startswith("4 series became anomalous together: first pump-3 (load), then pump-")
