"""Local time in columns, against the standard library, over changes of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.artifact.season import Calendar
from detector.scoring.context.local_time import LocalTime, special_days, weekdays

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia")
SECOND = 10**9


def oracle(second: int, zone: str) -> int:
    """The clock of the zone, read as if it were UTC."""
    local = datetime.fromtimestamp(second, UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=UTC)
    return round(local.timestamp())


@given(st.sampled_from(ZONES), st.lists(st.integers(0, 4_000_000_000), min_size=1, max_size=20))
def test_times_are_those_of_the_standard_library(zone: str, seconds: list[int]) -> None:
    found = LocalTime(zone).seconds(np.array(seconds) * SECOND)
    assert found.tolist() == [oracle(second, zone) for second in seconds]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "when", ["2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-04-04", "2026-10-03"]
)
def test_every_minute_around_a_change_of_the_clocks_is_right(zone: str, when: str) -> None:
    first = round(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp()) - 43_200
    seconds = np.arange(first, first + 2 * 86_400, 60)
    clock = LocalTime(zone)
    found = np.concatenate([clock.seconds(part * SECOND) for part in np.array_split(seconds, 7)])
    assert found.tolist() == [oracle(second, zone) for second in seconds.tolist()]


def test_special_days_are_like_another_weekday() -> None:
    like = special_days(Calendar("UTC", {"2026-12-25": 6, "2026-12-26": -1}))
    days = np.arange(*(np.datetime64(day).astype(int) for day in ("2026-12-24", "2026-12-29")))
    assert weekdays(days, {}).tolist() == [3, 4, 5, 6, 0]
    assert weekdays(days, like).tolist() == [3, 6, -1, 6, 0]
