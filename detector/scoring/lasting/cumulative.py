"""Add up small departures that last: a cumulative sum of each channel, upwards and downwards.

After each row the sum is max(0, sum + departure - allowance) (Page, Biometrika 1954). Its delay is the
least for a given rate of false alarms (Lorden, 1971).
A departure of half a spread then adds up, and one below
the allowance does not. A single row counts at most 3 spreads. A sum stays below 1.25 times its threshold,
so that
it falls soon after the departure has ended. It stands still where the departure is unknown.

All sums are whole numbers, so they do not depend on how the rows are cut into calls. Without its upper
limit, a sum has a closed form: the total so far less the least total so far. Only sums that reach the limit
are followed row by row.

Letters: n rows, C channels, K sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.reference import Reference
from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of

_FIXED = float(1 << 16)
_MOST = 3.0
_CAP = 1.25
_ROUGH = 1 << 24
"""Sums are at most so many spreads, so that whole numbers of 64 bits hold every total."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Hold what has added up after each of n rows.

    cumulative  float64 [n], 1 is the threshold; NaN where no channel is known
    lasting     float64 [n, C], the larger sum of each channel, in spreads
    """

    cumulative: NDArray[np.float64]
    lasting: NDArray[np.float64]


def clipped_sums(
    steps: NDArray[np.int64], slot: NDArray[np.int32], before: NDArray[np.int64], cap: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return min(cap, max(0, sum + step)) after every row, int64 [n, K].

    Args:
        steps: What each row adds to each sum, int64 [n, K].
        slot: The series of each row, int32 [n], sorted.
        before: The sums before the first row of each series, int64 [k, K], one row for each series present.
        cap: The upper limit of each sum, int64 [K].
    """
    starts = starts_of(slot)
    series = np.repeat(np.arange(len(starts)), lengths_of(starts, len(slot)))
    total = np.cumsum(steps, axis=0)
    total -= (total[starts] - steps[starts] - before)[series]
    # The least total of each series alone: those of later series are lower by more than any total can be.
    shift = series[:, None] * (2 * int(np.abs(total).max(initial=0)) + 1)
    least = np.minimum.accumulate(total - shift, axis=0) + shift
    sums: NDArray[np.int64] = total - np.minimum(least, 0)
    over = np.maximum.reduceat(sums, starts) > cap
    for at, column in np.argwhere(over).tolist():
        rows = slice(starts[at], starts[at + 1] if at + 1 < len(starts) else None)
        sums[rows, column] = _followed(
            steps[rows, column].tolist(), int(before[at, column]), int(cap[column])
        )
    return sums


def _followed(steps: list[int], total: int, cap: int) -> list[int]:
    """Return the sum after every step, followed one by one."""
    found = []
    for step in steps:
        total += step
        if total < 0:
            total = 0
        elif total > cap:
            total = cap
        found.append(total)
    return found


class CumulativeEvidence:
    """Keep the sums of every series. Not thread-safe.

    Args:
        reference: Allowances and thresholds.
    """

    def __init__(self, reference: Reference) -> None:
        threshold = np.array(reference.threshold)
        self._used = threshold > 0
        self._threshold = np.where(self._used, threshold, 1.0)
        cap = np.where(self._used, np.minimum(_CAP * threshold, _ROUGH), _CAP)
        self._cap = np.rint(np.concatenate([cap, cap]) * _FIXED).astype(np.int64)
        self._allowance, self._unknown = np.array(reference.allowance), np.array(reference.unknown)
        self._sums = SeriesArray((2 * len(threshold),), np.int64, 0)

    def add(
        self, slot: NDArray[np.int32], departure: NDArray[np.float64], is_unknown: NDArray[np.bool_]
    ) -> Evidence:
        """Add the departures of the next rows, and return the evidence after each.

        Args:
            slot: The series of each row, int32 [n]; rows are sorted by slot and time.
            departure: In spreads, float64 [n, C], NaN where unknown.
            is_unknown: Which rows are of a series without a baseline of its own, bool [n].
        """
        num = len(self._threshold)
        if len(slot) == 0:
            return Evidence(np.empty(0), np.empty((0, num)))
        self._sums.reserve(int(slot.max()) + 1)
        steps = self._steps(departure, is_unknown)
        starts = starts_of(slot)
        sums = clipped_sums(steps, slot, self._sums.data[slot[starts]], self._cap)
        self._sums.data[slot[starts]] = sums[starts + lengths_of(starts, len(slot)) - 1]
        lasting = np.maximum(sums[:, :num], sums[:, num:]) / _FIXED
        relative = np.where(self._used, lasting / self._threshold, 0.0)
        known = (~np.isnan(departure) & self._used).any(axis=1)
        cumulative = np.where(known, relative.max(axis=1), np.nan)
        return Evidence(cumulative, lasting)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._sums.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._sums]

    def _steps(self, departure: NDArray[np.float64], is_unknown: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return what each row adds to the sums, int64 [n, 2 C]; 0 where the departure is unknown."""
        known = ~np.isnan(departure)
        filled = np.where(known, departure, 0.0)
        some = np.clip(filled, -_MOST, _MOST)
        allowance = self._allowance + np.where(is_unknown[:, None], self._unknown, 0.0)
        steps = np.rint(np.concatenate([some - allowance, -some - allowance], axis=1) * _FIXED)
        whole: NDArray[np.int64] = np.where(np.tile(known, (1, 2)), steps, 0.0).astype(np.int64)
        return whole
