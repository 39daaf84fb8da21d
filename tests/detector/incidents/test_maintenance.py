"""Maintenance windows against the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.incidents.filters.maintenance import OneOff, Recurring

HOUR_NS = 3_600_000_000_000
MONDAY, SUNDAY = 0, 6


def covers(window: OneOff | Recurring, *moments: str) -> list[bool]:
    times = [round(datetime.fromisoformat(one).timestamp()) * 10**9 for one in moments]
    return window.covers(np.array(times, np.int64)).tolist()


def every(days: set[int], at: time, hours: float, zone: str = "Europe/Berlin") -> Recurring:
    return Recurring(frozenset(days), at, round(hours * HOUR_NS), zone)


def test_a_window_has_its_start_and_not_its_end() -> None:
    assert OneOff(10, 20).covers(np.array([9, 10, 19, 20])).tolist() == [False, True, True, False]
    window = every({MONDAY}, time(2), 1, "UTC")
    moments = ("2026-10-05T01:59:59Z", "2026-10-05T02:00:00Z", "2026-10-05T02:59:59Z", "2026-10-05T03:00:00Z")
    assert covers(window, *moments) == [False, True, True, False]


def test_a_window_may_last_beyond_midnight_and_for_days() -> None:
    night = every({SUNDAY}, time(23), 3, "UTC")
    assert covers(night, "2026-10-05T01:59:59Z", "2026-10-05T02:00:00Z") == [True, False]
    weekend = every({5}, time(0), 48, "UTC")
    assert covers(weekend, "2026-10-04T23:59:59Z", "2026-10-05T00:00:00Z") == [True, False]


def test_the_wall_clock_moves_with_summer_time() -> None:
    window = every({SUNDAY}, time(4), 1)
    assert covers(window, "2026-10-18T02:30:00Z", "2026-10-18T03:30:00Z") == [True, False]  # summer, UTC+2
    assert covers(window, "2026-11-01T02:30:00Z", "2026-11-01T03:30:00Z") == [False, True]  # winter, UTC+1


def test_a_start_that_summer_time_skips_is_an_hour_later_and_one_that_comes_twice_is_the_first() -> None:
    window = every({SUNDAY}, time(2, 30), 1)
    assert covers(window, "2026-03-29T01:15:00Z", "2026-03-29T01:30:00Z") == [False, True]  # 03:30 in summer
    assert covers(window, "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z") == [True, False]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue"])
def test_zones_a_day_ahead_and_behind(zone: str) -> None:
    window = every({MONDAY}, time(0), 1, zone)
    start = datetime(2026, 10, 5, tzinfo=ZoneInfo(zone))
    moments = (start - timedelta(seconds=1), start, start + timedelta(minutes=59), start + timedelta(hours=1))
    assert covers(window, *(one.isoformat() for one in moments)) == [False, True, True, False]


@given(
    days=st.sets(st.integers(0, 6), min_size=1),
    minute=st.integers(0, 1439),
    hours=st.sampled_from([0.5, 3.0, 25.0, 168.0]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Chatham"]),
    moments=st.lists(st.integers(0, 365 * 86_400), min_size=1, max_size=5),
)
def test_windows_agree_with_a_search_through_the_days(
    days: set[int], minute: int, hours: float, zone: str, moments: list[int]
) -> None:
    window = every(days, time(minute // 60, minute % 60), hours, zone)
    times = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=one) for one in moments]
    expected = []
    for now in times:
        starts = [
            datetime.combine(now.date() - timedelta(days=back), window.at, ZoneInfo(zone)).astimezone(UTC)
            for back in range(-2, 10)
            if (now.date() - timedelta(days=back)).weekday() in days
        ]
        expected.append(any(start <= now < start + timedelta(hours=hours) for start in starts))
    assert covers(window, *(one.isoformat() for one in times)) == expected


def test_impossible_windows_are_refused() -> None:
    for make in (lambda: OneOff(5, 5), lambda: every(set(), time(2), 1), lambda: every({1}, time(2), 0)):
        with pytest.raises(ValueError, match=r"end|weekdays|duration"):
            make()
