"""The end of a history with rows of wrong times."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.fitting.usual_end import TimeSpan, usual_end

MINUTE, DAY = 60 * 10**9, 86_400 * 10**9


def end_of(times: np.ndarray[tuple[int], np.dtype[np.int64]], pieces: int = 1) -> int:
    """The end of times that come in pieces."""
    span = TimeSpan()
    for piece in np.array_split(times, pieces):
        span.add(piece)
    assert span.first_ns == times.min()
    return span.end_ns


@given(st.integers(2_000, 6_000), st.integers(0, 2), st.integers(2, 4_000), st.integers(1, 7))
def test_a_few_times_far_in_the_future_are_not_the_end(rows: int, wrong: int, days: int, pieces: int) -> None:
    times = np.arange(rows, dtype=np.int64) * MINUTE
    late = times[-1] + days * DAY + np.arange(wrong) * MINUTE
    shuffled = np.random.default_rng(0).permutation(np.append(times, late))
    assert end_of(shuffled, pieces) == times[-1]


@given(st.lists(st.integers(0, 20 * 24 * 60), min_size=2, unique=True))
def test_rows_without_long_gaps_end_with_the_last_one(minutes: list[int]) -> None:
    times = np.sort(np.array(minutes, np.int64)) * MINUTE
    expected = times[-1]
    if (np.diff(times) > DAY).any() and times[-1] - times[-2] > DAY:
        expected = times[-2]  # one row alone
    assert end_of(times) == expected


def test_many_rows_after_a_long_gap_are_the_end() -> None:
    times = np.append(np.arange(5_000), 10**7 + np.arange(100)).astype(np.int64) * MINUTE
    assert end_of(times) == times[-1]
    runs = np.array([0, 10**7], np.int64) * MINUTE
    assert usual_end(runs, runs + 50 * MINUTE, np.array([5_000, 100])) == runs[1] + 50 * MINUTE
    assert usual_end(runs, runs + 50 * MINUTE, np.array([5_000, 1])) == 50 * MINUTE
