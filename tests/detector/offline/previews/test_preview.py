"""A preview against a backtest of each budget."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from connectors.parquet.writer import TableWriter
from detector.artifact.registry import open_artifact, publish
from detector.artifact.spec import Artifact
from detector.calibration.recalibrate import recalibrated
from detector.engine.engine import EngineOptions
from detector.offline.backtest import backtest_parquet
from detector.offline.previews.preview import Followers, budgets_like, preview
from streamgauge import main
from tests.support.artifacts import make_artifact

NUM = 3_000
SIZES = (36.0, 50.0, 100.0)


@pytest.fixture(scope="module")
def model() -> Artifact:
    """Return a model whose threshold depends clearly on the budget."""
    errors = np.random.default_rng(0).exponential(1.0, 4_000)
    held_out = {"segment": np.zeros(4_000), "error": errors}
    artifact = replace(make_artifact(interval_ns=60 * 10**9), held_out=held_out)
    training = {"num_series": 2}
    return recalibrated(replace(artifact, spec=replace(artifact.spec, training=training)), "1/week")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a history of two series; one has faults of growing size, far apart."""
    path = tmp_path_factory.mktemp("preview") / "history.parquet"
    values = np.random.default_rng(1).normal(size=(NUM, 2))
    series = np.array(["calm", "noisy"] * (NUM // 2), dtype=object)
    for number, size in enumerate(SIZES):
        at = 601 + 800 * number
        values[at : at + 12 : 2] += size
    writer = TableWriter(path)
    writer.write(
        {
            "series": series,
            "timestamp": np.repeat(np.arange(NUM // 2), 2) * 60 * 10**9,
            "flow": values[:, 0],
            "pressure": values[:, 1],
        }
    )
    writer.close()
    return path


def test_each_budget_raises_what_its_backtest_raises(model: Artifact, history: Path) -> None:
    budgets = budgets_like("1/week")
    before = model.spec
    rows: list[int] = []
    found = preview(Followers(model, budgets), history, rows.append)
    assert (model.spec, sum(rows)) == (before, NUM)
    assert found.series_weeks == pytest.approx(NUM / (7 * 1440))
    for one in found.raised:
        expected = backtest_parquet(recalibrated(model, one.budget), history, EngineOptions())
        assert one.incidents == expected.incidents
    numbers = [one.alarms for one in found.raised]
    assert numbers == sorted(numbers)
    assert numbers[0] < numbers[-1], "the budgets must differ for the rest to mean anything"
    thresholds = [one.threshold for one in found.raised]
    assert thresholds == sorted(thresholds, reverse=True)


def test_every_incident_is_listed_once_with_its_strictest_budget(model: Artifact, history: Path) -> None:
    budgets = budgets_like("1/week")
    found = preview(Followers(model, budgets), history)
    listed = {(incident.id, budget) for incident, budget in found.incidents}
    assert len(listed) == len(found.incidents) > 0
    by_budget = {one.budget: {incident.id for incident in one.incidents} for one in found.raised}
    assert all(incident in by_budget[budget] for incident, budget in listed)
    assert {incident for incident, budget in listed if budget == budgets[0]} == by_budget[budgets[0]]
    peaks = {budget: incident.peak_score for incident, budget in found.incidents}
    assert len(peaks) > 1, "some incidents come with looser budgets only"


def test_the_command_prints_both_tables_and_publishes_nothing(
    model: Artifact, history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = tmp_path / "pump"
    published = publish(model, entry)
    assert main(["calibrate", str(entry), "--preview", str(history)]) == 0
    shown = capsys.readouterr().out
    assert all(budget in shown for budget in budgets_like("1/week"))
    assert "in force" in shown
    arguments = ["calibrate", str(entry), "--budget", "2/day in all", "--preview", str(history), "--json"]
    assert main(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [one["alarm_budget"] for one in printed["budgets"]][-2:] == [
        *("1/day in all of 2 series", "2/day in all of 2 series")
    ]
    assert {one["from_budget"] for one in printed["incidents"]} <= {
        one["alarm_budget"] for one in printed["budgets"]
    }
    assert open_artifact(entry).version == published.version
    assert main(["calibrate", str(entry), "--budget", "often", "--preview", str(history)]) == 2
