"""How fast the other channels change: whatever the cut, over holes, and what residuals do then."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.scoring.lasting.changes import RowChanges, of_others
from trainer.fitting.changes import fit_widening


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
def test_changes_equal_a_plain_loop_whatever_the_cut(sizes: list[int], seed: int) -> None:
    """Two series with holes, in pieces: the newest change, or an older one that has halved in 4 rows."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (2, sum(sizes), 3))
    values[rng.random(values.shape) < 0.2] = np.nan
    changes, found, at = RowChanges(3), [], 0
    for size in sizes:
        rows = values[:, at : at + size].reshape(-1, 3)
        part = changes.follow(np.repeat(np.array([4, 7], np.int32), size), rows)
        found.append(part.reshape(2, size, 3))
        at += size
    expected = np.zeros(values.shape)
    for series in range(2):
        for channel in range(3):
            last, held = np.nan, 0.0
            for row, value in enumerate(values[series, :, channel].tolist()):
                change = abs(value - last) if value == value and last == last else 0.0
                last = value if value == value else last
                held = max(change, held * 2**-0.25)
                expected[series, row, channel] = held
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=2e-3)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_the_change_of_a_channel_does_not_count_for_itself(seed: int, num_channels: int) -> None:
    rng = np.random.default_rng(seed)
    change = rng.exponential(1, (20, num_channels)).round(1)
    usual = rng.uniform(0.5, 2, num_channels)
    for channel in range(num_channels):
        others = np.delete(change / usual, channel, axis=1).max(axis=1, initial=0.0)
        np.testing.assert_allclose(of_others(change, usual)[:, channel], others)


@pytest.mark.parametrize("factor", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("seed", range(3))
def test_residuals_that_grow_with_the_changes_of_others_become_even(seed: int, factor: float) -> None:
    """One row of 20 is a start, in which the residuals of two channels are so many times larger."""
    rng = np.random.default_rng(seed)
    starts = rng.random(8_000) < 0.05
    change = np.abs(rng.normal(0, 0.1, (8_000, 3)))
    change[starts] += 2.0
    departure = rng.normal(0, 1, (8_000, 3))
    departure[starts, :2] *= factor
    wider = fit_widening([departure[:5_000], departure[5_000:]], [change[:5_000], change[5_000:]])
    even = departure / wider.of(change)
    assert even[starts].std() == pytest.approx(1.0, abs=0.2)
    assert even[~starts].std() == pytest.approx(1.0, abs=0.1)
    assert (wider.of(change) >= 1.0).all()


def test_a_fault_of_one_channel_does_not_widen_its_own_residual() -> None:
    change = np.abs(np.random.default_rng(1).normal(0, 0.1, (2_000, 2)))
    departure = np.random.default_rng(2).normal(0, 1, (2_000, 2))
    departure[::50] *= 6.0
    change[::50] += 2.0
    wider = fit_widening([departure], [change])
    jump = np.array([[5.0, 0.05]])
    assert wider.of(jump)[0, 0] < 1.3
    assert wider.of(jump)[0, 1] > 3.0
