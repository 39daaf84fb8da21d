"""The local time of rows: UTC nanoseconds become days and seconds of a zone, in columns.

The offset of a zone is looked up once for each day of UTC, and kept. A day on which the clocks change has two
offsets, and the second between them.

Letters: n rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from detector.artifact.season import DAY_SECONDS, Calendar

_SECOND_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONDAY = 3
"""The first day of the epoch, a Thursday, lies so many days after a Monday."""


class LocalTime:
    """The clock of one zone. Not thread-safe.

    Args:
        zone: IANA name.
    """

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._days: dict[int, tuple[int, int, int]] = {}

    def seconds(self, time_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what the clock shows, in seconds since 1970-01-01 00:00 of that clock, int64 [n].

        Args:
            time_ns: UTC, nanoseconds since the epoch, int64 [n].
        """
        utc = time_ns // _SECOND_NS
        if len(utc) == 0:
            return utc
        days, place = np.unique(utc // DAY_SECONDS, return_inverse=True)
        known = np.array([self._day(day) for day in days.tolist()], np.int64)[place]
        local: NDArray[np.int64] = utc + np.where(utc < known[:, 1], known[:, 0], known[:, 2])
        return local

    def _day(self, day: int) -> tuple[int, int, int]:
        """Return the offset before a second of a day of UTC, this second, and the offset from it on."""
        if day not in self._days:
            first, last = day * DAY_SECONDS, (day + 1) * DAY_SECONDS - 1
            before, after = self._offset(first), self._offset(last)
            while before != after and last - first > 1:
                middle = (first + last) // 2
                first, last = (middle, last) if self._offset(middle) == before else (first, middle)
            self._days[day] = (before, last, after)
        return self._days[day]

    def _offset(self, second: int) -> int:
        """Return local time minus UTC, in seconds."""
        offset = (_EPOCH + timedelta(seconds=second)).astimezone(self._zone).utcoffset()
        return 0 if offset is None else round(offset.total_seconds())


def weekdays(days: NDArray[np.int64], like: Mapping[int, int]) -> NDArray[np.int64]:
    """Return the weekday of each day, 0 (Monday) to 6, or what the calendar states for it, int64 [n].

    Args:
        days: Days since 1970-01-01, int64 [n].
        like: Special days -> the weekday that each is like (`detector.artifact.season.Calendar`).
    """
    found: NDArray[np.int64] = (days + _MONDAY) % 7
    if like:
        some, place = np.unique(days, return_inverse=True)
        stated = np.array([like.get(day, -2) for day in some.tolist()], np.int64)[place]
        found = np.where(stated > -2, stated, found)
    return found


def special_days(calendar: Calendar) -> dict[int, int]:
    """Return the special days of a calendar by their number since 1970-01-01."""
    return {(date.fromisoformat(day) - _EPOCH.date()).days: like for day, like in calendar.days.items()}
