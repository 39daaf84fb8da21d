"""How fast a level moves: the interval holds the truth, the cut does not matter, and words say it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.notify.trend_words import trend_words
from detector.scoring.context.trend import Line
from detector.scoring.context.trend_points import POINTS, TrendPoints

SERIES = np.zeros(1, np.int32)
CHANNELS = 60


def followed(departure: np.ndarray, first: int = 100) -> TrendPoints:
    """Return the points after departures [blocks, C] of one series."""
    points = TrendPoints(departure.shape[1])
    for array in points.arrays():
        array.reserve(1)
    for number, row in enumerate(departure):
        points.add(SERIES, np.array([first + number]), row[None])
    return points


def noise(seed: int, blocks: int, memory: float) -> np.ndarray:
    """Return noise with a memory of so many blocks, and a spread of 1."""
    rng = np.random.default_rng(seed)
    kept = np.exp(-1.0 / memory) if memory else 0.0
    rows = np.empty((blocks, CHANNELS))
    rows[0] = rng.normal(size=CHANNELS)
    for at in range(1, blocks):
        rows[at] = kept * rows[at - 1] + np.sqrt(1 - kept**2) * rng.normal(size=CHANNELS)
    return rows


@pytest.mark.parametrize(("memory", "variance"), [(0.0, 1.0), (2.0, 4.1), (6.0, 12.1)])
@pytest.mark.parametrize("a_day", [0.4, 1.0, -2.0])
@pytest.mark.parametrize("days", [12, 30])
def test_the_interval_of_the_rate_holds_the_true_one(
    memory: float, variance: float, a_day: float, days: int
) -> None:
    blocks = 24 + 4 * days
    ramp = a_day / 4 * np.maximum(np.arange(blocks) - 24, 0)
    points = followed(noise(days, blocks, memory) + ramp[:, None])
    trends = [one.trend() for one in points.lines(0, 100 + blocks, np.full(CHANNELS, variance)) if one]
    assert len(trends) > 0.8 * CHANNELS
    assert np.mean([one.low <= a_day <= one.high for one in trends]) >= 0.85
    if days == 30:
        assert np.median([one.high - one.low for one in trends]) < 0.5


@pytest.mark.parametrize("size", [5.0, 50.0])
def test_single_faults_move_the_rate_little(size: float) -> None:
    ramp = 0.25 * np.arange(80)[:, None] + np.zeros((1, 3))
    faulty = ramp.copy()
    faulty[[20, 41, 62]] += size
    [line] = followed(faulty[:, :1]).lines(0, 180, np.ones(1))
    assert line is not None
    assert line.a_day == pytest.approx(1.0, abs=0.05)


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 6 * POINTS), st.floats(0.05, 3.0), st.integers(0, 10**6), st.booleans())
def test_a_straight_ramp_is_found_exactly_whatever_its_length(
    blocks: int, a_block: float, first: int, falls: bool
) -> None:
    slope = -a_block if falls else a_block
    departure = slope * (np.arange(blocks) + 10.0)[:, None]
    [line] = followed(departure, first).lines(0, first + blocks, np.ones(1))
    assert line is not None
    assert line.a_day == pytest.approx(4 * slope, rel=0.02)
    now = line.level + line.a_day * line.days
    assert now == pytest.approx(slope * (blocks + 9.5), rel=0.02)


def test_a_level_that_does_not_move_or_is_unknown_has_no_line() -> None:
    still = np.column_stack([np.zeros(40), np.full(40, np.nan)])
    assert followed(still).lines(0, 140, np.ones(2)) == [None, None]


@settings(max_examples=50, deadline=None)
@given(
    st.floats(0.01, 5.0),
    st.floats(0.001, 2.0),
    st.floats(1.0, 200.0),
    st.floats(0.0, 1.0),
    st.floats(0.5, 40.0),
)
def test_the_days_until_a_limit_lie_in_their_interval(
    a_day: float, error: float, away: float, scatter: float, days: float
) -> None:
    for sign in (1.0, -1.0):
        line = Line(sign * a_day, error, 5.0, 0.1, scatter, days)
        limit = 5.0 + sign * (a_day * days + away)
        found = line.trend(lower=limit if sign < 0 else None, upper=limit if sign > 0 else None)
        assert found.limit == limit
        assert found.low < sign * a_day < found.high
        if found.may_be_zero:
            assert (found.days, found.days_high) == (None, None)
        elif found.days is not None:
            assert found.days == pytest.approx(away / a_day, rel=1e-6)
            assert found.days_low is not None
            assert found.days_low <= found.days
            assert found.days_high is None or found.days <= found.days_high


def test_a_limit_on_the_other_side_is_none_and_one_that_is_passed_is_reached() -> None:
    line = Line(1.0, 0.1, 5.0, 0.1, 0.1, 2.0)
    assert line.trend(lower=0.0).limit is None
    passed = line.trend(upper=6.0)
    assert (passed.days, passed.days_low, passed.days_high) == (0.0, 0.0, 0.0)
    assert trend_words(passed).endswith("limit 6 is reached")
    assert trend_words(Line(1e-4, 1e-6, 5.0, 0.1, 0.1, 2.0).trend(upper=6.0)).endswith("not within ten years")
