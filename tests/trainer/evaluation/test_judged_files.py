"""An evaluation counts the rows of each file that were judged, and why the others were not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamgauge
from trainer.evaluation.file_evaluation import evaluate_file
from trainer.evaluation.options import EvaluationOptions
from trainer.evaluation.results import FileResult

WINDOW, TRAIN, TEST = 16, 600, 200
OPTIONS = EvaluationOptions(family="linear", window=WINDOW)
SECOND_NS = 10**9


def write(path: Path, test_rows: np.ndarray, holes: slice = slice(0)) -> Path:
    """A wave a second to train on, and the test rows at these seconds after it; `holes` of them are empty."""
    at = np.concatenate([np.arange(TRAIN), TRAIN + np.asarray(test_rows)])
    values = np.sin(at[:, None] / 6 + np.arange(2)) + 0.05 * np.random.default_rng(0).standard_normal(
        (len(at), 2)
    )
    values[TRAIN:][holes] = np.nan
    columns = {f"c{channel}": values[:, channel] for channel in range(2)}
    label = np.zeros(len(at), np.int8)
    label[-8:-4] = 1
    split = np.where(np.arange(len(at)) < TRAIN, "train", "test")
    times = pa.array(at * SECOND_NS + 1_700_000_000 * SECOND_NS, pa.timestamp("ns", tz="UTC"))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"timestamp": times, **columns, "label": label, "split": split}), path)
    return path


def evaluated(tmp_path: Path, test_rows: np.ndarray, holes: slice = slice(0)) -> FileResult:
    return evaluate_file(write(tmp_path / "a.parquet", test_rows, holes), "a.parquet", OPTIONS)


def test_rows_of_a_steady_file_are_judged_from_the_first_full_window_on(tmp_path: Path) -> None:
    result = evaluated(tmp_path, np.arange(TEST))
    coverage, test = result.coverage, result.test_coverage
    assert (coverage.rows, coverage.judged_rows) == (TRAIN + TEST, TRAIN + TEST - WINDOW + 1)
    assert (test.rows, test.judged_rows) == (TEST, TEST - WINDOW + 1)
    assert test.unjudged == {"warming": (WINDOW - 1, 1)}


@pytest.mark.parametrize("num", [1, 30, 150])
def test_empty_rows_and_rows_after_a_long_gap_are_counted_by_their_reason(tmp_path: Path, num: int) -> None:
    result = evaluated(tmp_path, np.r_[0:100, 1_000:1_100], holes=slice(20, 20 + num))
    test = result.test_coverage
    assert test.rows == TEST
    assert test.judged_rows + sum(rows for rows, _ in test.unjudged.values()) == TEST
    assert test.unjudged["gap"] == (num, 1)
    assert test.unjudged["warming"][0] >= 2 * (WINDOW - 1) - max(0, num - 65)


def test_rows_that_share_a_grid_row_share_its_judgement(tmp_path: Path) -> None:
    result = evaluated(tmp_path, np.arange(TEST) // 2)
    assert result.test_coverage.rows == TEST
    assert result.test_coverage.unjudged == {"warming": (2 * (WINDOW - 1), 1)}


def test_the_command_says_that_a_file_is_not_judged_in_text_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "in" / "good.parquet", np.arange(TEST))
    write(tmp_path / "in" / "rare.parquet", np.arange(WINDOW - 4))
    out = tmp_path / "out.json"
    flags = ["--model", "linear", "--window", str(WINDOW), "--jobs", "1", "--json", str(out)]
    assert streamgauge.main(["evaluate", str(tmp_path / "in"), *flags]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"NOT JUDGED: rare.parquet: none of its {WINDOW - 4} test rows (warming {WINDOW - 4})" in printed
    assert "JUDGED: good" not in printed
    judged = TEST - WINDOW + 1
    assert f"false alarms of {judged} rows judged in 1 of 2 series" in printed
    found = json.loads(out.read_text())
    assert found["pooled"]["test_coverage"]["never_judged"] == {"rare.parquet": "warming"}
    assert [one["test_coverage"]["judged"]["rows"] for one in found["files"]] == [judged, 0]
