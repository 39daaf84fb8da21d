"""Learn the usual departure of a series again, after somebody accepted its level.

The accepted shift brings a channel to where it was, as far as the mean of the accepted rows tells. What is
left of it would add up for ever. So the next 256 rows show what is usual now, and nothing adds up in them.

A row may be wild, so each moves what is learnt by little: a stochastic M-estimate after Huber (Robbins and
Monro, 1951). It takes one row at a time, so it does not depend on how the rows are cut into calls.

Letters: n rows, C channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray

RELEARNT_ROWS = 256
_MOST = 2.0
"""A row counts at most so many spreads beyond what is learnt so far."""


class RelearntDepartures:
    """Keep what was learnt of each series since its level was accepted. Not thread-safe.

    Args:
        num_channels: C.
    """

    def __init__(self, num_channels: int) -> None:
        self._left = SeriesArray((), np.int64, 0)
        self._counts = SeriesArray((num_channels,), np.int64, 0)
        self._usual = SeriesArray((num_channels,), np.float64, 0.0)

    def begin(self, slot: int) -> None:
        """Learn from the next rows of a series."""
        self._reserve(np.array([slot]))
        for array in (self._counts, self._usual):
            array.reset(np.array([slot], np.int32))
        self._left.data[slot] = RELEARNT_ROWS

    def usual(self, slot: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the usual departure of the series of each row, in spreads, float64 [n, C]."""
        self._reserve(slot)
        is_learnt = (self._left.data[slot] == 0)[:, None]
        usual: NDArray[np.float64] = np.where(is_learnt, self._usual.data[slot], 0.0)
        return usual

    def learn(self, slot: NDArray[np.int32], departure: NDArray[np.float64]) -> None:
        """Learn from the next rows; their departures become unknown, in place.

        Args:
            slot: the series of each row, int32 [n], sorted by slot and time.
            departure: in spreads, float64 [n, C], NaN where unknown.
        """
        self._reserve(slot)
        for one in np.unique(slot[self._left.data[slot] > 0]).tolist():
            rows = np.flatnonzero(slot == one)
            first = rows[: int(self._left.data[one])]
            self._follow(one, departure[first])
            departure[first] = np.nan
            self._left.data[one] -= len(first)
            if self._left.data[one] == 0:
                departure[rows[len(first) :]] -= self._usual.data[one]

    def _follow(self, slot: int, departure: NDArray[np.float64]) -> None:
        """Let the next rows of one series move what is learnt, float64 [n, C]."""
        counts, usual = self._counts.data[slot], self._usual.data[slot]
        for row in departure:
            known = ~np.isnan(row)
            counts[known] += 1
            beyond = np.clip(np.where(known, row - usual, 0.0), -_MOST, _MOST)
            usual += beyond / np.maximum(counts, 1)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._left, self._counts, self._usual]

    def _reserve(self, slots: NDArray[np.integer]) -> None:
        for array in self.arrays():
            array.reserve(int(slots.max(initial=-1)) + 1)
