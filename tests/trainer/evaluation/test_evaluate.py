"""Evaluation: it finds planted events, never looks ahead, and reports the files that it cannot evaluate."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamgauge
from connectors.parquet.reader import Chunk
from detector import Detector
from detector.artifact.spec import Artifact
from detector.offline.measuring.measures import NO_ALARMS, count_alarms, vus_pr
from detector.scoring.kinds import SWITCHES
from tests.support.data import need
from trainer.config import ModelOptions, TrainConfig, override
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.file_evaluation import evaluate_file
from trainer.evaluation.options import EvaluationOptions
from trainer.evaluation.results import FileResult
from trainer.evaluation.row_scores import score_rows
from trainer.pipeline import TrainingData, fit_source
from trainer.progress import quiet

QUICK = EvaluationOptions(family="linear", window=16)


def labelled(path: Path, num_rows: int = 1_200, num_channels: int = 2, **columns: object) -> Path:
    """A noisy wave with three bursts in its test half."""
    rng = np.random.default_rng(0)
    wave = np.sin(np.arange(num_rows)[:, None] * 2 * np.pi / 40 + np.arange(num_channels))
    values = wave + 0.05 * rng.standard_normal((num_rows, num_channels))
    label = np.zeros(num_rows, np.int8)
    for first in (700, 850, 1_000):
        label[first : first + 12] = 1
    values[label == 1] += rng.choice([-1.5, 1.5], (int(label.sum()), num_channels))
    table = {
        "timestamp": pa.array(1_700_000_000_000 + np.arange(num_rows) * 60_000, pa.timestamp("ms", tz="UTC")),
        **{f"c{at}": values[:, at] for at in range(num_channels)},
        "label": label,
        "split": np.where(np.arange(num_rows) < 600, "train", "test"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**table, **columns}), path)
    return path


@pytest.mark.parametrize(("family", "causal"), [("ensemble", True), ("linear", True), ("linear", False)])
def test_planted_bursts_are_found_and_random_is_beaten(tmp_path: Path, family: str, causal: bool) -> None:
    options = EvaluationOptions(family=family, max_epochs=2, window=16, causal=causal)
    result = evaluate_file(labelled(tmp_path / "a.parquet"), "a.parquet", options)
    assert result.model.vus_pr > 3 * result.random.vus_pr
    assert result.model.auc_roc > 0.85
    assert (result.alarms.events, result.alarms.events_found) == (3, 3)
    assert result.alarms.rows == 600
    assert result.test_days == pytest.approx(600 / 1440)
    assert result.budgeted == pytest.approx((600 - 36) / 1440 / 7)  # 1/week over the normal rows


def test_the_scores_file_reproduces_the_measures(tmp_path: Path) -> None:
    path = labelled(tmp_path / "in" / "deep" / "a.parquet")
    options = replace(QUICK, scores=tmp_path / "scores")
    evaluation = evaluate(tmp_path / "in", options, 1, quiet)
    table = pq.read_table(tmp_path / "scores" / "deep" / "a.parquet")
    assert table.column_names == ["timestamp", "score", "unusual", "alarm", "label", "split"]
    score, alarm = (table[name].to_numpy() for name in ("score", "alarm"))
    assert len(score) == pq.read_metadata(path).num_rows
    np.testing.assert_array_equal(table["unusual"].to_numpy(), score > 1)
    (result,) = evaluation.results
    label, test = table["label"].to_numpy(), table["split"].to_numpy() == "test"
    assert vus_pr(label, np.nan_to_num(score, nan=0.0), result.buffer) == result.model.vus_pr
    assert count_alarms(label[test], alarm[test]) == result.alarms


def series_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The times and the values of a labelled file."""
    table = pq.read_table(path)
    times = table["timestamp"].to_numpy().astype("M8[ns]").view(np.int64)
    return times, np.column_stack([table["c0"].to_numpy(), table["c1"].to_numpy()])


def fitted(path: Path, **changes: dict[str, object]) -> Artifact:
    """A model of the first 600 rows of a labelled file."""
    times, values = series_of(path)
    chunk = Chunk(times[:600], ("s",), np.zeros(600, np.int32), values[:600], None, None)
    config = override(TrainConfig(model=ModelOptions(family="linear", window=16)), None, changes)
    return fit_source(TrainingData(lambda: iter([chunk]), ("c0", "c1"), 60 * 10**9), config)


@pytest.mark.parametrize("family", ["ensemble", "linear"])
def test_a_causal_score_does_not_change_when_the_future_does(tmp_path: Path, family: str) -> None:
    path = labelled(tmp_path / "a.parquet")
    times, values = series_of(path)
    artifact = fitted(path, model={"family": family}, fit={"max_epochs": 1, "min_steps_per_epoch": 2})
    changed = values.copy()
    changed[900:] = 1e6
    whole, other = (score_rows(artifact, times, rows) for rows in (values, changed))
    first = score_rows(artifact, times[:900], values[:900])
    np.testing.assert_array_equal(other.score[:900], whole.score[:900])
    np.testing.assert_array_equal(first.score, whole.score[:900])


