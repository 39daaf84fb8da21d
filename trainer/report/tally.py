"""Exact counts of every series and channel, from one pass in chunks of any order.

Letters: S series, C channels, K extremes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectors.parquet.reader import Chunk
from detector.rows.series_arrays import starts_of

EXTREMES = 3
_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Extremes:
    """Hold the farthest distinct values, float64 [S, C, K], NaN where there are fewer, and their counts."""

    values: _Floats
    counts: _Ints

    @staticmethod
    def none(num_series: int, num_channels: int) -> Extremes:
        """Return no extremes."""
        shape = (num_series, num_channels, EXTREMES)
        return Extremes(np.full(shape, np.nan), np.zeros(shape, np.int64))

    def merged(self, other: Extremes) -> Extremes:
        """Return the lowest values of both. Counts are exact: such a value was always among the lowest."""
        values = np.concatenate([self.values, other.values], axis=2)
        counts = np.concatenate([self.counts, other.counts], axis=2)
        order = np.argsort(values, axis=2, kind="stable")
        values, counts = np.take_along_axis(values, order, 2), np.take_along_axis(counts, order, 2)
        for at in range(values.shape[2] - 1, 0, -1):
            same = values[:, :, at] == values[:, :, at - 1]
            counts[:, :, at - 1] += np.where(same, counts[:, :, at], 0)
            values[:, :, at][same] = np.nan
            counts[:, :, at][same] = 0
        order = np.argsort(values, axis=2, kind="stable")[:, :, :EXTREMES]
        return Extremes(np.take_along_axis(values, order, 2), np.take_along_axis(counts, order, 2))


class Tally:
    """Count rows, values, steps and extremes of every series.

    names         of the series, by number
    rows          int64 [S]
    first, last   int64 [S], nanoseconds
    backward      int64 [S], rows of a chunk that come after a later row of their series
    longest_step  int64 [S], nanoseconds between two rows that follow each other in a chunk or across chunks
    known         int64 [S, C], values that are not missing
    rises, falls  int64 [S, C], steps between known values of consecutive rows of a chunk
    lowest        the smallest values; `highest` has the largest ones with the opposite sign
    infinite      int64 [C]
    """

    def __init__(self, num_channels: int) -> None:
        self._num_channels = num_channels
        self._number: dict[str, int] = {}
        self.rows, self.first, self.last, self.longest_step = (np.zeros(0, np.int64) for _ in range(4))
        self.backward = np.zeros(0, np.int64)
        self.known, self.rises, self.falls = (np.zeros((0, num_channels), np.int64) for _ in range(3))
        self.lowest = self.highest = Extremes.none(0, num_channels)
        self.infinite = np.zeros(num_channels, np.int64)

    @property
    def names(self) -> list[str]:
        """Return the names of the series, by number."""
        return list(self._number)

    def numbers_of(self, chunk: Chunk) -> NDArray[np.int64]:
        """Return the number of the series of each row, int64 [n]; new series get the next numbers."""
        numbers = [self._number.setdefault(name, len(self._number)) for name in chunk.names]
        self._grow(len(self._number))
        return np.array(numbers, np.int64)[chunk.series]

    def add_order(self, numbers: NDArray[np.int64], times: _Ints) -> None:
        """Count the steps back in time of rows as they came."""
        order = np.argsort(numbers, kind="stable")
        number, time = numbers[order], times[order]
        back = (np.diff(time) < 0) & (np.diff(number) == 0)
        np.add.at(self.backward, number[1:][back], 1)

    def add(self, numbers: NDArray[np.int64], times: _Ints, values: _Floats) -> _Floats:
        """Count rows sorted by series and time; return the step before each, float64 [n], NaN without one."""
        starts = starts_of(numbers)
        which = numbers[starts]
        stops = np.append(starts[1:], len(numbers))
        steps = np.full(len(times), np.nan)
        steps[1:] = np.diff(times)
        before = self.rows[which] > 0
        steps[starts] = np.where(before, times[starts] - self.last[which], np.nan)
        self.longest_step[which] = np.fmax(self.longest_step[which], _longest(steps, starts))
        self.first[which] = np.where(before, np.minimum(self.first[which], times[starts]), times[starts])
        self.last[which] = np.where(before, np.maximum(self.last[which], times[stops - 1]), times[stops - 1])
        self.rows[which] += stops - starts
        self.known[which] += np.add.reduceat(~np.isnan(values), starts, axis=0)
        self._count_steps(which, starts, values)
        self.lowest = self._extended(self.lowest, which, starts, values)
        self.highest = self._extended(self.highest, which, starts, -values)
        return steps

    def _count_steps(self, which: _Ints, starts: NDArray[np.intp], values: _Floats) -> None:
        change = np.full_like(values, np.nan)
        change[1:] = np.diff(values, axis=0)
        change[starts] = np.nan
        self.rises[which] += np.add.reduceat(change > 0, starts, axis=0)
        self.falls[which] += np.add.reduceat(change < 0, starts, axis=0)

    def _extended(self, known: Extremes, which: _Ints, starts: NDArray[np.intp], values: _Floats) -> Extremes:
        segment = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(values))))
        left = values.copy()
        found = Extremes.none(len(starts), self._num_channels)
        for at in range(EXTREMES):
            found.values[:, :, at] = np.fmin.reduceat(left, starts, axis=0)
            same = left == found.values[segment, :, at]
            found.counts[:, :, at] = np.add.reduceat(same, starts, axis=0)
            left[same] = np.nan
        both = Extremes(known.values[which], known.counts[which]).merged(found)
        known.values[which], known.counts[which] = both.values, both.counts
        return known

    def _grow(self, num_series: int) -> None:
        more = num_series - len(self.rows)
        if more <= 0:
            return
        more = max(more, len(self.rows))  # doubling: series that come one by one cost no quadratic time
        for name in ("rows", "backward", "first", "last", "longest_step", "known", "rises", "falls"):
            held = getattr(self, name)
            setattr(self, name, np.concatenate([held, np.zeros((more, *held.shape[1:]), np.int64)]))
        self.lowest, self.highest = (_grown(held, more) for held in (self.lowest, self.highest))


def _grown(held: Extremes, more: int) -> Extremes:
    new = Extremes.none(more, held.values.shape[1])
    return Extremes(np.concatenate([held.values, new.values]), np.concatenate([held.counts, new.counts]))


def _longest(steps: _Floats, starts: NDArray[np.intp]) -> _Ints:
    longest: _Ints = np.nan_to_num(np.fmax.reduceat(steps, starts)).astype(np.int64)
    return longest
