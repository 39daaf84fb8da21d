"""Maintenance windows: times in which bad rows of a series open no incident.

A window is one period, or it recurs on days of the week at a local time. A recurring window starts at the
local time of its zone and lasts for its duration, even if the clocks change meanwhile. A start that the
change to summer time skips is one hour later. A start that occurs twice is the first one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

_DAY_NS = 86_400_000_000_000
_EPOCH = date(1970, 1, 1)
_LAST_DAY = (date.max - _EPOCH).days - 1
_LONGEST_NS = 7 * _DAY_NS


@dataclass(frozen=True, slots=True)
class OneOff:
    """A single period, from `start_ns` (included) to `end_ns` (excluded)."""

    start_ns: int
    end_ns: int

    def __post_init__(self) -> None:
        if self.start_ns >= self.end_ns:
            raise ValueError("end must be after start")

    def covers(self, timestamp_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of these times, int64 [n], are inside: bool [n]."""
        inside: NDArray[np.bool_] = (timestamp_ns >= self.start_ns) & (timestamp_ns < self.end_ns)
        return inside


@dataclass(frozen=True, slots=True)
class Recurring:
    """A period that starts on `weekdays` (0: Monday) at `at`, local time of `zone` (an IANA name)."""

    weekdays: frozenset[int]
    at: time
    duration_ns: int
    zone: str

    def __post_init__(self) -> None:
        if not 0 < self.duration_ns <= _LONGEST_NS:
            raise ValueError("duration must be above 0 and at most 7 days")
        if not self.weekdays:
            raise ValueError("weekdays must name at least one day")

    def covers(self, timestamp_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of these times, int64 [n], are inside: bool [n]."""
        inside = np.zeros(len(timestamp_ns), np.bool_)
        for start_ns in self._starts_near(timestamp_ns):
            inside |= (timestamp_ns >= start_ns) & (timestamp_ns < start_ns + self.duration_ns)
        return inside

    def _starts_near(self, timestamp_ns: NDArray[np.int64]) -> list[int]:
        """Return the starts whose windows might contain one of these times."""
        days = np.unique(timestamp_ns // _DAY_NS)
        back = np.arange(-1 - -(-self.duration_ns // _DAY_NS), 2)  # a zone may be a day ahead or behind
        near = np.unique(np.add.outer(days, back))
        starts = [_start_of(self, day) for day in near.tolist() if 0 <= day <= _LAST_DAY]
        return [start for start in starts if start is not None]


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A maintenance window, and its series: names, or patterns with * ? [abc]."""

    when: OneOff | Recurring
    series: tuple[str, ...] = ("*",)
    name: str = ""

    def is_for(self, series: str) -> bool:
        """Return whether a pattern matches the name.

        >>> Maintenance(OneOff(0, 10), ("pump-*",)).is_for("pump-1")
        True
        """
        return any(fnmatchcase(series, pattern) for pattern in self.series)


def in_maintenance(
    windows: tuple[Maintenance, ...],
    names: tuple[str, ...],
    series: NDArray[np.int32],
    timestamp_ns: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return which rows lie in a maintenance window of their series, bool [n].

    Args:
        windows: the maintenance windows.
        names: names of the series.
        series: the series of each row, int32 [n], an index into `names`.
        timestamp_ns: the time of each row, int64 [n].
    """
    inside = np.zeros(len(series), np.bool_)
    for window in windows:
        covered = np.flatnonzero(window.when.covers(timestamp_ns))
        for code in np.unique(series[covered]).tolist():
            if window.is_for(names[code]):
                inside[covered[series[covered] == code]] = True
    return inside


@lru_cache(maxsize=4096)
def _start_of(rule: Recurring, day: int) -> int | None:
    """Return when the window of the local day `day` (days since 1970) starts; None on other weekdays."""
    local = _EPOCH + timedelta(days=day)
    if local.weekday() not in rule.weekdays:
        return None
    start = datetime.combine(local, rule.at, ZoneInfo(rule.zone)).astimezone(UTC)
    return round(start.timestamp()) * 1_000_000_000
