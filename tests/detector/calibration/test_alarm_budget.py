"""Budgets of everything together: how they are read, shared and met."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.artifact.spec import Artifact
from detector.calibration.alarm_budget import parse_budget, read_budget, rows_per_event, shared_by
from detector.calibration.peaks_over_threshold import decluster
from detector.calibration.recalibrate import recalibrated
from tests.support.artifacts import make_artifact

UNITS = ("minute", "hour", "day", "week", "month", "quarter", "year")
MINUTE_NS = 60 * 10**9


@given(st.integers(1, 5_000), st.sampled_from(UNITS), st.integers(1, 10_000))
def test_a_budget_in_all_gives_every_series_its_equal_part(hundredths: int, unit: str, series: int) -> None:
    number = hundredths / 100
    shared = shared_by(f"{number}/{unit} in all", series)
    assert parse_budget(shared) == pytest.approx(parse_budget(f"{number}/{unit}") / series)
    assert str(read_budget(shared)) == str(read_budget(str(read_budget(shared))))
    assert shared_by(shared, series + 1) == shared, "a number that is stated stays"


@pytest.mark.parametrize(
    "text", ["2/hour in all", " 2 / Hours  IN ALL ", "2/hour in all of 10 series", "2.0/hour in all"]
)
def test_spaces_plurals_and_capitals_do_not_matter(text: str) -> None:
    assert shared_by(text, 10).split(" of ")[-1] == "10 series"
    assert parse_budget(shared_by(text, 10)) == pytest.approx(0.2 / 3600)


@pytest.mark.parametrize("text", ["1/week a series", "1/week per series", "1/week"])
def test_a_budget_of_each_series_needs_no_number_of_series(text: str) -> None:
    assert parse_budget(shared_by(text, None)) == pytest.approx(1 / 604_800)
    assert read_budget(text).words == "1/week per series"


def test_what_is_missing_or_impossible_is_said_with_the_remedy() -> None:
    with pytest.raises(
        ValueError, match="does not state how many series share it; write the number, such as"
    ):
        parse_budget("3/day in all")
    with pytest.raises(ValueError, match="number of series must be above 0, such as 40"):
        read_budget("3/day in all of 0 series")
    with pytest.raises(ValueError, match="number must be above 0, such as 1/day"):
        read_budget("0/day in all")


def plant(spreads: list[float], num_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return errors of series whose noise differs, one segment each, and the segments."""
    rng = np.random.default_rng(seed)
    errors = [np.exp(spread * rng.standard_normal(num_rows)) for spread in spreads]
    return np.concatenate(errors), np.repeat(np.arange(len(spreads)), num_rows)


def of_plant(errors: np.ndarray, segments: np.ndarray, series: int | None) -> Artifact:
    artifact = make_artifact(interval_ns=MINUTE_NS)
    training = {} if series is None else {"num_series": series}
    spec = replace(artifact.spec, training=training)
    held_out = {"segment": segments.astype(np.float64), "error": errors}
    return replace(artifact, spec=spec, held_out=held_out)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("budget", ["24/day in all", "6/day in all"])
def test_all_series_together_keep_the_budget_and_a_noisy_one_takes_most(budget: str, seed: int) -> None:
    spreads = [0.1] * 9 + [0.3]
    model = recalibrated(of_plant(*plant(spreads, 6_000, seed), 10), budget, adaptive=False)
    errors, segments = plant(spreads, 200_000, seed + 100)
    value = model.spec.threshold.value
    per_series = [
        len(decluster(errors[segments == at], segments[segments == at], value, 8)) for at in range(10)
    ]
    allowed = 200_000 * 10 / rows_per_event(model.spec.threshold.alarm_budget, MINUTE_NS)
    assert sum(per_series) <= 2 * allowed + 3 * np.sqrt(allowed)
    assert sum(per_series) >= allowed / 30, "the budget is there to be used"
    assert per_series[9] > 0.9 * sum(per_series), "the shares go by evidence"


def test_more_series_share_a_budget_at_a_higher_threshold() -> None:
    errors, segments = plant([0.2] * 5, 4_000, 1)
    values = [
        recalibrated(of_plant(errors, segments, 5), budget, adaptive=False).spec.threshold
        for budget in ("5/day in all", "1/day", "5/day in all of 50 series")
    ]
    assert values[0].value == pytest.approx(values[1].value, rel=1e-12)
    assert values[1].value < values[2].value
    assert [value.alarm_budget for value in values] == [
        *("5/day in all of 5 series", "1/day", "5/day in all of 50 series")
    ]


def test_a_model_that_does_not_know_its_series_asks_for_the_number() -> None:
    model = of_plant(*plant([0.2], 4_000, 2), None)
    with pytest.raises(ValueError, match="does not state how many series"):
        recalibrated(model, "3/day in all")
    stated = recalibrated(model, "3/day in all of 4 series")
    assert stated.spec.threshold.alarm_budget == "3/day in all of 4 series"
