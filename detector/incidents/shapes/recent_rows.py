"""The last rows of every series, actual and expected, so that an incident knows what came before it.

Letters: n rows, k rows of one series, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of

RECENT = 24
"""Rows that are kept of every series."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Hold rows of one series in order of time.

    when   int64 [k], start of each row in nanoseconds
    cells  float32 [k, 2, C], actual and expected values in physical units, NaN where unknown
    """

    when: NDArray[np.int64]
    cells: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.when)

    def take(self, rows: slice | NDArray[np.intp]) -> Stretch:
        """Return some of the rows."""
        return Stretch(self.when[rows], self.cells[rows])

    @staticmethod
    def joined(*parts: Stretch) -> Stretch:
        """Return the rows of several parts in order of time, each once. Of one time the first counts."""
        when, place = np.unique(np.concatenate([one.when for one in parts]), return_index=True)
        return Stretch(when, np.concatenate([one.cells for one in parts])[place])


class RecentRows:
    """Keeps the last 24 known rows of every series. Not thread-safe.

    Args:
        num_channels: C.
    """

    def __init__(self, num_channels: int) -> None:
        self._cells = SeriesArray((RECENT, 2, num_channels), np.float32, np.nan)
        self._when = SeriesArray((RECENT,), np.int64, -1)
        self._num = SeriesArray((), np.int64, 0)

    def add(
        self,
        slot: NDArray[np.int32],
        when: NDArray[np.int64],
        actual: NDArray[np.float64],
        expected: NDArray[np.float64],
    ) -> None:
        """Add the next known rows.

        Args:
            slot: the series of each row, int32 [n], sorted.
            when: start of each row, int64 [n], ascending in a series.
            actual: float64 [n, C].
            expected: float64 [n, C].
        """
        if len(slot) == 0:
            return
        self._reserve(int(slot[-1]) + 1)
        starts = starts_of(slot)
        lengths = lengths_of(starts, len(slot))
        rank = np.arange(len(slot)) - np.repeat(starts, lengths)
        kept = np.flatnonzero(rank >= np.repeat(lengths - RECENT, lengths))
        at, place = slot[kept], (self._num.data[slot[kept]] + rank[kept]) % RECENT
        self._cells.data[at, place, 0] = as_cells(actual[kept])
        self._cells.data[at, place, 1] = as_cells(expected[kept])
        self._when.data[at, place] = when[kept]
        self._num.data[slot[starts]] += lengths

    def of(self, slot: int) -> Stretch:
        """Return the last rows of a series, at most 24."""
        self._reserve(slot + 1)
        num = int(self._num.data[slot])
        order = (num - min(num, RECENT) + np.arange(min(num, RECENT))) % RECENT
        return Stretch(self._when.data[slot][order], self._cells.data[slot][order])

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the saved cells."""
        return [self._cells, self._when, self._num]

    def _reserve(self, size: int) -> None:
        for array in self.arrays():
            array.reserve(size)


def as_cells(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return values as they are kept, float32; wilder ones become the largest that it holds."""
    most = float(np.finfo(np.float32).max)
    return np.clip(values, -most, most).astype(np.float32)
