"""The newest compared blocks of every series, in arrays.

Letters: S series, F features, RUN blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.artifact.peers.peers import RUN
from detector.rows.series_arrays import SeriesArray, SeriesIndex

_NO_BLOCK = -(1 << 62)


class Run(NamedTuple):
    """Hold the newest blocks of some series, oldest first.

    number    number of each block, int64 [S, RUN]
    distance  its distances, float64 [S, RUN, F]
    known     whether there is such a block, and it is not too old, bool [S, RUN]
    """

    number: NDArray[np.int64]
    distance: NDArray[np.float64]
    known: NDArray[np.bool_]


class Runs:
    """Remember the newest blocks of each series. Not thread-safe.

    Args:
        num_features: F.
        num_blocks: A block that is so many blocks old, or older, counts no longer.
    """

    def __init__(self, num_features: int, num_blocks: int) -> None:
        self._num_blocks = num_blocks
        self._index = SeriesIndex()
        self._number = SeriesArray((RUN,), np.int64, _NO_BLOCK)
        self._distance = SeriesArray((RUN, num_features), np.float64, np.nan)

    def add(self, names: Sequence[str], number: int, distance: NDArray[np.float64]) -> Run:
        """Add a block of distinct series, newer than all before; return their newest blocks.

        Args:
            names: The series of this block.
            number: Number of the block.
            distance: float64 [S, F].
        """
        slots = self._index.of(names)
        for array in (self._number, self._distance):
            array.reserve(self._index.size)
        numbers, distances = self._number.data[slots], self._distance.data[slots]
        numbers[:, :-1], distances[:, :-1] = numbers[:, 1:], distances[:, 1:]
        numbers[:, -1], distances[:, -1] = number, distance
        self._number.data[slots], self._distance.data[slots] = numbers, distances
        return Run(numbers, distances, number - numbers < self._num_blocks)

    def is_over(self, name: str, number: int) -> bool:
        """Return whether the newest block of a series is too old to count beside the block `number`."""
        newest = int(self._number.data[self._index.of([name])[0], -1])
        return number - newest >= self._num_blocks

    def drop(self, names: Collection[str]) -> None:
        """Forget these series, as far as they are known."""
        slots = self._index.of([name for name in names if name in self._index])
        for array in (self._number, self._distance):
            array.reset(slots)
        self._index.drop(slots.tolist())
