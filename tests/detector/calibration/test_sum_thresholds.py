"""Thresholds of sums of departures: above the history where few alarms are allowed, else within a share."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from detector.artifact.reference import LARGE_DEPARTURES
from detector.calibration.cumulative_threshold import (
    SumTail,
    cumulative_threshold,
    large_sum_tail,
    sum_tail,
    sums_of,
)

_ALLOWANCE = 0.25


def departures(seed: int, rows: int, heavy: bool = False) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return rng.standard_t(5, rows) if heavy else rng.standard_normal(rows)


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_larger_budget_never_has_a_higher_threshold(seed: int, heavy: bool) -> None:
    tails = (
        sum_tail([np.clip(departures(seed, 8_000, heavy), -3, 3)], _ALLOWANCE),
        large_sum_tail([departures(seed, 8_000, heavy)], _ALLOWANCE),
    )
    for tail in tails:
        found = [cumulative_threshold(tail, _ALLOWANCE, rate) for rate in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)]
        assert found == sorted(found, reverse=True)
        assert found[0] >= tail.least


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("rate", [1e-3, 1e-4])
def test_sums_of_the_same_law_keep_to_what_is_allowed(rate: float, heavy: bool) -> None:
    """Eight histories of 20,000 rows, each with ten times as many rows after it."""
    events = dict.fromkeys(("small", *LARGE_DEPARTURES), 0.0)
    for seed in range(8):
        past, after = departures(seed, 20_000, heavy), departures(seed + 100, 200_000, heavy)
        small = cumulative_threshold(sum_tail([np.clip(past, -3, 3)], _ALLOWANCE), _ALLOWANCE, rate)
        found: dict[str | float, NDArray[np.bool_]] = {
            "small": sums_of(np.clip(after, -3, 3), _ALLOWANCE) >= small
        }
        for beyond in LARGE_DEPARTURES:
            large = cumulative_threshold(large_sum_tail([past], _ALLOWANCE, beyond), _ALLOWANCE, rate)
            total = np.cumsum(np.abs(after) - _ALLOWANCE - beyond)
            found[beyond] = total - np.minimum.accumulate(np.minimum(total, 0.0)) >= large
        for name, above in found.items():
            rows = np.flatnonzero(above)
            events[name] += 1 + np.count_nonzero(np.diff(rows) > 64) if len(rows) else 0
    assert max(events.values()) <= 8 * 200_000 * rate


def test_an_older_tail_without_its_rows_stays_above_the_largest_sum() -> None:
    new = sum_tail([np.clip(departures(1, 20_000), -3, 3)], _ALLOWANCE)
    old = SumTail(new.level, new.scale, new.rate, least=500.0, variance=new.variance)
    assert cumulative_threshold(old, _ALLOWANCE, 1e-2) == 500.0
    assert cumulative_threshold(new, _ALLOWANCE, 1e-2) < 50.0


def test_known_rows_alone_count() -> None:
    whole = departures(2, 4_000)
    holes = np.insert(whole, 1_000, np.full(500, np.nan))
    assert large_sum_tail([holes], _ALLOWANCE) == large_sum_tail([whole], _ALLOWANCE)
    assert large_sum_tail([np.full(100, np.nan)], _ALLOWANCE).scale == 0.0
