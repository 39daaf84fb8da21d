"""The end of a history, whatever a few wrong clocks say.

A row of a wrong time lies alone, far after all others. Such rows at the end are at most one in a thousand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_HOUR_NS, _DAY_NS = 3_600 * 10**9, 86_400 * 10**9
_MOST_WRONG = 0.001
"""The share of rows that may have a wrong time; a single row may in any case."""
_FAR = 0.01
"""Rows are far from the others after a gap of this share of the time before it, and of a day at least."""


def usual_end(first_ns: NDArray[np.int64], last_ns: NDArray[np.int64], rows: NDArray[np.int64]) -> int:
    """Return the last time of some runs of rows without the few that lie far after the others.

    Args:
        first_ns, last_ns: First and last time of each run, nanoseconds, int64 [n], in any order; n > 0.
        rows: Number of its rows, int64 [n].

    >>> times = np.array([0, 1, 2, 3, 2_000]) * _HOUR_NS
    >>> usual_end(times, times, np.ones(5, np.int64)) // _HOUR_NS
    3
    """
    order = np.argsort(first_ns, kind="stable")
    first_ns, ends = first_ns[order], np.maximum.accumulate(last_ns[order])
    after = rows.sum() - np.cumsum(rows[order])
    far_ns = np.maximum(_DAY_NS, (ends[:-1] - first_ns[0]) * _FAR)
    is_end = (first_ns[1:] - ends[:-1] > far_ns) & (after[:-1] <= max(1.0, _MOST_WRONG * rows.sum()))
    found = np.flatnonzero(is_end)
    return int(ends[found[0]] if len(found) else ends[-1])


class TimeSpan:
    """Finds first and last time of rows that come in pieces; it keeps a few numbers of each hour."""

    def __init__(self) -> None:
        """Start without rows."""
        self._hours: dict[int, tuple[int, int, int]] = {}

    def add(self, timestamp_ns: NDArray[np.int64]) -> None:
        """Count a piece: times in nanoseconds, int64 [n], in any order."""
        times = np.sort(timestamp_ns)
        hours, starts, counts = np.unique(times // _HOUR_NS, return_index=True, return_counts=True)
        ends = times[starts + counts - 1]
        for hour, first, last, rows in zip(
            hours.tolist(), times[starts].tolist(), ends.tolist(), counts.tolist(), strict=True
        ):
            before = self._hours.get(hour, (first, last, 0))
            self._hours[hour] = min(first, before[0]), max(last, before[1]), rows + before[2]

    @property
    def first_ns(self) -> int:
        """The first time; there must be a row."""
        return min(first for first, _, _ in self._hours.values())

    @property
    def end_ns(self) -> int:
        """The last time by `usual_end`; there must be a row."""
        first, last, rows = np.array([*self._hours.values()], np.int64).T
        return usual_end(first, last, rows)
