"""A threshold of few held-out rows leaves room for what more rows would show."""

from __future__ import annotations

import numpy as np
import pytest

from detector.calibration.peaks_over_threshold import peaks_over_threshold

MINUTES_5 = 300 * 10**9


def threshold(errors: np.ndarray, budget: str) -> tuple[float, str]:
    found = peaks_over_threshold(errors, np.zeros(len(errors), np.int64), budget, MINUTES_5, adaptive=True)
    return found.value, found.method


@pytest.mark.parametrize("rows", [60, 120, 250])
def test_it_rises_with_the_rows_that_the_budget_spans(rows: int) -> None:
    errors = np.repeat(np.random.default_rng(rows).uniform(0.5, 1.0, rows // 20), 20)  # too few peaks to fit
    values = []
    for budget in ("1/hour", "1/day", "1/week", "1/month"):
        value, method = threshold(errors, budget)
        assert method == "maximum"
        values.append(value)
    assert values[0] <= errors.max() < values[2] < values[3] < 1.7 * errors.max()
    assert values[0] <= values[1] < values[2]


def test_a_fitted_tail_is_met_at_half_of_the_budget() -> None:
    errors = np.random.default_rng(0).exponential(1.0, 200_000)
    value, method = threshold(errors, "1/day")
    assert method == "peaks_over_threshold"
    above = (errors > value).sum() / (len(errors) / 288)
    assert 0.3 < above < 0.7
