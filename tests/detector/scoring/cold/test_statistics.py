"""Blocks of rows: their mean and deviation, the same for any cut, and not moved by a wild stretch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.scoring.cold.statistics import BLOCKS, ColdStatistics
from tests.support.strategies import cuts_of

SIZE = 8
ROWS = BLOCKS * SIZE


def rows(seed: int, num: int = ROWS) -> np.ndarray:
    values = np.random.default_rng(seed).normal((5.0, 1e6), (2.0, 1e-2), (num, 2))
    values[np.random.default_rng(seed).random(values.shape) < 0.1] = np.nan
    return values


def filled(values: np.ndarray) -> ColdStatistics:
    statistics = ColdStatistics(values.shape[1])
    statistics.add(0, SIZE, values)
    return statistics


def winsorised(blocks: np.ndarray) -> np.ndarray:
    ordered = np.sort(blocks, axis=0)
    return np.clip(blocks, ordered[1], ordered[-2])


@given(seed=st.integers(0, 50))
def test_the_estimate_is_that_of_winsorised_blocks(seed: int) -> None:
    values = rows(seed)
    center, spread = filled(values).estimate(0)
    blocks = values.reshape(BLOCKS, SIZE, 2)
    means = winsorised(np.nanmean(blocks, axis=1))
    within = winsorised(np.nanvar(blocks, axis=1)).mean(axis=0)
    assert center == pytest.approx(means.mean(axis=0))
    assert spread == pytest.approx(np.sqrt(means.var(axis=0) + within))


@given(cuts=cuts_of(ROWS + 20))
def test_the_cut_into_calls_changes_no_bit(cuts: list[int]) -> None:
    values = rows(3, ROWS + 20)
    parts = ColdStatistics(2)
    for start, stop in pairwise(cuts):
        parts.add(0, SIZE, values[start:stop])
    for one, other in zip(parts.arrays(), filled(values).arrays(), strict=True):
        np.testing.assert_array_equal(one.data[0], other.data[0])


def test_rows_behind_a_full_set_are_left_out() -> None:
    statistics = filled(rows(1, ROWS + 50))
    assert statistics.is_full(0)
    assert statistics.num_rows(0) == ROWS
    assert not filled(rows(1, ROWS - 1)).is_full(0)


@given(seed=st.integers(0, 50))
def test_two_blocks_become_the_block_of_all_their_rows(seed: int) -> None:
    values = rows(seed, 2 * ROWS)
    statistics = filled(values)
    statistics.merge(0)
    statistics.add(0, SIZE, values[ROWS:])
    wide = ColdStatistics(2)
    wide.add(0, 2 * SIZE, values)
    assert statistics.is_full(0)
    assert statistics.num_rows(0) == 2 * ROWS
    for one, other in zip(statistics.estimate(0), wide.estimate(0), strict=True):
        assert one == pytest.approx(other, rel=1e-6)


def test_a_wild_stretch_moves_the_estimate_by_little() -> None:
    values = np.random.default_rng(2).normal(5.0, 2.0, (ROWS, 1))
    usual = filled(values).estimate(0)
    values[20:24] = -9_999.0
    wild = filled(values).estimate(0)
    assert wild[0] == pytest.approx(usual[0], abs=0.5)
    assert wild[1] == pytest.approx(usual[1], rel=0.3)


def test_a_constant_channel_has_no_spread_and_one_with_few_values_none_at_all() -> None:
    values = np.full((ROWS, 2), 0.1)
    values[: 5 * SIZE, 1] = np.nan
    center, spread = filled(values).estimate(0)
    assert center[0] == pytest.approx(0.1, rel=1e-12)
    assert spread[0] < 1e-15
    assert np.isnan([center[1], spread[1]]).all()
