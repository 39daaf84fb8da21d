"""Thresholds: the tail fit against SciPy, and budgets met on data whose tail is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from detector.artifact.budget_shares import SCORE
from detector.calibration.alarm_budget import parse_budget, rows_per_event
from detector.calibration.peaks_over_threshold import (
    decluster,
    drift,
    estimated_quantile,
    fit_tail,
    peaks_over_threshold,
    sharpness_of,
)

SECOND_NS = 10**9


def one_segment(num: int) -> np.ndarray:
    return np.zeros(num, np.int64)


@pytest.mark.parametrize(
    ("text", "per_second"),
    [("1/week", 1 / 604800), ("2/day", 2 / 86400), ("0.5 / hours", 0.5 / 3600), ("1/Month", 1 / 2629800)],
)
def test_budgets_are_events_a_second(text: str, per_second: float) -> None:
    assert parse_budget(text) == pytest.approx(per_second)


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1/fortnight", "-1/day", "0/fortnight", "one/day", "1/day/day"),
        *("1/day in", "in all", "1/day of 3 series", "1/day in all of series", "1/day in all of -3 series"),
    ],
)
def test_other_budgets_are_refused_with_the_units(text: str) -> None:
    with pytest.raises(ValueError, match=r"not NUMBER/UNIT.*minute, hour, day, week, month"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["0/week", "0.0/weeks"])
def test_a_budget_of_no_alarm_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(ValueError, match=r"'0.*': the number must be above 0, such as 1/week"):
        parse_budget(text)


def test_rows_per_event_scales_with_the_interval() -> None:
    assert rows_per_event("1/day", 60 * SECOND_NS) == pytest.approx(1440)


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.3])
def test_the_tail_fit_finds_the_parameters_that_scipy_draws(shape: float) -> None:
    excess = stats.genpareto.rvs(shape, scale=2.0, size=40_000, random_state=1)
    tail = fit_tail(excess, one_segment(len(excess)), run_rows=0)
    assert tail is not None
    assert tail.shape == pytest.approx(shape, abs=0.12)
    expected = stats.genpareto.isf(1e-4, shape, scale=2.0)
    assert tail.quantile(1e-4) == pytest.approx(expected, rel=0.15)


def test_the_budget_is_met_on_data_like_the_calibration() -> None:
    rng = np.random.default_rng(3)
    threshold = peaks_over_threshold(
        rng.exponential(size=20_000), one_segment(20_000), "1/hour", SECOND_NS, adaptive=False
    )
    later = rng.exponential(size=2_000_000)
    events = len(decluster(later, one_segment(len(later)), threshold.value, 4))
    assert 0.1 < events / (len(later) / 3600) < 1.5


def test_a_limit_has_its_share_of_the_budget_and_its_threshold_is_the_best_estimate() -> None:
    errors = np.random.default_rng(0).exponential(size=2_000)
    alone, limited = (
        peaks_over_threshold(errors, one_segment(2_000), "1/week", 60 * SECOND_NS, adaptive)
        for adaptive in (False, True)
    )
    assert alone.value > limited.value
    assert alone.limit is None
    assert limited.limit is not None
    assert limited.limit.alarms_a_row == pytest.approx(SCORE / 10_080)


@pytest.mark.parametrize("num", [300, 3_000])
def test_the_upper_bound_holds_in_nearly_all_draws(num: int) -> None:
    """Of exponential errors the true quantile is known; the best estimate misses it half of the time."""
    rate = 1e-4
    above, upper = 0, 0
    for seed in range(200):
        errors = np.random.default_rng(seed).exponential(size=num)
        found = estimated_quantile(errors, np.arange(num), rate)
        above += found.value > -np.log(rate)
        upper += found.upper > -np.log(rate)
    assert 40 < above < 160
    assert upper >= 160
    assert upper > above


@pytest.mark.parametrize(("allowed", "least", "most"), [(0, 9.0, 9.0), (1, 5.0, 9.0), (2, 1.0, 5.0)])
def test_few_peaks_are_counted_against_what_is_allowed(allowed: int, least: float, most: float) -> None:
    errors = np.full(60, 1.0) + np.arange(60) * 1e-6
    errors[[10, 40]] = 9.0, 5.0
    found = estimated_quantile(errors, one_segment(60), allowed / 60)
    assert found.tail is None
    assert least <= found.value <= most
    assert len(decluster(errors, one_segment(60), found.value, 8)) <= allowed


def test_errors_that_grew_raise_the_threshold_by_as_much() -> None:
    errors = np.random.default_rng(0).exponential(size=4_000)
    grown = errors * np.repeat([1.0, 1.5], 2_000)
    assert drift(errors) < 1.1
    assert drift(grown) == pytest.approx(1.5, rel=0.1)
    assert drift(grown[::-1]) == 1.0
    assert drift(errors[:10]) == 1.0


def test_neighbouring_alarms_are_one_event_and_segments_keep_apart() -> None:
    errors = np.array([0, 5, 6, 0, 0, 7, 0, 0, 0, 8, 9.0])
    segments = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    assert decluster(errors, segments, 1.0, run_rows=2).tolist() == [6, 7, 8, 9]
    assert decluster(errors, segments, 1.0, run_rows=3).tolist() == [7, 8, 9]


def test_a_budget_rarer_than_the_calibration_never_lies_below_its_largest_error() -> None:
    errors = np.random.default_rng(0).uniform(size=500)
    threshold = peaks_over_threshold(errors, one_segment(500), "1/month", SECOND_NS, adaptive=False)
    assert threshold.value >= errors.max()


def test_too_few_peaks_fall_back_on_the_maximum() -> None:
    threshold = peaks_over_threshold(np.full(30, 2.0), one_segment(30), "1/week", SECOND_NS, adaptive=False)
    assert (threshold.method, threshold.value) == ("maximum", 3.0)


def test_unknown_errors_are_left_out_and_none_at_all_is_refused() -> None:
    errors = np.array([np.nan, 1.0, 2.0, np.nan])
    assert peaks_over_threshold(errors, one_segment(4), "1/day", SECOND_NS, False).parameters["rows"] == 2
    with pytest.raises(ValueError, match="no held-out row has an error"):
        peaks_over_threshold(np.full(4, np.nan), one_segment(4), "1/day", SECOND_NS, False)


def test_errors_of_zero_still_give_a_positive_threshold() -> None:
    assert peaks_over_threshold(np.zeros(100), one_segment(100), "1/day", SECOND_NS, False).value > 0


def test_a_usual_row_scores_a_half_or_less() -> None:
    """This holds even if errors vary little; otherwise no score would show that an alarm has ended."""
    rng = np.random.default_rng(0)
    for errors in (0.8 + 0.02 * rng.standard_normal(4_000), rng.exponential(size=4_000)):
        threshold = peaks_over_threshold(errors, one_segment(4_000), "1/day", SECOND_NS, adaptive=False)
        score = (np.median(errors) / threshold.value) ** threshold.sharpness
        assert score <= 0.5 or threshold.sharpness == 8.0
    assert sharpness_of(np.ones(10), 1.0) == 8.0
    assert sharpness_of(np.ones(10), 3.0) == 1.0
