"""Page levels: what raises them, what does not, and how often they let alarm."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.artifact.spec import PageLimit
from detector.scoring.page_level import PageLevel
from tests.support.strategies import cuts_of

PLAIN = PageLimit(alarms_a_row=1e-3, rise=1.5, forgiveness=1.65, long_rows=100.0)


def levels(evidence: np.ndarray, limit: PageLimit = PLAIN, cuts: list[int] | None = None) -> np.ndarray:
    """The level at each row of one series."""
    page = PageLevel(limit)
    slot, row = np.zeros(len(evidence), np.int32), np.arange(len(evidence))
    bounds = itertools.pairwise(cuts or [0, len(evidence)])
    return np.concatenate([page.levels(slot[a:b], row[a:b], evidence[a:b]) for a, b in bounds])


def alarms(evidence: np.ndarray, level: np.ndarray) -> int:
    """Runs above the level, eight quiet rows apart."""
    loud = np.flatnonzero(evidence > level)
    return 0 if len(loud) == 0 else 1 + int((np.diff(loud) > 8).sum())


@given(data=st.data(), seed=st.integers(0, 2**32 - 1), num=st.integers(1, 300))
def test_any_cut_gives_bit_equal_levels_that_are_never_negative(
    data: st.DataObject, seed: int, num: int
) -> None:
    rng = np.random.default_rng(seed)
    evidence = rng.normal(-0.5, 1.0, num)
    evidence[rng.random(num) < 0.1] = np.nan
    limit = dataclasses.replace(PLAIN, alarms_a_row=0.02)
    whole = levels(evidence, limit)
    np.testing.assert_array_equal(levels(evidence, limit, data.draw(cuts_of(num))), whole)
    assert whole.min() >= 0.0


@given(peak=st.floats(0.01, 8.0), rows=st.integers(1, 500), quiet=st.integers(0, 7))
def test_a_level_stands_still_in_an_alarm(peak: float, rows: int, quiet: int) -> None:
    evidence = np.full(60 + rows + 100, -2.0)
    evidence[5] = 0.01  # raises it before
    evidence[60 : 60 + rows] = peak + 1.0
    evidence[62 : 62 + min(quiet, rows - 2)] = -2.0
    level = levels(evidence)
    assert len(np.unique(level[60 : 60 + rows])) == 1
    assert level[60] > 0.0


def raised_by(evidence: np.ndarray) -> float:
    return float(levels(evidence).max())


@given(peak=st.floats(0.05, 5.0), rows=st.integers(1, 400))
def test_a_larger_or_longer_alarm_raises_the_level_less(peak: float, rows: int) -> None:
    def alarm(peak: float, rows: int) -> np.ndarray:
        evidence = np.full(rows + 60, -2.0)
        evidence[20 : 20 + rows] = peak
        return evidence

    here = raised_by(alarm(peak, rows))
    assert here == 0.0 or raised_by(alarm(peak + 0.5, rows)) < here
    assert here == 0.0 or raised_by(alarm(peak, rows + 100)) < here
    assert raised_by(alarm(0.01, 1)) > 0.3
    assert raised_by(alarm(peak, 1_000)) < 1e-3
    assert raised_by(alarm(10.0, rows)) < 1e-3


@given(
    seed=st.integers(0, 2**32 - 1),
    alarms_a_row=st.sampled_from([1e-2, 1e-3]),
    rise=st.floats(1.2, 4.0),
    every=st.integers(10, 60),
    reach=st.floats(0.05, 1.0),
)
def test_small_alarms_are_limited_on_any_stream(
    seed: int, alarms_a_row: float, rise: float, every: int, reach: float
) -> None:
    """However often a row is a little above the threshold, pages keep to the budget and a first burst."""
    num = 6_000
    rng = np.random.default_rng(seed)
    evidence = np.full(num, -2.0)
    loud = np.flatnonzero(rng.random(num) < 1 / every)
    evidence[loud] = rng.uniform(0, reach, len(loud))
    limit = PageLimit(alarms_a_row, rise=rise, forgiveness=1e9, long_rows=1e9)
    allowed = num * alarms_a_row + reach / np.log(rise) + 2
    # Doubt is at least exp(-1 / log(1e9)) an alarm.
    assert alarms(evidence, levels(evidence, limit)) <= 1.3 * allowed


def test_without_alarms_a_level_falls_back_to_the_threshold_by_rows() -> None:
    evidence = np.full(4_000, -2.0)
    evidence[10:200:20] = 0.9
    level = levels(evidence)
    assert level[250] > 0.2
    assert (np.diff(level[250:]) <= 0).all()
    assert level[-1] == 0.0


def test_alarms_within_the_budget_leave_no_lasting_level() -> None:
    evidence = np.full(10_000, -2.0)
    evidence[10::1_000] = 0.2
    level = levels(evidence, PLAIN)
    assert (level[9::1_000] == 0.0).all()
    assert level.max() <= np.log(PLAIN.rise)


def test_a_feed_that_fails_during_an_alarm_ends_none() -> None:
    """Rows that never came, or that could not be scored, are not rows of the alarm."""
    evidence = np.full(400, -2.0)
    evidence[100:110] = 0.5
    went_on = levels(evidence)
    unknown = levels(np.insert(evidence, 110, np.full(5_000, np.nan)))
    np.testing.assert_array_equal(np.delete(unknown, np.arange(110, 5_110)), went_on)
    page = PageLevel(PLAIN)
    assert page.is_open(np.array([0])).tolist() == [False]
    for part, is_open in ((slice(0, 105), True), (slice(105, 117), True), (slice(117, 119), False)):
        row = np.arange(400)[part]
        page.levels(np.zeros(len(row), np.int32), row, evidence[part])
        assert page.is_open(np.array([0])).tolist() == [is_open]


def test_series_do_not_mix_and_dropped_ones_start_anew() -> None:
    page = PageLevel(PLAIN)
    slot = np.repeat(np.array([0, 1], np.int32), 50)
    row = np.tile(np.arange(50), 2)
    evidence = np.full(100, -2.0)
    evidence[60] = 0.1
    both = page.levels(slot, row, evidence)
    np.testing.assert_array_equal(both[:50], levels(evidence[:50]))
    np.testing.assert_array_equal(both[50:], levels(evidence[50:]))
    assert both[-1] > 0.0
    page.drop(np.array([1], np.int32))
    assert page.levels(np.array([1], np.int32), np.array([50]), np.array([-1.0])).tolist() == [0.0]


def test_evidence_in_other_units_closes_by_its_own_share() -> None:
    """A score to the eighth power falls below 0.8 while its error is still above it."""
    evidence = np.full(100, -0.05)
    evidence[10] = 0.5
    row = np.arange(100)
    outcomes = []
    for close in (np.log(0.8), np.log(0.8) / 8):
        page = PageLevel(PLAIN, float(close))
        page.levels(np.zeros(100, np.int32), row, evidence)
        outcomes.append(bool(page.is_open(np.array([0]))[0]))
    assert outcomes == [True, False]
    assert pytest.approx(0.0) == levels(evidence)[0]


@pytest.mark.parametrize("factor", [3.0, 6.0])
def test_a_fault_keeps_its_height_above_the_threshold_after_others(factor: float) -> None:
    evidence = np.full(3_000, -2.0)
    evidence[100:900:40] = 0.05 + 0.1 * np.arange(20)  # a slow climb of short alarms
    before = levels(evidence)[1_000]
    evidence[1_000] = np.log(factor) + before
    doubt = (levels(evidence)[1_010] - before) / np.log(PLAIN.rise)
    page = PageLevel(PLAIN, above_level=True)
    row = np.arange(len(evidence))
    relative = page.levels(np.zeros(len(row), np.int32), row, evidence)
    assert before > 0.2
    assert doubt < np.exp(-np.log(factor) / np.log(PLAIN.forgiveness))
    assert relative.max() > levels(evidence).max()


@given(within=st.integers(0, 8), seed=st.integers(0, 2**32 - 1))
def test_alarms_within_a_fault_raise_nothing_and_those_after_it_do(within: int, seed: int) -> None:
    """Short alarms 40 rows apart; those that begin while other evidence holds a fault leave no doubt."""
    evidence = np.full(4_000, -2.0)
    evidence[np.arange(10, 4_000, 40)] = np.random.default_rng(seed).uniform(0.5, 1.5, 100)
    slot, row, one = np.zeros(4_000, np.int32), np.arange(4_000), np.zeros(1, np.int32)
    page = PageLevel(dataclasses.replace(PLAIN, alarms_a_row=1e-6))
    begin, end = 40 * within, 40 * within + 1_200
    before = page.levels(slot[:begin], row[:begin], evidence[:begin])
    page.stand(one, np.array([True]))
    assert page.are_within(one)[0]
    inside = page.levels(slot[begin:end], row[begin:end], evidence[begin:end])
    page.stand(one, np.array([False]))
    after = page.levels(slot[end:], row[end:], evidence[end:])
    assert np.ptp(inside) < 0.01
    assert len(before) == 0 or inside[0] >= before.max() - 0.01
    assert after.max() > inside[0] + 0.1
