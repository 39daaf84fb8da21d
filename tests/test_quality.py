"""The command behind docs/quality.md: it runs on labelled files, keeps its runs and fills the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import quality


def labelled(path: Path, seed: int) -> None:
    """A noisy sine of 700 rows with an event in its test part."""
    rng = np.random.default_rng(seed)
    values = np.sin(np.arange(700) / 9) + 0.05 * rng.standard_normal(700)
    values[600:620] += 2.0
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "timestamp": pa.array(np.arange(700) * 60_000, pa.timestamp("ms", "UTC")),
            "value": values,
            "label": ((np.arange(700) >= 600) & (np.arange(700) < 620)).astype(np.int8),
            "split": np.where(np.arange(700) < 400, "train", "test").tolist(),
        }
    )
    pq.write_table(table, path)


def test_a_run_is_done_once_and_its_tables_are_filled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        labelled(tmp_path / "data" / "asd" / f"{seed}.parquet", seed)
    command = ["--data", str(tmp_path / "data"), "--only", "asd.linear", "--jobs", "1"]
    command += ["--out", str(tmp_path / "runs")]
    assert quality.main([*command, "--files", "1"]) == 0
    kept = tmp_path / "runs" / "asd.linear.offline.0.json"
    found = json.loads(kept.read_text())
    assert len(found["files"]) == 1
    score = found["files"][0]["model"]["vus_pr"]
    assert score > found["files"][0]["random"]["vus_pr"]
    changed = {**found, "files": found["files"] * 3}
    kept.write_text(json.dumps(changed))
    assert quality.main(command) == 0  # kept, so not done again
    assert json.loads(kept.read_text()) == changed
    assert f"{score:.3f}" in capsys.readouterr().out


def test_every_table_has_its_place_on_the_page(tmp_path: Path) -> None:
    page = quality.PAGE.read_text(encoding="utf-8")
    for name in quality.TABLES:
        assert page.count(f"<!-- {name} -->\n") == 1
    empty = quality.written(page, quality.Results(tmp_path), tmp_path)
    assert quality.written(empty, quality.Results(tmp_path), tmp_path) == empty
    assert "| budget | data | false alarms |" in empty


def test_no_two_runs_share_a_name() -> None:
    runs = quality.planned()
    assert len({run.name for run in runs}) == len(runs)
    assert quality.with_interval([0.5, 0.5]) == "0.500 (0.50 to 0.50)"
