"""The command behind docs/quality.md: it runs on labelled files, keeps its runs and fills the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import quality
from benchmarks.labelled.runs import Choice, Results, Run, planned
from benchmarks.operators import __main__ as operators
from benchmarks.operators.__main__ import DataRun


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
    empty = quality.written(page, Results(tmp_path), tmp_path)
    assert quality.written(empty, Results(tmp_path), tmp_path) == empty
    assert "| budget | data | false alarms |" in empty


def test_no_two_runs_share_a_name() -> None:
    runs = planned()
    assert len({run.name for run in runs}) == len(runs)
    assert quality.with_interval([0.5, 0.5]) == "0.500 (0.50 to 0.50)"


def of_one_file(run: Run, false: int, open_share: float) -> dict[str, object]:
    """The result of a file: four weeks of normal time, 4 false alarms allowed, 1 of 2 events found."""
    counts = {"false_alarms": false, "budgeted_alarms": 4.0, "event_recall": 0.5, "events": 2}
    weeks = {"series_weeks": 4.0, "false_open_weeks": 4.0 * open_share}
    seen = {"counts": {"events": [], "false_incidents": false, "false_by_series": {}, **weeks}}
    return {**counts, "further": {"1/day": counts}, "operator": {"1/week": seen, "1/day": seen}}


def test_the_budget_table_says_what_it_was_measured_on(tmp_path: Path) -> None:
    run = Run("nab", "linear")
    results = Results(tmp_path)
    some = {"files": [of_one_file(run, 6, 0.25)], "files_in_set": 3}
    (tmp_path / f"{run.name}.every-3.json").write_text(json.dumps(some))
    row = "| 1/week | nab (1 of 3 files) | 6 | 4 | 1.50 | 6 of 4.0 | 1 of 2 | 0.50 | 0.25 |"
    assert row in quality.budget_of(results, "linear")
    whole = {"files": [of_one_file(run, at, 0.5) for at in (0, 2, 4)], "files_in_set": 3}
    (tmp_path / f"{run.name}.json").write_text(json.dumps(whole))
    row = "| 1/week | nab | 6 | 12 | 0.50 | 4 of 4.0 | 3 of 6 | 0.50 | 0.50 |"
    assert row in quality.budget_of(results, "linear")
    assert row.replace("nab", "**pooled**") in quality.budget_of(results, "linear")


def test_the_causal_run_of_the_operators_counts_where_there_is_no_other(tmp_path: Path) -> None:
    run = Run("nab")
    assert operators.options_of(DataRun(tmp_path / "nab", "ensemble", worth=False)) == run.options()
    results = Results(tmp_path / "quality", tmp_path)
    assert results.of(run) is None
    (tmp_path / "data-nab.ensemble.json").write_text(json.dumps({"files": [of_one_file(run, 3, 0.5)]}))
    assert "| 1/week | nab | 3 | 4 | 0.75 |" in quality.budget_of(results, "ensemble")
    assert results.of(Run("nab", causal=False)) is None
    assert results.of(Run("nab", seed=1)) is None


def test_every_nth_file_is_chosen_by_name(tmp_path: Path) -> None:
    for name in "bacde":
        (tmp_path / f"{name}.parquet").write_bytes(b"x" * ord(name))
    names = [one.stem for one in Choice(every=2).of(tmp_path)]
    assert names == ["a", "c", "e"]
    assert [one.stem for one in Choice(smallest=2).of(tmp_path)] == ["a", "b"]


def test_a_table_that_does_not_exist_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        quality.main(["--data", str(tmp_path), "--write", "budget,tables"])
    assert "there is no table tables" in capsys.readouterr().err
