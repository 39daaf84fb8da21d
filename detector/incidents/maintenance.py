"""Maintenance windows: times in which series may be bad without an incident.

A window is one stretch of time, or recurs on days of the week at a local time. A recurring one starts by the
clock on the wall of its zone and lasts its duration, whatever clocks are set to meanwhile; a start that the
change to summer time skips is an hour later, and one that comes twice is the first.
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
    """From `start_ns`, up to and without `end_ns`."""

    start_ns: int
    end_ns: int

    def __post_init__(self) -> None:
        if self.start_ns >= self.end_ns:
            raise ValueError("end must be after start")

    def covers(self, timestamp_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these times are inside, bool [n]."""
        inside: NDArray[np.bool_] = (timestamp_ns >= self.start_ns) & (timestamp_ns < self.end_ns)
        return inside


@dataclass(frozen=True, slots=True)
class Recurring:
    """On `weekdays` (0: Monday) at `at`, for `duration_ns`, by the clock of `zone` (an IANA name)."""

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
        """Which of these times are inside, bool [n]."""
        inside = np.zeros(len(timestamp_ns), np.bool_)
        for start_ns in self._starts_near(timestamp_ns):
            inside |= (timestamp_ns >= start_ns) & (timestamp_ns < start_ns + self.duration_ns)
        return inside

    def _starts_near(self, timestamp_ns: NDArray[np.int64]) -> list[int]:
        """The starts whose windows might hold one of these times."""
        days = np.unique(timestamp_ns // _DAY_NS)
        back = np.arange(-1 - -(-self.duration_ns // _DAY_NS), 2)  # a zone may be a day ahead or behind
        near = np.unique(np.add.outer(days, back))
        starts = [_start_of(self, day) for day in near.tolist() if 0 <= day <= _LAST_DAY]
        return [start for start in starts if start is not None]


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A window, and the series it is for: names, or patterns with * ? [abc]."""

    when: OneOff | Recurring
    series: tuple[str, ...] = ("*",)
    name: str = ""

    def is_for(self, series: str) -> bool:
        """Whether a pattern matches the name."""
        return any(fnmatchcase(series, pattern) for pattern in self.series)


def in_maintenance(
    windows: tuple[Maintenance, ...],
    names: tuple[str, ...],
    series: NDArray[np.int32],
    timestamp_ns: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Which rows of which series (an index into `names`) lie in a window that is for them, bool [n]."""
    inside = np.zeros(len(series), np.bool_)
    for window in windows:
        covered = np.flatnonzero(window.when.covers(timestamp_ns))
        for code in np.unique(series[covered]).tolist():
            if window.is_for(names[code]):
                inside[covered[series[covered] == code]] = True
    return inside


@lru_cache(maxsize=4096)
def _start_of(rule: Recurring, day: int) -> int | None:
    """When the window of the local day `day` (counted from 1970) starts; None where the rule skips it."""
    local = _EPOCH + timedelta(days=day)
    if local.weekday() not in rule.weekdays:
        return None
    start = datetime.combine(local, rule.at, ZoneInfo(rule.zone)).astimezone(UTC)
    return round(start.timestamp()) * 1_000_000_000
