"""The alarm budget as a limit: a level that many short, small alarms raise, and that falls back by time.

Evidence is measured against a calibrated threshold, which never moves. The calibration can be wrong, as data
drift. Each series therefore keeps a page level on top of the threshold. Evidence above the threshold is
unusual; above the page level it counts for incidents as well.

The level is that of a token bucket (Turner, IEEE Communications Magazine 1986). Every alarm puts doubt into
the bucket, from 0 to 1. The bucket drains at the rate of the alarm budget. What it holds raises
the level. In the long run doubtful alarms are thus at most as frequent as the budget. A clear alarm or a long
one is hardly a false one: it leaves little doubt. While an alarm lasts, the level stands still. An alarm that
begins within a fault that other evidence holds is no false one either: it leaves none.

The level at a row is a closed form of a few numbers of the series' past. It therefore does not depend on how
the rows are cut into batches. Evidence and levels are natural logarithms in units of the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import PageLimit
from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of

QUIET_ROWS = 8
"""Known rows below `close` that end an alarm, as for incidents by default."""
CLOSE = math.log(0.8)
"""The logarithm of the share of the level below which a row is quiet, as for incidents by default."""
_LOOK_AHEAD = 256
"""Rows processed together: the cost of an alarm must not depend on how many rows follow it."""


class PageLevel:
    """Keeps the page level of every series for one kind of evidence. Not thread-safe.

    Rows with unknown evidence change nothing, so no alarm ends while a feed is interrupted.

    Args:
        limit: how alarms raise the level, and how fast it falls.
        close: an alarm ends after 8 known rows at or below the level plus this (a logarithm, below 0).
        above_level: whether the height of an alarm counts from the level; else from the threshold. A fault
            keeps its height there, however many others raised the level before it.
    """

    def __init__(self, limit: PageLimit, close: float = CLOSE, above_level: bool = False) -> None:
        self._limit, self._close, self._above_level = limit, close, above_level
        self._rise, self._forgiveness = math.log(limit.rise), math.log(limit.forgiveness)
        self._held = SeriesArray((), np.float64, 0.0)
        self._anchor = SeriesArray((), np.int64, -1)
        self._lasted = SeriesArray((), np.int64, -1)
        self._peak = SeriesArray((), np.float64, 0.0)
        self._quiet = SeriesArray((), np.int64, 0)
        self._within_fault = SeriesArray((), np.bool_, False)
        self._began_within = SeriesArray((), np.bool_, False)

    def levels(
        self, slot: NDArray[np.int32], row: NDArray[np.int64], evidence: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the page level at each row, a logarithm, at least 0, float64 [n].

        Args:
            slot: the series of each row, int32 [n]; rows are sorted by slot and row.
            row: row numbers, int64 [n].
            evidence: logarithm of the evidence in units of its threshold, float64 [n]; NaN where unknown.
        """
        if len(slot) == 0:
            return np.empty(0)
        for array in self.arrays():
            array.reserve(int(slot.max()) + 1)
        starts = starts_of(slot)
        ends = starts + lengths_of(starts, len(slot))
        present = slot[starts]
        is_new = self._anchor.data[present] < 0
        self._anchor.data[present[is_new]] = row[starts[is_new]]
        level = self._level(self._held_at(slot, row))
        loud = evidence > level
        eventful = np.logical_or.reduceat(loud, starts) | (self._lasted.data[present] >= 0)
        for at in np.flatnonzero(eventful).tolist():
            part = slice(starts[at], ends[at])
            level[part] = self._follow(int(present[at]), row[part], evidence[part])
        return level

    def stand(self, slots: NDArray[np.int32], within_fault: NDArray[np.bool_]) -> None:
        """Let alarms that begin from now on leave no doubt, or leave it again, bool [len(slots)]."""
        self._within_fault.reserve(int(slots.max(initial=-1)) + 1)
        self._within_fault.data[slots] = within_fault

    def are_within(self, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return in which of these series alarms leave no doubt now, bool [len(slots)]."""
        self._within_fault.reserve(int(slots.max(initial=-1)) + 1)
        within: NDArray[np.bool_] = self._within_fault.data[slots]
        return within

    def is_open(self, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which of these series are in an alarm after their newest row, bool [len(slots)]."""
        self._lasted.reserve(int(slots.max(initial=-1)) + 1)
        is_open: NDArray[np.bool_] = self._lasted.data[slots] >= 0
        return is_open

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        alarm = [self._held, self._anchor, self._lasted, self._peak, self._quiet]
        return [*alarm, self._within_fault, self._began_within]

    def _held_at(self, slot: NDArray[np.int32], row: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what the bucket holds at each row outside alarms, in alarms, float64 [n]."""
        drained = self._limit.alarms_a_row * (row - self._anchor.data[slot])
        held: NDArray[np.float64] = np.maximum(0.0, self._held.data[slot] - drained)
        return held

    def _level(self, held: NDArray[np.float64]) -> NDArray[np.float64]:
        level: NDArray[np.float64] = self._rise * held
        return level

    def _follow(
        self, slot: int, row: NDArray[np.int64], evidence: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the level at the rows of one series with an alarm among them; update its state."""
        level = np.empty(len(row))
        at = 0
        while at < len(row):
            if self._lasted.data[slot] < 0:
                at += self._calm(slot, row[at:], evidence[at:], level[at:])
                if at < len(row):
                    self._open(slot, row[at : at + 1])
            else:
                at += self._alarm(slot, row[at:], evidence[at:], level[at:])
        return level

    def _calm(
        self, slot: int, row: NDArray[np.int64], evidence: NDArray[np.float64], level: NDArray[np.float64]
    ) -> int:
        """Write the level up to and including the first row that exceeds it; return that row's place."""
        for start in range(0, len(row), _LOOK_AHEAD):
            part = slice(start, start + _LOOK_AHEAD)
            level[part] = self._level(self._held_at(np.full(len(row[part]), slot, np.int32), row[part]))
            loud = np.flatnonzero(evidence[part] > level[part])
            if len(loud):
                return start + int(loud[0])
        return len(row)

    def _open(self, slot: int, row: NDArray[np.int64]) -> None:
        self._held.data[slot] = self._held_at(np.array([slot], np.int32), row)[0]
        self._lasted.data[slot] = 0
        self._peak.data[slot] = 0.0
        self._quiet.data[slot] = 0
        self._began_within.data[slot] = self._within_fault.data[slot]

    def _alarm(
        self, slot: int, row: NDArray[np.int64], evidence: NDArray[np.float64], level: NDArray[np.float64]
    ) -> int:
        """Write the level of the rows of the alarm; return how many there are."""
        lasted, peak, quiet = (
            int(self._lasted.data[slot]),
            float(self._peak.data[slot]),
            int(self._quiet.data[slot]),
        )
        here = float(self._level(self._held.data[slot : slot + 1])[0])
        base = here if self._above_level else 0.0
        done = 0
        for at, value in _pairs(row, evidence):
            done += 1
            if value == value:
                lasted += 1
                peak = max(peak, value - base)
                quiet = 0 if value > here + self._close else quiet + 1
            if quiet >= QUIET_ROWS:
                if not self._began_within.data[slot]:
                    self._held.data[slot] += self._doubt(peak, lasted - quiet)
                self._anchor.data[slot] = at
                lasted = -1
                break
        level[:done] = here
        self._lasted.data[slot], self._peak.data[slot], self._quiet.data[slot] = lasted, peak, quiet
        return done

    def _doubt(self, peak: float, rows: int) -> float:
        """Return how doubtful an alarm of this height (a logarithm) and of so many rows was, 0 to 1."""
        return math.exp(-peak / self._forgiveness - max(0, rows - 1) / self._limit.long_rows)


def _pairs(row: NDArray[np.int64], evidence: NDArray[np.float64]) -> Iterator[tuple[int, float]]:
    """Yield (row, evidence) as plain numbers, a few rows at a time."""
    for start in range(0, len(row), _LOOK_AHEAD):
        part = slice(start, start + _LOOK_AHEAD)
        yield from zip(row[part].tolist(), evidence[part].tolist(), strict=True)
