"""Backtests over labelled Parquet: what is measured, series by series."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamgauge
from detector.artifact.registry import publish
from detector.engine.engine import EngineOptions
from detector.offline.backtest import backtest_parquet
from tests.support.artifacts import make_artifact


def write(path: Path, num_rows: int = 60) -> Path:
    """Two series of noise; the last row of the first and the first rows of the second are labelled."""
    rng = np.random.default_rng(0)
    label = np.concatenate([np.arange(num_rows) == num_rows - 1, np.arange(num_rows) < 2]).astype(np.int8)
    times = np.tile(1_700_000_000_000 + np.arange(num_rows) * 1000, 2)
    columns = {
        "timestamp": pa.array(times, pa.timestamp("ms", tz="UTC")),
        "series": np.repeat(["a", "b"], num_rows),
        "flow": rng.standard_normal(2 * num_rows),
        "pressure": rng.standard_normal(2 * num_rows),
        "label": label,
    }
    pq.write_table(pa.table(columns), path)
    return path


def test_events_of_different_series_stay_apart(tmp_path: Path) -> None:
    outcome = backtest_parquet(make_artifact(threshold=1e-9), write(tmp_path / "a.parquet"), EngineOptions())
    assert outcome.rows == 120
    assert outcome.measures["events"] == 2
    assert outcome.measures["false_alarms"] == 1  # all of b's rows after warming; a's alarm touches its event
    assert outcome.measures["recall"] == 1 / 3  # b's labelled rows were warming: unknown is no alarm


def test_the_tables_hold_every_row_and_incident(tmp_path: Path) -> None:
    data = write(tmp_path / "a.parquet")
    outcome = backtest_parquet(make_artifact(threshold=1e-9), data, EngineOptions(), tmp_path / "out")
    assert pq.read_metadata(tmp_path / "out" / "scores.parquet").num_rows == 120
    written = json.loads((tmp_path / "out" / "incidents.json").read_text())
    assert [incident["series"] for incident in written["incidents"]] == ["a", "b"]
    assert len(outcome.incidents) == 2


CONFIG = """
[model]
path = "unused by a backtest"
[kafka]
topic = "unused"
[incidents]
fold_series = 2
[[maintenance]]
series = ["a"]
start = 2023-11-14T22:13:20Z
end = 2023-11-14T22:14:00Z
"""


def test_a_backtest_takes_the_rules_of_the_daemons_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data, config = tmp_path / "models" / "pump", tmp_path / "a.parquet", tmp_path / "streamgauge.toml"
    publish(make_artifact(threshold=1e-9), model)
    write(data)
    config.write_text(CONFIG)
    command = ["backtest", str(model), str(data), "--json"]
    assert streamgauge.main(command) == 0
    plain = json.loads(capsys.readouterr().out)
    assert streamgauge.main([*command, "--config", str(config)]) == 0
    ruled = json.loads(capsys.readouterr().out)
    assert [one["held_by"] for one in plain["incidents"]] == [[], []]
    held = {one["series"]: (one["opened"], one["held_by"]) for one in ruled["incidents"]}
    assert held == {
        "a": ("2023-11-14T22:14:00.000Z", ["maintenance"]),
        "b": ("2023-11-14T22:13:27.000Z", []),
    }
    assert (plain["folds"], plain["suppressed_rows"]) == ([], {})
    assert ruled["suppressed_rows"] == {"maintenance": 33}  # 40 rows in the window, 7 of them warming
    assert [fold["series"] for fold in ruled["folds"]] == [["a", "b"]]
    config.write_text(CONFIG + '[channels.presure]\ndirection = "above"\n')
    assert streamgauge.main([*command, "--config", str(config)]) != 0
    assert "[channels.presure]: the model has no channel `presure`; did you mean `pressure`?" in (
        capsys.readouterr().err
    )