def test_the_page_level_moves_alarms_and_no_score(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.parquet")
    times, values = series_of(path)
    artifact = fitted(path, scoring={"alarm_budget": "1/hour"})
    threshold = replace(artifact.spec.threshold, limit=None)
    still = replace(artifact, spec=replace(artifact.spec, threshold=threshold))
    adapting, static = score_rows(artifact, times, values), score_rows(still, times, values)
    np.testing.assert_array_equal(adapting.score, static.score)
    assert np.isfinite(adapting.score).any()
    assert adapting.alarm.sum() <= static.alarm.sum()


def test_the_worth_of_a_kind_is_the_same_run_without_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    small = np.sin(np.arange(6_000) * 2 * np.pi / 40) + 0.1 * rng.standard_normal(6_000)
    small[5_400:5_800] += 0.15  # it lasts, and no single row of it is unusual
    path = labelled(tmp_path / "a.parquet", 6_000, 3, c0=small)
    options = replace(QUICK, train_rows=4_000)
    asked = evaluate(path, replace(options, worth=True), 1, quiet)
    shown = asked.worth
    every = evaluate_file(path, "a.parquet", options).operator
    without = evaluate_file(path, "a.parquet", replace(options, without=tuple(SWITCHES)))
    assert shown["all"] == without.operator
    assert asked.worth_vus_pr["all"] == pytest.approx(without.model.vus_pr)
    assert shown["level"].false_incidents < every.false_incidents
    assert shown["modes"] == every
    assert evaluate(path, options, 1, quiet).worth == {}


def test_alarms_are_the_rows_of_incidents(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.parquet")
    times, values = series_of(path)
    artifact = fitted(path)
    frame = pd.DataFrame(values, index=pd.to_datetime(times, utc=True), columns=["c0", "c1"])
    expected, row = np.zeros(len(times), bool), times // artifact.spec.interval_ns * artifact.spec.interval_ns
    incidents = Detector(artifact).replay(frame).incidents
    for incident in incidents:
        end_ns = row[-1] if incident.end_ns is None else incident.end_ns
        expected |= (row >= incident.start_ns) & (row <= end_ns)
    alarm = score_rows(artifact, times, values).alarm
    np.testing.assert_array_equal(alarm, expected)
    assert expected[[705, 855, 1_005]].all()
    assert not expected[[650, 800, 950, 1_150]].any()
    shuffled = np.random.default_rng(0).permutation(len(times))
    found = score_rows(artifact, times[shuffled], values[shuffled])
    np.testing.assert_array_equal(found.alarm, expected[shuffled])


def test_the_rest_of_the_training_is_the_base_s(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.parquet")
    base = override(TrainConfig(), None, {"scoring": {"whiten": False}, "model": {"latent": 3, "window": 99}})
    result = evaluate_file(path, "a.parquet", replace(QUICK, base=base))
    expected = fitted(path, scoring={"whiten": False}, model={"latent": 3})
    times, values = series_of(path)
    score = np.nan_to_num(score_rows(expected, times, values).score, nan=0.0)
    assert result.window == 16  # what the options say goes before the base
    assert result.model.vus_pr == vus_pr(pq.read_table(path)["label"].to_numpy(), score, result.buffer)


def test_the_baseline_takes_rows_one_after_the_other_whatever_their_times(tmp_path: Path) -> None:
    """No stretch of these has a whole window of the baseline's."""
    steps = np.where(np.arange(1_200) % 7 == 0, 180_000, 60_000)
    times = pa.array(1_700_000_000_000 + np.cumsum(steps), pa.timestamp("ms", tz="UTC"))
    irregular = evaluate_file(labelled(tmp_path / "a.parquet", timestamp=times), "a.parquet", QUICK)
    regular = evaluate_file(labelled(tmp_path / "b.parquet"), "b.parquet", QUICK)
    assert irregular.linear == regular.linear
    assert regular.linear.vus_pr > 0.9


def test_every_row_has_a_score_however_irregular_its_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    steps = rng.choice([60_000, 60_000, 60_000, 0, 61_000, 180_000], 1_200)
    times = pa.array(1_700_000_000_000 + np.cumsum(steps), pa.timestamp("ms", tz="UTC"))
    path = labelled(tmp_path / "a.parquet", timestamp=times)
    options = replace(QUICK, scores=tmp_path / "scores")
    evaluate_file(path, "a.parquet", options)
    scores = pq.read_table(tmp_path / "scores" / "a.parquet")["score"].to_numpy()
    assert np.isfinite(scores[40:]).mean() > 0.95


def test_the_order_of_channels_does_not_matter(tmp_path: Path) -> None:
    labelled(tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    shuffled = table.select(["split", "c0", "label", "timestamp", "c1"])
    pq.write_table(shuffled, tmp_path / "b.parquet")
    first, second = (evaluate_file(tmp_path / name, name, QUICK) for name in ("a.parquet", "b.parquet"))
    assert first.model == second.model


@pytest.mark.slow  # starts two processes that import torch
def test_a_file_that_cannot_be_fitted_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    labelled(tmp_path / "good.parquet")
    labelled(tmp_path / "short.parquet", num_rows=1_200, split=np.array(["test"] * 1_200))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    evaluation = evaluate(tmp_path, QUICK, 2, quiet)
    assert [result.file for result in evaluation.results] == ["good.parquet"]
    reasons = {failure.file: failure.reason for failure in evaluation.failures}
    assert "none of its 1200 rows has `split` = train" in reasons["short.parquet"]
    assert "not a Parquet file" in reasons["broken.parquet"]


def test_a_file_without_events_has_no_ranking_but_false_alarms(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.parquet", label=np.zeros(1_200, np.int8))
    result = evaluate_file(path, "a.parquet", QUICK)
    assert np.isnan(result.model.vus_pr)
    assert result.alarms.events == 0
    assert result.alarms.false_alarms > 0


def test_the_vus_buffer_of_the_file_is_used(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.parquet")
    assert evaluate_file(path, "a.parquet", QUICK).buffer == pytest.approx(40, abs=1)
    table = pq.read_table(path).replace_schema_metadata({"vus_window": "17"})
    pq.write_table(table, path)
    assert evaluate_file(path, "a.parquet", QUICK).buffer == 17


def test_train_rows_override_the_split(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.parquet")
    result = evaluate_file(path, "a.parquet", replace(QUICK, train_rows=400))
    assert (result.train_rows, result.alarms.rows) == (400, 800)


def test_the_command_prints_the_table_with_both_baselines_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled(tmp_path / "in" / "a.parquet")
    out = tmp_path / "out.json"
    arguments = ["evaluate", str(tmp_path / "in"), "--json", str(out), "--max-epochs", "1", "--jobs", "1"]
    assert streamgauge.main([*arguments, "--window", "16"]) == 0
    printed = capsys.readouterr().out
    assert "linear" in printed
    assert "ensemble beats a random score" in printed
    pooled = json.loads(out.read_text())["pooled"]
    assert pooled["files"] == 1
    assert pooled["model"]["vus_pr"] > pooled["random"]["vus_pr"]


def test_without_files_the_command_fails_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert streamgauge.main(["evaluate", str(tmp_path)]) == 2
    assert "no *.parquet, *.csv or *.csv.gz file" in capsys.readouterr().err


def test_a_real_series_is_evaluated() -> None:
    path = need("tsb-nab/028_NAB_id_28_Facility_tr_1007_1st_3447.parquet")
    result = evaluate_file(path, path.name, EvaluationOptions(max_epochs=1))
    assert isinstance(result, FileResult)
    assert result.model.vus_pr > result.random.vus_pr


def test_the_order_of_the_rows_in_a_file_does_not_matter(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.parquet")
    shuffled = np.random.default_rng(5).permutation(1_200)
    pq.write_table(pq.read_table(path).take(pa.array(shuffled)), tmp_path / "b.parquet")
    options = replace(QUICK, scores=tmp_path / "scores")
    first, second = (evaluate_file(tmp_path / name, name, options) for name in ("a.parquet", "b.parquet"))
    assert (first.model, first.alarms, first.buffer) == (second.model, second.alarms, second.buffer)
    in_order, as_in_file = (pq.read_table(tmp_path / "scores" / f"{name}.parquet") for name in "ab")
    for column in in_order.column_names:  # as arrays: there NaN equals NaN
        expected = in_order[column].to_numpy()[shuffled]
        np.testing.assert_array_equal(as_in_file[column].to_numpy(), expected)


def test_rows_that_were_fitted_on_raise_no_counted_alarm(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.parquet", split=np.array(["train"] * 1_200))
    result = evaluate_file(path, "a.parquet", QUICK)
    assert (result.alarms, result.test_days) == (NO_ALARMS, 0.0)
    assert np.isfinite(result.model.vus_pr)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--jobs", "0"], "--jobs 0: must be at least 1"),
        (["--train-rows", "-3"], "--train-rows -3: must be at least 1"),
        (["--window", "0"], "model.window: Input should be greater than or equal to 1, found 0"),
        (["--max-epochs", "0"], "fit.max_epochs: Input should be greater than or equal to 1, found 0"),
        (["--seed", "-1"], "fit.seed: Input should be greater than or equal to 0, found -1"),
        (["--alarm-budget", "often"], "alarm budget 'often' is not NUMBER/UNIT, such as 1/week"),
        (["--scores", "."], "--scores . lies in ."),
    ],
)
def test_flags_that_cannot_be_are_refused_before_the_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    labelled(tmp_path / "a.parquet")
    assert streamgauge.main(["evaluate", ".", *flags]) == 2
    assert reason in capsys.readouterr().err
