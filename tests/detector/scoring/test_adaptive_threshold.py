"""Thresholds that follow the stream: what raises them, what does not, and how often they let alarm."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.artifact.spec import Adaptation
from detector.scoring.adaptive_threshold import AdaptiveThreshold
from tests.support.strategies import cuts_of

PLAIN = Adaptation(lowest=0.5, rise=1.35, forgiveness=1.65, alarms_a_row=1e-3, learn_after=100)


def thresholds(
    error: np.ndarray, adaptation: Adaptation = PLAIN, cuts: list[int] | None = None
) -> np.ndarray:
    """The threshold at each row of one series."""
    adaptive = AdaptiveThreshold(adaptation)
    slot, row = np.zeros(len(error), np.int32), np.arange(len(error))
    bounds = itertools.pairwise(cuts or [0, len(error)])
    return np.concatenate([adaptive.thresholds(slot[a:b], row[a:b], error[a:b]) for a, b in bounds])


def alarms(error: np.ndarray, threshold: np.ndarray) -> int:
    """Runs above the threshold, eight quiet rows apart."""
    loud = np.flatnonzero(error > threshold)
    return 0 if len(loud) == 0 else 1 + int((np.diff(loud) > 8).sum())


def after_one_alarm(peak: float) -> float:
    """The threshold after a single alarm of this height, relative to the one before."""
    error = np.full(60, 0.3)
    error[20] = peak
    found = thresholds(error)
    return float(found[40] / found[19])


def test_a_clear_anomaly_raises_the_threshold_less_than_a_doubtful_one() -> None:
    assert after_one_alarm(1.0) == pytest.approx(1.35, rel=0.05)
    assert 1.0 < after_one_alarm(3.0) < 1.1
    assert after_one_alarm(100.0) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("alarms_a_row", [1e-2, 1e-3])
@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_alarms_come_as_often_as_allowed_wherever_the_threshold_started(
    alarms_a_row: float, scale: float
) -> None:
    error = scale * np.exp(0.3 * np.random.default_rng(0).standard_normal(300_000))
    adaptation = dataclasses.replace(PLAIN, lowest=1e-6, alarms_a_row=alarms_a_row)
    later = slice(100_000, None)
    found = alarms(error[later], thresholds(error, adaptation)[later])
    assert 0.5 < found / (200_000 * alarms_a_row) < 2


def test_a_threshold_never_sinks_below_its_floor() -> None:
    quiet = np.full(200_000, 0.01)
    assert thresholds(quiet).min() == pytest.approx(PLAIN.lowest)


def test_a_level_that_stays_is_learnt_and_one_that_passes_is_not() -> None:
    error = np.full(2_000, 0.5)
    error[100:150] = 8.0
    passing = thresholds(error)
    assert passing[100:150].max() <= 1.0
    error[100:] = 8.0
    staying = thresholds(error)
    assert staying[-1] > 8.0
    assert alarms(error, staying) == 1
    assert (error > staying).sum() < 400


def test_a_feed_that_fails_during_an_alarm_has_learnt_no_level() -> None:
    """Rows that never came, or that could not be scored, are not rows of the alarm."""
    error = np.full(400, 0.5)
    error[100:110] = 5.0
    went_on = thresholds(error)
    row = np.arange(400) + np.repeat([0, 5_000], [110, 290])
    absent = AdaptiveThreshold(PLAIN).thresholds(np.zeros(400, np.int32), row, error)
    unknown = thresholds(np.insert(error, 110, np.full(5_000, np.nan)))
    np.testing.assert_array_equal(absent, went_on)
    np.testing.assert_array_equal(np.delete(unknown, np.arange(110, 5_110)), went_on)


@given(data=st.data(), seed=st.integers(0, 2**32 - 1), num=st.integers(1, 300))
def test_any_cut_gives_bit_equal_thresholds(data: st.DataObject, seed: int, num: int) -> None:
    error = np.exp(np.random.default_rng(seed).standard_normal(num))
    error[np.random.default_rng(seed).random(num) < 0.1] = np.nan
    adaptation = dataclasses.replace(PLAIN, alarms_a_row=0.02, learn_after=20)
    cuts = data.draw(cuts_of(num))
    np.testing.assert_array_equal(thresholds(error, adaptation, cuts), thresholds(error, adaptation))


def test_series_do_not_mix_and_dropped_ones_start_anew() -> None:
    adaptive = AdaptiveThreshold(PLAIN)
    slot = np.repeat(np.array([0, 1], np.int32), 50)
    row = np.tile(np.arange(50), 2)
    error = np.full(100, 0.5)
    error[60] = 1.1
    both = adaptive.thresholds(slot, row, error)
    np.testing.assert_array_equal(both[:50], thresholds(error[:50]))
    np.testing.assert_array_equal(both[50:], thresholds(error[50:]))
    adaptive.drop(np.array([1], np.int32))
    again = adaptive.thresholds(np.array([1], np.int32), np.array([50]), np.array([0.5]))
    assert again.tolist() == [1.0]
