"""Backtests over labelled Parquet: what is measured, series by series."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from detector.backtest import backtest_parquet
from detector.engine import EngineOptions
from tests.artifacts import make_artifact


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
