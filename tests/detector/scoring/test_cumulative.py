"""Sums of small departures: equal to a plain loop, whatever the cut, and bounded in both directions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detector.artifact.reference import Reference
from detector.scoring.lasting.cumulative import CumulativeEvidence, clipped_sums


def reference(threshold: float = 20.0, allowance: float = 0.25, channels: int = 1) -> Reference:
    one = (0.0,) * channels
    return Reference(
        weights=(one,), spread=(1.0,) * channels, baseline=one, allowance=(allowance,) * channels,
        unknown=(0.1,) * channels, threshold=(threshold,) * channels, influence=(one,) * channels,
        lowest=one, highest=one,
    )  # fmt: skip


def cumulative(evidence: CumulativeEvidence, departure: NDArray[np.float64]) -> NDArray[np.float64]:
    num = len(departure)
    wide = departure.reshape(num, -1)
    return evidence.add(np.zeros(num, np.int32), wide, np.zeros(num, np.bool_)).cumulative


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_sums_of_any_series_equal_a_plain_loop(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    lengths = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=5))
    slot = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    steps = rng.integers(-200, 200, (len(slot), 3)) + data.draw(st.integers(-50, 150))
    before = rng.integers(0, 900, (len(lengths), 3))
    cap = np.array([900, 1_000, 5_000])
    found = clipped_sums(steps, slot, before, cap)
    total = before.copy()
    for at, (series, step) in enumerate(zip(slot.tolist(), steps, strict=True)):
        total[series] = np.clip(total[series] + step, 0, cap)
        assert found[at].tolist() == total[series].tolist()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_evidence_does_not_depend_on_the_cut(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    departure = rng.normal(0.4, 1.0, (sum(sizes), 2))
    departure[rng.random(departure.shape) < 0.1] = np.nan
    whole = cumulative(CumulativeEvidence(reference(channels=2)), departure)
    cut = CumulativeEvidence(reference(channels=2))
    parts = [cumulative(cut, part) for part in np.split(departure, np.cumsum(sizes)[:-1])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("seed", range(5))
def test_half_a_spread_is_found_within_200_rows(seed: int, sign: float) -> None:
    noise = np.random.default_rng(seed).standard_normal(1_200)
    departure = noise + np.where(np.arange(1_200) >= 1_000, 0.5 * sign, 0.0)
    found = cumulative(CumulativeEvidence(reference()), departure)
    assert (found[:1_000] < 1.0).all()
    assert (found[1_000:] > 1.0).any()


@pytest.mark.parametrize("size", [0.8, 2.0, 50.0])
def test_evidence_falls_soon_after_a_fault_of_any_size_and_length(size: float) -> None:
    departure = np.where(np.arange(5_200) < 5_000, size, 0.0)
    found = cumulative(CumulativeEvidence(reference()), departure)
    assert (found[200:5_000] > 1.2).all()
    assert (found[5_000 + 64 :] < 0.8).all()


def test_one_wild_row_is_not_evidence_that_lasts() -> None:
    departure = np.zeros(50)
    departure[20] = 1e6
    assert cumulative(CumulativeEvidence(reference()), departure).max() < 0.2


def test_a_gap_holds_the_sum_and_is_unknown_itself() -> None:
    evidence = CumulativeEvidence(reference())
    before = cumulative(evidence, np.ones(10))[-1]
    assert np.isnan(cumulative(evidence, np.full(500, np.nan))).all()
    assert cumulative(evidence, np.array([0.25]))[0] == before


def test_a_channel_that_is_left_out_does_not_count() -> None:
    evidence = CumulativeEvidence(reference(threshold=0.0))
    assert np.isnan(cumulative(evidence, np.full(100, 3.0))).all()


def test_a_series_without_a_baseline_is_allowed_more() -> None:
    rows, slot = np.full((10, 1), 0.3), np.zeros(10, np.int32)
    known = CumulativeEvidence(reference()).add(slot, rows, np.zeros(10, np.bool_))
    unknown = CumulativeEvidence(reference()).add(slot, rows, np.ones(10, np.bool_))
    assert known.cumulative[-1] > 0.0 == unknown.cumulative[-1]
