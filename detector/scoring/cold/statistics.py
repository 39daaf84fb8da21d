"""The mean and the deviation of each channel over the first rows of a new series.

Rows are counted in eight blocks. A full set of blocks gives an estimate, and then each two of them become
one. So the next estimate has twice as many rows, and the memory stays the same. A wild stretch moves its
block alone: the means and the variances of the blocks are winsorised (Tukey, 1962), as in training. Within a
block they are added up row by row (Welford, 1962), which does not depend on how the rows are cut into calls.

Letters: C channels, B blocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray

BLOCKS = 8
_LEAST_BLOCKS = 4
"""A channel needs values in so many blocks."""


class ColdStatistics:
    """Keep the blocks of every new series. Not thread-safe.

    Args:
        num_channels: C.
    """

    def __init__(self, num_channels: int) -> None:
        self._rows = SeriesArray((BLOCKS,), np.int64, 0)
        self._size = SeriesArray((), np.int64, 0)
        self._num = SeriesArray((BLOCKS, num_channels), np.int64, 0)
        self._mean, self._square = (SeriesArray((BLOCKS, num_channels), np.float64, 0.0) for _ in range(2))

    def add(self, slot: int, size: int, values: NDArray[np.float64]) -> None:
        """Add the next rows of a series; those behind a full set of blocks are left out.

        Args:
            slot: The series.
            size: Rows of a block at first.
            values: float64 [n, C], NaN where unknown.
        """
        self.reserve(slot)
        if self._size.data[slot] == 0:
            self._size.data[slot] = size
        rows, size = self._rows.data[slot], int(self._size.data[slot])
        num, mean, square = (one.data[slot] for one in (self._num, self._mean, self._square))
        for value in values:
            at = int(np.count_nonzero(rows == size))
            if at == BLOCKS:
                return
            rows[at] += 1
            known = ~np.isnan(value)
            num[at][known] += 1
            beyond = np.where(known, value - mean[at], 0.0)
            mean[at] += beyond / np.maximum(num[at], 1)
            square[at] += np.where(known, beyond * (value - mean[at]), 0.0)

    def num_rows(self, slot: int) -> int:
        """Return from how many rows the blocks of a series are."""
        self.reserve(slot)
        return int(self._rows.data[slot].sum())

    def is_full(self, slot: int) -> bool:
        """Return whether the blocks of a series are a full set."""
        self.reserve(slot)
        size = self._size.data[slot]
        return bool(size > 0 and (self._rows.data[slot] == size).all())

    def estimate(self, slot: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return centre and spread of each channel of a series, float64 [C] each.

        Both are NaN where too few values came. The spread of a channel that did not move is 0.
        """
        num = self._num.data[slot]
        known = num > 0
        mean = np.where(known, self._mean.data[slot], np.nan)
        variance = np.where(known, self._square.data[slot] / np.maximum(num, 1), np.nan)
        clipped = _winsorised(mean)
        count = np.maximum(known.sum(axis=0), 1)
        center = np.nansum(clipped, axis=0) / count
        between = np.nansum(np.square(clipped - center), axis=0) / count
        spread = np.sqrt(between + np.nansum(_winsorised(variance), axis=0) / count)
        too_few = known.sum(axis=0) < _LEAST_BLOCKS
        center[too_few], spread[too_few] = np.nan, np.nan
        return center, spread

    def merge(self, slot: int) -> None:
        """Make each two blocks of a series one, so that as many rows again can come."""
        num, mean, square = (one.data[slot] for one in (self._num, self._mean, self._square))
        one, other = num[::2], num[1::2]
        both = one + other
        beyond = mean[1::2] - mean[::2]
        joined = mean[::2] + beyond * other / np.maximum(both, 1)
        joined = np.where(one == 0, mean[1::2], joined)
        squares = square[::2] + square[1::2] + np.square(beyond) * one * other / np.maximum(both, 1)
        half = BLOCKS // 2
        for kept, new in ((num, both), (mean, joined), (square, squares)):
            kept[:half], kept[half:] = new.copy(), 0
        rows = self._rows.data[slot]
        rows[:half], rows[half:] = rows[::2] + rows[1::2], 0
        self._size.data[slot] *= 2

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._rows, self._size, self._num, self._mean, self._square]

    def reserve(self, slot: int) -> None:
        """Make room for a series."""
        for array in self.arrays():
            array.reserve(slot + 1)


def _winsorised(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values of blocks, float64 [B, C]; the least and the greatest known one count as the next one."""
    ordered = np.sort(blocks, axis=0)  # NaN comes last
    last = np.maximum((~np.isnan(blocks)).sum(axis=0) - 2, 0)[None]
    least = np.minimum(ordered[1], np.take_along_axis(ordered, last, axis=0)[0])
    clipped: NDArray[np.float64] = np.clip(blocks, least, np.take_along_axis(ordered, last, axis=0)[0])
    return clipped
