"""The levels of series that the model does not know: each learns its own from its first week of blocks.

Few blocks know a level badly, and nothing is known of how much such a series scatters. So its departures are
in units of its own scatter where that is more than usual (`spread`).

Letters: C channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.artifact.drift import LEAST_BLOCKS
from detector.rows.series_arrays import SeriesArray

_MARGIN = 1.3
"""The scatter of a week of blocks may be so much too small."""


class OwnLevels:
    """Keep the own level of every series that learns one. Not thread-safe.

    Args:
        num_channels: C.
    """

    def __init__(self, num_channels: int) -> None:
        self._count = SeriesArray((num_channels,), np.int64, 0)
        self._mean, self._square = (SeriesArray((num_channels,), np.float64, 0.0) for _ in range(2))

    def take(self, slot: int, departure: NDArray[np.float64]) -> None:
        """Take the next block of a series, float64 [C]; return in place how it departs from its own level.

        It is NaN in channels that learn their level from this block.
        """
        count, mean, square = self._count.data[slot], self._mean.data[slot], self._square.data[slot]
        learns = (count < LEAST_BLOCKS) & ~np.isnan(departure)
        count[learns] += 1
        beyond = departure[learns] - mean[learns]
        mean[learns] += beyond / count[learns]
        square[learns] += beyond * (departure[learns] - mean[learns])
        departure -= mean
        departure /= self.spread(slot)
        departure[learns | (count < LEAST_BLOCKS)] = np.nan

    def level(self, slots: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the level that each series has learnt so far, in units, float64 [n, C]; 0: none."""
        level: NDArray[np.float64] = self._mean.data[slots]
        return level

    def spread(self, slot: int) -> NDArray[np.float64]:
        """Return by how much the blocks of a series scatter more than usual, float64 [C], at least 1."""
        known = np.maximum(self._count.data[slot] - 1, 1)
        spread: NDArray[np.float64] = np.maximum(1.0, _MARGIN * np.sqrt(self._square.data[slot] / known))
        return spread

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._count, self._mean, self._square]
