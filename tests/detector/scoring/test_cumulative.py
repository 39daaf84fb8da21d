"""Sums of small departures: equal to a plain loop, whatever the cut, and bounded in both directions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detector.artifact.reference import Reference
from detector.scoring.lasting.cumulative import CumulativeEvidence, Steps, alarm_sums


def reference(threshold: float = 20.0, allowance: float = 0.25, channels: int = 1) -> Reference:
    one = (0.0,) * channels
    return Reference(
        weights=(one,), spread=(1.0,) * channels, baseline=one, allowance=(allowance,) * channels,
        unknown=(0.1,) * channels, threshold=(threshold,) * channels, influence=(one,) * channels,
        lowest=one, highest=one,
    )  # fmt: skip


def warm(one: Reference) -> CumulativeEvidence:
    """Return sums of a series in which the reference has held for 256 rows."""
    evidence, no = CumulativeEvidence(one), np.zeros(256, np.bool_)
    evidence.add(np.zeros(256, np.int32), np.zeros((256, len(one.spread))), no, no)
    return evidence


def cumulative(
    evidence: CumulativeEvidence, departure: NDArray[np.float64], alarm: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    num = len(departure)
    wide = departure.reshape(num, -1)
    no = np.zeros(num, np.bool_)
    return evidence.add(np.zeros(num, np.int32), wide, no, no if alarm is None else alarm).cumulative


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_sums_of_any_series_equal_a_plain_loop(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    lengths = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=5))
    slot = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    added = rng.integers(-200, 200, (len(slot), 3)) + data.draw(st.integers(-50, 150))
    shape, one = added.shape, 1 << 16
    known = rng.random(shape) < 0.9
    starts = known & (rng.random(shape) < data.draw(st.sampled_from([0.0, 0.02])))
    allowance = rng.integers(0, 50, shape)
    steps = Steps(np.where(known, added, 0), allowance, known, starts)
    before = rng.integers(0, 900, (len(lengths), 3))
    usual = rng.integers(0, 300, before.shape) * (rng.random(before.shape) < 0.3)
    clear = np.where(usual > 0, rng.integers(0, 2_000, before.shape), 0)
    learnt, limit = np.stack([usual, clear], axis=1), np.array([900, 1_000, 5_000])
    found = alarm_sums(steps, slot, before, learnt, limit)
    total = before.copy()
    for at, series in enumerate(slot.tolist()):
        for k in np.flatnonzero(known[at]).tolist():
            raised = max(int(allowance[at, k]), min(int(usual[series, k]) >> 1, one))
            departure = int(added[at, k] + allowance[at, k])
            total[series, k] += departure - raised
            half = int(usual[series, k]) >> 1
            if usual[series, k]:
                clear[series, k] = max(0, int(clear[series, k]) + half - max(0, departure))
                if clear[series, k] > max(24 * half, 20 * one * one // int(usual[series, k])):
                    total[series, k] = 0
            if starts[at, k] and total[series, k] < int(0.9 * limit[k]):
                total[series, k] = int(0.9 * limit[k])
                usual[series, k] = usual[series, k] or departure
            if total[series, k] >= limit[k]:
                old = int(usual[series, k]) or departure
                usual[series, k] = max(1, old + ((departure - old) >> 6))
                total[series, k] = min(total[series, k], int(1.1 * limit[k]))
            elif total[series, k] <= 0:
                total[series, k] = usual[series, k] = clear[series, k] = 0
        assert found[at].tolist() == total[series].tolist()
    np.testing.assert_array_equal(learnt, np.stack([usual, clear], axis=1))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_evidence_does_not_depend_on_the_cut(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    departure = rng.normal(0.4, 1.0, (sum(sizes), 2))
    departure[rng.random(departure.shape) < 0.1] = np.nan
    alarm = rng.random(len(departure)) < 0.1
    departure[rng.random(departure.shape) < 0.05] *= 8.0
    one = replace(reference(channels=2), large_threshold=(20.0, 30.0, 9.0, 0.0))
    whole = cumulative(warm(one), departure, alarm)
    cut, edges = warm(one), np.cumsum(sizes)[:-1]
    pieces = zip(np.split(departure, edges), np.split(alarm, edges), strict=True)
    parts = [cumulative(cut, part, some) for part, some in pieces]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("seed", range(5))
def test_half_a_spread_is_found_within_200_rows(seed: int, sign: float) -> None:
    noise = np.random.default_rng(seed).standard_normal(1_200)
    departure = noise + np.where(np.arange(1_200) >= 1_000, 0.5 * sign, 0.0)
    found = cumulative(warm(reference()), departure)
    assert (found[:1_000] < 1.0).all()
    assert (found[1_000:] > 1.0).any()


@pytest.mark.parametrize("threshold", [20.0, 150.0])
@pytest.mark.parametrize("size", [0.8, 2.0, 50.0])
def test_evidence_falls_soon_after_a_fault_of_any_size_and_length(size: float, threshold: float) -> None:
    departure = np.where(np.arange(5_200) < 5_000, size, 0.0)
    found = cumulative(warm(reference(threshold)), departure)
    assert (found[400:5_000] > 1.05).all()
    fall = 0.33 * threshold / max(0.25, min(1.0, 0.6 * size / 2))
    assert (found[5_000 + int(fall) + 1 :] < 0.8).all()


@pytest.mark.parametrize("size", [2.0, 3.0, 8.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_fault_that_alarms_by_its_score_is_held_from_its_first_row(seed: int, size: float) -> None:
    rows = np.arange(700)
    fault = (rows >= 100) & (rows < 500)
    departure = 0.3 * np.random.default_rng(seed).standard_normal(700) + size * fault
    alarm = (rows >= 100) & (rows < 104)
    found = cumulative(warm(reference(150.0)), departure, alarm)
    assert (found[:100] < 0.2).all()
    assert (found[100:500] > 0.85).all()
    assert (found[500 + 60 :] < 0.8).all()


def test_an_alarm_starts_no_sum_of_a_channel_that_does_not_depart() -> None:
    departure = np.full((40, 2), 0.2)
    departure[20:, 1] = 2.5
    evidence = warm(reference(100.0, channels=2))
    no = np.zeros(40, np.bool_)
    found = evidence.add(np.zeros(40, np.int32), departure, no, np.arange(40) == 20)
    assert found.lasting[20].tolist() == [0.0, 90.0]


def test_one_wild_row_is_not_evidence_that_lasts() -> None:
    departure = np.zeros(50)
    departure[20] = 1e6
    assert cumulative(warm(reference()), departure).max() < 0.2


def test_evidence_stands_still_over_a_gap() -> None:
    evidence = warm(reference())
    before = cumulative(evidence, np.ones(10))[-1]
    assert before > 0.0
    assert (cumulative(evidence, np.full(500, np.nan)) == before).all()
    assert cumulative(evidence, np.array([0.25]))[0] == before


@settings(max_examples=40, deadline=None)
@given(st.floats(4.0, 900.0), st.floats(6.0, 80.0), st.sampled_from([-1.0, 1.0]))
def test_one_wild_row_counts_by_its_size_and_is_over_soon(size: float, limit: float, sign: float) -> None:
    departure = np.zeros(300)
    departure[100] = sign * size
    found = cumulative(warm(replace(reference(200.0), large_threshold=(0.0, limit))), departure)
    assert found[100] == pytest.approx((size - 3.25) / limit, abs=0.02)
    assert (found[:100] < 0.1).all()
    assert (found[101 + max(30, int(0.4 * limit / 3.25)) :] < 0.8).all()


@pytest.mark.parametrize("size", [5.0, 12.0, 60.0])
@pytest.mark.parametrize("period", [0, 4, 7])
def test_large_departures_of_either_sign_are_found_and_held(size: float, period: int) -> None:
    """A level, or an oscillation about the usual level: in alarm within some rows, and until its end."""
    rows = np.arange(600)
    wave = np.sin(2 * np.pi * rows / period) * 1.6 if period else np.ones(600)
    departure = np.where((rows >= 100) & (rows < 400), size * wave, 0.0)
    noise = 0.5 * np.random.default_rng(1).standard_normal(600)
    found = cumulative(warm(replace(reference(150.0), large_threshold=(0.0, 12.0))), departure + noise)
    assert (found[:100] < 0.5).all()
    assert (found[100 + int(12.0 / max(0.5, size - 4.0)) + 8 : 400] > 0.8).all()
    assert (found[400 + 60 :] < 0.8).all()


@pytest.mark.parametrize("size", [2.0, 2.5, 3.0])
@pytest.mark.parametrize("period", [3, 8, 40])
def test_an_oscillation_of_some_spreads_is_found_by_its_size_alone(size: float, period: int) -> None:
    rows = np.arange(900)
    wave = np.where((rows >= 300) & (rows < 600), size * 2**0.5 * np.sin(2 * np.pi * rows / period), 0.0)
    departure = wave + np.random.default_rng(period).standard_normal(900)
    limits = replace(reference(150.0), large_threshold=(40.0, 0.0))
    found = cumulative(warm(limits), departure)
    assert (found[:300] < 1.0).all()
    assert (found[520:600] >= 0.9).all()
    assert (found[740:] < 0.9).all()
    assert cumulative(warm(replace(limits, large_threshold=(0.0, 0.0))), departure).max() < 1.0


def test_a_channel_that_is_left_out_does_not_count() -> None:
    evidence = warm(reference(threshold=0.0))
    assert np.isnan(cumulative(evidence, np.full(100, 3.0))).all()


def test_a_series_without_a_baseline_is_allowed_more() -> None:
    rows, slot = np.full((10, 1), 0.3), np.zeros(10, np.int32)
    no, yes = np.zeros(10, np.bool_), np.ones(10, np.bool_)
    known = warm(reference()).add(slot, rows, no, no)
    unknown = warm(reference()).add(slot, rows, yes, no)
    assert known.cumulative[-1] > 0.0 == unknown.cumulative[-1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_a_channel_counts_once_its_reference_has_held(sizes: list[int], seed: int) -> None:
    """Two series: which rows count is the same for any cut, and equals a plain loop."""
    rng = np.random.default_rng(seed)
    departure = np.where(rng.random((2 * sum(sizes), 1)) < 0.01, 9.0, 0.0) + rng.normal(
        0, 0.2, (2 * sum(sizes), 1)
    )
    one = reference(threshold=4.0)
    evidence, found, lasting = CumulativeEvidence(one), list[float](), list[float]()
    for start, size in zip(np.cumsum([0, *sizes[:-1]]).tolist(), sizes, strict=True):
        rows = departure[2 * start : 2 * (start + size)]
        slot, no = np.repeat(np.array([0, 1], np.int32), size), np.zeros(2 * size, np.bool_)
        part = evidence.add(slot, rows, no, no)
        found += part.cumulative[size:].tolist()
        lasting += part.lasting[size:, 0].tolist()
    run, held = 0, False
    for value, total in zip(found, lasting, strict=True):
        run = 0 if total / 4.0 >= 0.5 else run + 1
        held = held or run >= 256
        assert value == total / 4.0 if held else np.isnan(value)
    assert evidence.num_counting(np.array([1], np.int32)) == held
