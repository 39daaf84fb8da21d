"""The evaluation for people and for machines: both rivals stand beside the model."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from detector.offline.measures import count_alarms
from trainer.evaluation.json_report import as_json
from trainer.evaluation.options import EvaluationOptions
from trainer.evaluation.results import EvaluationResult, Failure, FileResult, Ranking
from trainer.evaluation.table import comparison, print_evaluation

NAN = float("nan")
FOUND = count_alarms(np.array([0, 1, 1, 0, 0]), np.array([False, False, True, False, True]))


def result(file: str, model: float, linear: float, random: float = 0.1) -> FileResult:
    return FileResult(
        file=file,
        window=16,
        rows=10,
        train_rows=5,
        buffer=7,
        model=Ranking(model, 0.5, 0.6),
        linear=Ranking(linear, 0.4, 0.7),
        random=Ranking(random, 0.2, 0.5),
        alarms=FOUND,
        budgeted=0.5,
        test_days=2.0,
        fit_seconds=1.5,
        score_rows_per_second=100.0,
    )


def evaluation(
    *results: FileResult, family: str = "conv", failures: tuple[Failure, ...] = ()
) -> EvaluationResult:
    return EvaluationResult(EvaluationOptions(family=family), results, failures)


def printed(shown: EvaluationResult) -> str:
    console = Console(width=200, file=io.StringIO())
    print_evaluation(shown, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_comparison_names_a_rival_that_the_model_does_not_beat() -> None:
    words = comparison(evaluation(result("a", 0.3, 0.4), result("b", 0.5, 0.6)))
    assert "conv beats a random score: mean VUS-PR 0.400 against 0.100, better on 2 of 2 files" in words
    assert "conv DOES NOT BEAT the linear model with plain error: mean VUS-PR 0.400 against 0.500" in words
    assert "DOES NOT BEAT a random score" in comparison(evaluation(result("a", 0.1, 0.1)))


def test_the_linear_model_is_compared_with_its_own_plain_form() -> None:
    words = comparison(evaluation(result("a", 0.3, 0.2), family="linear"))
    assert "linear beats the linear model with plain error: mean VUS-PR 0.300 against 0.200" in words


def test_files_without_events_have_no_part_in_the_comparison() -> None:
    quiet = replace(result("b", NAN, NAN), random=Ranking(NAN, NAN, NAN))
    assert "better on 1 of 1 files with events" in comparison(evaluation(result("a", 0.3, 0.2), quiet))
    assert "No file has an event" in comparison(evaluation(quiet))


def test_the_table_has_a_row_a_file_and_one_for_each_rival() -> None:
    failures = (Failure("broken.parquet", "not a Parquet file"),)
    text = printed(evaluation(result("a.parquet", 0.31, 0.42), failures=failures))
    rows = [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")]
    assert rows == ["a", "pooled: conv", "linear, plain error", "random score"]
    assert "not evaluated: broken.parquet: not a Parquet file" in text
    assert "1 files evaluated, 1 failed." in text


def test_json_has_the_figures_of_the_model_and_of_both_rivals() -> None:
    document = as_json(evaluation(result("a", 0.3, 0.4), result("b", 0.5, 0.6)))
    pooled = document["pooled"]
    assert isinstance(pooled, dict)
    assert pooled["model"]["vus_pr"] == pytest.approx(0.4)
    assert pooled["linear"]["vus_pr"] == pytest.approx(0.5)
    assert pooled["random"]["auc_roc"] == pytest.approx(0.5)
    assert (pooled["events"], pooled["event_recall"], pooled["false_alarms"]) == (2, 1.0, 2)
    assert pooled["false_alarms_per_10k_rows"] == pytest.approx(10_000 * 2 / 10)
    assert pooled["false_alarms_per_day"] == pytest.approx(2 / 4)
    assert (pooled["budgeted_alarms"], pooled["realised_to_budgeted"]) == (1.0, 2.0)
    assert (pooled["fit_seconds"], pooled["score_rows_per_second"]) == (3.0, 100.0)
    files = document["files"]
    assert isinstance(files, list)
    assert [one["file"] for one in files] == ["a", "b"]
    assert {"precision", "recall", "f1", "median_delay_rows", "fit_seconds"} <= files[0].keys()
