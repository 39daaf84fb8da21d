"""Drift: the population stability index of a stream of errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.metrics.drift import ENOUGH_ROWS, NUM_BINS, Drift, stability_index


def oracle(expected: np.ndarray, found: np.ndarray) -> float:
    """Return the index, computed from its definition term by term."""
    total = 0.0
    for one, other in zip(expected, found, strict=True):
        p, q = max(one / sum(expected), 1e-4), max(other / sum(found), 1e-4)
        total += (q - p) * float(np.log(q) - np.log(p))
    return total


COUNTS = st.lists(st.integers(0, 10_000), min_size=3, max_size=3).filter(sum)


@given(COUNTS, COUNTS)
def test_the_index_is_its_definition_and_never_negative(expected: list[int], found: list[int]) -> None:
    index = stability_index(np.array(expected, float), np.array(found, float))
    assert index == pytest.approx(oracle(np.array(expected), np.array(found)))
    assert index >= 0
    assert stability_index(np.array(expected, float), np.array(expected, float)) == 0


def test_it_is_unknown_until_enough_rows_were_scored() -> None:
    errors = np.random.default_rng(0).gamma(2.0, size=50_000)
    drift = Drift(errors)
    drift.add(errors[: ENOUGH_ROWS - 1])
    drift.add(np.full(100, np.nan))  # unknown rows are none
    assert np.isnan(drift.index)
    drift.add(errors[:1])
    assert 0 <= drift.index < 0.1


def test_without_memory_loss_it_is_the_index_of_all_rows_so_far() -> None:
    rng = np.random.default_rng(1)
    held_out, stream = rng.gamma(2.0, size=20_000), 1.3 * rng.gamma(2.0, size=5_000)
    drift = Drift(held_out, memory=10**15)
    for part in np.array_split(stream, 7):
        drift.add(part)
    edges = [-np.inf, *np.quantile(held_out, np.arange(1, NUM_BINS) / NUM_BINS), np.inf]
    expected, found = (
        np.histogram(-values, -np.array(edges)[::-1])[0] for values in (held_out, stream)
    )  # negated: numpy's bins are open on the right, ours on the left
    assert drift.index == pytest.approx(oracle(expected, found))


@given(st.integers(1, 4_000))
def test_the_cut_into_turns_does_not_matter(cut: int) -> None:
    rng = np.random.default_rng(2)
    held_out, stream = rng.normal(size=1_000), rng.normal(0.3, size=4_000)
    whole, parts = Drift(held_out, memory=500), Drift(held_out, memory=500)
    whole.add(stream)
    for part in (stream[:cut], stream[cut:]):
        parts.add(part)
    assert parts.index == pytest.approx(whole.index)


def test_a_shift_raises_the_index_and_its_end_lowers_it() -> None:
    rng = np.random.default_rng(3)
    drift = Drift(rng.gamma(2.0, size=20_000), memory=2_000)
    drift.add(rng.gamma(2.0, size=10_000))
    assert drift.index < 0.1
    drift.add(3 * rng.gamma(2.0, size=10_000))
    assert drift.index > 0.25
    drift.add(rng.gamma(2.0, size=30_000))
    assert drift.index < 0.1


@pytest.mark.parametrize("held_out", [np.empty(0), np.full(100, np.nan), np.full(100, 3.0)])
def test_without_a_distribution_from_calibration_it_stays_unknown(held_out: np.ndarray) -> None:
    drift = Drift(held_out)
    drift.add(np.linspace(0, 1, 2 * ENOUGH_ROWS))
    assert np.isnan(drift.index)
