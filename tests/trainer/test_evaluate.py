"""Evaluation: it finds what is planted, never looks ahead, and reports what it cannot do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamgauge
from detector.measures import NO_ALARMS, vus_pr
from tests.data import need
from trainer.config import FitOptions, ModelOptions, TrainConfig
from trainer.evaluate import EvaluationOptions, FileResult, evaluate, evaluate_file, score_rows
from trainer.pipeline import Source, fit_source
from trainer.progress import quiet

QUICK = EvaluationOptions(max_epochs=4, window=16)


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


@pytest.mark.parametrize("causal", [True, False])
def test_planted_bursts_are_found_and_random_is_beaten(tmp_path: Path, causal: bool) -> None:
    options = EvaluationOptions(max_epochs=6, window=16, causal=causal)
    result = evaluate_file(labelled(tmp_path / "a.parquet"), "a.parquet", options)
    assert result.model.vus_pr > 3 * result.random.vus_pr
    assert result.model.auc_roc > 0.85
    assert (result.alarms.events, result.alarms.events_found) == (3, 3)
    assert result.alarms.rows == 600
    assert result.test_days == pytest.approx(600 / 1440)


def test_the_scores_file_reproduces_the_measures(tmp_path: Path) -> None:
    path = labelled(tmp_path / "in" / "deep" / "a.parquet")
    options = EvaluationOptions(max_epochs=4, window=16, scores=tmp_path / "scores")
    evaluation = evaluate(tmp_path / "in", options, 1, quiet)
    table = pq.read_table(tmp_path / "scores" / "deep" / "a.parquet")
    assert table.column_names == ["timestamp", "score", "anomalous", "label", "split"]
    score = table["score"].to_numpy()
    assert len(score) == pq.read_metadata(path).num_rows
    np.testing.assert_array_equal(table["anomalous"].to_numpy(), score > 1)
    (result,) = evaluation.results
    known = np.nan_to_num(score, nan=0.0)
    assert vus_pr(table["label"].to_numpy(), known, result.buffer) == result.model.vus_pr


def test_a_causal_score_does_not_change_when_the_future_does(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.parquet")
    table = pq.read_table(path)
    times = table["timestamp"].to_numpy().astype("M8[ns]").view(np.int64)
    values = np.column_stack([table["c0"].to_numpy(), table["c1"].to_numpy()])
    from connectors.parquet import discover, read_chunks

    source = Source(lambda: read_chunks(discover(path)), ("c0", "c1"), None)
    config = TrainConfig(model=ModelOptions(window=16), fit=FitOptions(max_epochs=1))
    artifact = fit_source(source, config)
    whole = score_rows(artifact, times, values)
    changed = values.copy()
    changed[900:] = 1e6
    np.testing.assert_array_equal(score_rows(artifact, times, changed)[:900], whole[:900])
    np.testing.assert_array_equal(score_rows(artifact, times[:900], values[:900]), whole[:900])


def test_every_row_has_a_score_however_irregular_its_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    steps = rng.choice([60_000, 60_000, 60_000, 0, 61_000, 180_000], 1_200)
    times = pa.array(1_700_000_000_000 + np.cumsum(steps), pa.timestamp("ms", tz="UTC"))
    path = labelled(tmp_path / "a.parquet", timestamp=times)
    options = EvaluationOptions(max_epochs=2, window=16, scores=tmp_path / "scores")
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
    result = evaluate_file(path, "a.parquet", EvaluationOptions(max_epochs=2, window=16, train_rows=400))
    assert (result.train_rows, result.alarms.rows) == (400, 800)


def test_the_command_prints_the_table_with_both_baselines_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled(tmp_path / "in" / "a.parquet")
    out = tmp_path / "out.json"
    arguments = ["evaluate", str(tmp_path / "in"), "--json", str(out), "--max-epochs", "3", "--jobs", "1"]
    assert streamgauge.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "linear" in printed
    assert "conv beats a random score" in printed
    pooled = json.loads(out.read_text())["pooled"]
    assert pooled["files"] == 1
    assert pooled["model"]["vus_pr"] > pooled["random"]["vus_pr"]


def test_without_files_the_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert streamgauge.main(["evaluate", str(tmp_path)]) == 2
    assert "no *.parquet file" in capsys.readouterr().err


def test_a_real_series_is_evaluated() -> None:
    path = need("tsb-nab/028_NAB_id_28_Facility_tr_1007_1st_3447.parquet")
    result = evaluate_file(path, path.name, EvaluationOptions(max_epochs=5))
    assert isinstance(result, FileResult)
    assert result.model.vus_pr > result.random.vus_pr


def test_the_order_of_the_rows_in_a_file_does_not_matter(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.parquet")
    shuffled = np.random.default_rng(5).permutation(1_200)
    pq.write_table(pq.read_table(path).take(pa.array(shuffled)), tmp_path / "b.parquet")
    options = EvaluationOptions(max_epochs=2, window=16, scores=tmp_path / "scores")
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
