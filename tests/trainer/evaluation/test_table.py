"""The evaluation for people and for machines: both rivals stand beside the model."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from detector.offline.measuring.coverage import Coverage
from detector.offline.measuring.measures import count_alarms
from trainer.evaluation.json_report import as_json
from trainer.evaluation.operator_measures import EventOutcome, OperatorMeasures, read_measures
from trainer.evaluation.options import EvaluationOptions
from trainer.evaluation.results import BudgetResult, EvaluationResult, Failure, FileResult, Ranking
from trainer.evaluation.table import comparison, print_evaluation

NAN = float("nan")
FOUND = count_alarms(np.array([0, 1, 1, 0, 0]), np.array([False, False, True, False, True]))


def covered(file: str, judged: int, late: int = 0, **unjudged: int) -> Coverage:
    """The coverage of a file."""
    reasons = {name: (num, 1) for name, num in unjudged.items()}
    rows = judged + sum(unjudged.values())
    never = {} if judged else {file: next(iter(unjudged))}
    return Coverage(rows, judged, 1, int(judged > 0), reasons, (0, 0), late, never)


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
        coverage=covered(file, 8, warming=2),
        test_coverage=covered(file, 4, warming=1),
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
    assert rows == ["a", "pooled: conv", "linear, plain error", "random score", "1/week"]
    assert "not evaluated: broken.parquet: not a Parquet file" in text
    assert "1 files evaluated, 1 failed." in text


def test_what_an_operator_sees_stands_beside_the_ranking() -> None:
    found = EventOutcome("", NAN, incidents=1, found=True, open_share=0.25, seconds=90.0, place=None)
    missed = EventOutcome("", NAN, incidents=0, found=False, open_share=0.0, seconds=NAN, place=None)
    week = OperatorMeasures((found, missed), 3, {"series": 3}, 2.0)
    day = OperatorMeasures((found, found), 8, {"series": 8}, 2.0)
    one = replace(result("a", 0.3, 0.4), operator=week, further=(BudgetResult("1/day", FOUND, 4.0, day),))
    shown = EvaluationResult(EvaluationOptions(budgets=("1/day",)), (one, one), ())
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed(shown).splitlines()]
    assert ["1/week", "4", "0.50", "0.12", "1.00", "1.50", "-", "-", "1.5"] in lines
    assert ["1/day", "4", "1.00", "0.25", "1.00", "4.00", "-", "-", "1.5"] in lines
    document = as_json(shown)
    assert isinstance(document["pooled"], dict)
    assert document["pooled"]["operator"]["1/day"]["false_per_week"] == 4.0
    assert isinstance(document["files"], list)
    assert read_measures(document["files"][0]["operator"]["1/week"]).false_incidents == 3


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


def test_alarms_stand_beside_the_rows_that_were_judged() -> None:
    text = printed(evaluation(result("a", 0.3, 0.4), result("b", 0.5, 0.6)))
    assert "2 false alarms of 8 rows judged in 2 of 2 series, of the test rows" in text
    assert "ranked by the scores of 16 rows judged in 2 of 2 series, of all rows" in text
    assert "not judged, warming: 2 rows in 2 series" in text
    assert "JUDGED" not in text


@pytest.mark.parametrize(
    ("judged", "late", "unjudged", "words"),
    [
        (0, 0, {"warming": 5}, "NOT JUDGED: b: none of its 5 test rows (warming 5): its figures say little"),
        (0, 0, {"gap": 2, "missing": 3}, "NOT JUDGED: b: none of its 5 test rows (gap 2, missing 3)"),
        (2, 0, {"out_of_range": 3}, "HARDLY JUDGED: b: only 2 of its 5 test rows (out of range 3)"),
        (4, 6, {}, "HARDLY JUDGED: b: only 4 of its 10 test rows (dropped 6)"),
        (3, 0, {"warming": 3}, None),
        (5, 0, {}, None),
    ],
)
def test_a_file_that_is_not_or_hardly_judged_stands_out(
    judged: int, late: int, unjudged: dict[str, int], words: str | None
) -> None:
    poor = replace(result("b", 0.3, 0.4), test_coverage=covered("b", judged, late, **unjudged))
    text = printed(evaluation(result("a", 0.3, 0.4), poor))
    assert "JUDGED: a" not in text
    assert (words in text) if words else ("JUDGED: b" not in text)
    assert ("series never judged: b" in text) == (judged == 0)


def test_the_share_is_that_of_all_rows_and_never_rounded_to_all_or_none() -> None:
    shares = {(0, 5): "0 %", (5, 0): "100 %", (99_999, 1): "99.9 %", (1, 99_999): "0.1 %", (1, 2): "33.3 %"}
    for (judged, warming), words in shares.items():
        reasons = {"warming": warming} if warming else {}
        one = replace(result("b", 0.3, 0.4), coverage=covered("b", judged, **reasons))
        assert f" {words} " in printed(evaluation(one))


def test_pooled_coverage_adds_rows_series_and_reasons() -> None:
    pooled = Coverage.pooled(
        [covered("a", 4, warming=1), covered("b", 0, gap=2, warming=3), covered("c", 5, 2)]
    )
    assert (pooled.rows, pooled.judged_rows, pooled.series, pooled.judged_series) == (15, 9, 3, 2)
    assert pooled.unjudged == {"warming": (4, 2), "gap": (2, 1)}
    assert (pooled.dropped_readings, pooled.never_judged) == (2, {"b": "gap"})
    assert pooled.share == pytest.approx(9 / 17)
    assert np.isnan(Coverage.pooled([]).share)
    document = as_json(evaluation(result("a", 0.3, 0.4), result("b", 0.3, 0.4)))
    assert document["pooled"]["test_coverage"]["judged"] == {"rows": 8, "series": 2}
    assert document["files"][0]["coverage"]["warming"] == {"rows": 2, "series": 1}
