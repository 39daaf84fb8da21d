"""Departures from the profile, and times of usual errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.artifact.season import Calendar, Profile, Season, UsualError
from detector.artifact.sum_limits import SumLimits
from detector.scoring.context.season import SeasonEvidence
from detector.scoring.context.spoken import ScaledRows, Spoken
from detector.scoring.context.usual_error import UsualErrors

MINUTE = 60 * 10**9
MONDAY = 20_458 * 1440  # 2026-01-05, in minutes since the epoch
HOUR_SECONDS = 3600


def season(zone: str = "UTC", days: dict[str, int] | None = None, unseen: int | None = None) -> Season:
    """One channel of a daily season, level = hour of the day, and one without."""
    curve_of = [0] * 7
    if unseen is not None:
        curve_of[unseen] = -1
    curve = tuple(float(hour) for hour in range(24))
    sums = SumLimits((10.0, 0.0), (0.25, 1.0), (0.0, 0.0), ((0.0, 0.0),) * 5, proof_rows=1)
    profile = Profile(tuple(curve_of), (curve,), ((0.5,) * 24,), 0.9)
    return Season(Calendar(zone, days or {}), 3600, (profile, Profile()), (1.0, 0.0), {"m": (2.0, 0.0)}, sums)


def evidence(minutes: np.ndarray, values: np.ndarray, one: Season, parts: int = 1) -> list[Spoken]:
    found = SeasonEvidence(one, None)
    found.name(np.array([0], np.int32), ["m"])
    scaled = np.stack([values, np.zeros(len(values))], axis=1).astype(np.float32)
    said = []
    for rows in np.array_split(np.arange(len(minutes)), parts):
        slot, quiet = np.zeros(len(rows), np.int32), np.zeros(len(rows), np.bool_)
        said.append(found.add(ScaledRows(slot, minutes[rows], minutes[rows] * MINUTE, scaled[rows], quiet)))
    return said


def usual(minutes: np.ndarray) -> np.ndarray:
    """What the profile says: the hour at the middle of each hour, straight lines between."""
    hour = (minutes % 1440) / 60 - 0.5
    low = np.floor(hour)
    first, second = low % 24, (low + 1) % 24
    return first + (hour - low) * (second - first) + 2.0


def test_the_expected_value_is_the_profile_with_the_baseline_of_the_series() -> None:
    minutes = MONDAY + np.arange(0, 2 * 1440, 7)
    [said] = evidence(minutes, usual(minutes), season())
    np.testing.assert_allclose(said.expected[:, 0], usual(minutes), atol=1e-9)
    assert np.isnan(said.expected[:, 1]).all()
    assert np.nanmax(said.cumulative) == 0.0


@given(st.floats(0.3, 5.0), st.sampled_from([-1, 1]), st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_a_departure_adds_up_and_does_not_depend_on_the_cut(size: float, side: int, parts: int) -> None:
    minutes = MONDAY + np.arange(300)
    values = usual(minutes) + side * np.where(np.arange(300) < 100, 0.0, size)
    [whole] = evidence(minutes, values, season())
    cut = evidence(minutes, values, season(), parts)
    np.testing.assert_array_equal(whole.cumulative, np.concatenate([one.cumulative for one in cut]))
    added = min(size / 0.5, 6.0) - 0.25
    first = 100 + int(np.ceil(10.0 / added)) - 1
    assert abs(np.flatnonzero(whole.cumulative >= 1.0)[0] - first) <= 1  # values are float32
    assert (whole.blame[150] > 0).tolist() == [True, False]


def test_nothing_adds_up_on_muted_days_and_on_weekdays_that_the_history_lacks() -> None:
    minutes = MONDAY + np.arange(1440)
    for one in (season(days={"2026-01-05": -1}), season(unseen=0)):
        [said] = evidence(minutes, usual(minutes) + 9.0, one)
        assert not (said.cumulative[60:-60] > 0).any()


def test_the_profile_follows_the_clock_of_the_zone_through_summer_time() -> None:
    """Berlin, 29 March 2026: 02:00 to 03:00 does not exist; the profile of 12:00 local stays at 12:00."""
    for day, offset in (("2026-03-28", 1), ("2026-03-30", 2), ("2026-10-24", 2), ("2026-10-26", 1)):
        noon = int(np.datetime64(f"{day}T12:00").astype("datetime64[m]").astype(int)) - 60 * offset
        [said] = evidence(np.array([noon]), np.zeros(1), season("Europe/Berlin"))
        assert said.expected[0, 0] == pytest.approx(usual(np.array([12 * 60]))[0])


def test_errors_count_less_at_their_usual_times_only() -> None:
    one = replace(season("Europe/Berlin"), usual_error=UsualError((6, 24 + 22), (3.0, 2.0)))
    minutes = MONDAY + np.arange(2 * 1440)
    factor = UsualErrors(one).factor(minutes * MINUTE)
    local = np.arange(2 * 1440) + 60
    wanted = np.where(local // 60 == 6, 3.0, np.where(local // 60 == 24 + 22, 2.0, 1.0))
    np.testing.assert_array_equal(factor, wanted)


def test_an_accepted_series_learns_its_departure_again() -> None:
    found = SeasonEvidence(season(), None)
    found.name(np.array([0], np.int32), ["m"])
    minutes = MONDAY + np.arange(600)
    values = np.stack([usual(minutes) + 2.0, np.zeros(600)], axis=1).astype(np.float32)

    def add(first: int, last: int) -> np.ndarray:
        rows = slice(first, last)
        zero = np.zeros(last - first, np.int32)
        return found.add(
            ScaledRows(zero, minutes[rows], minutes[rows] * MINUTE, values[rows], zero > 0)
        ).cumulative

    assert np.nanmax(add(0, 100)) >= 1.0
    found.accept(0)
    assert not (add(100, 600) >= 1.0).any()
