"""Between the windows of a member with a stride, its newest output holds.

Neighbouring windows share nearly all of their rows, so a slow member need not read every one. Rows are cut
into blocks of `stride` rows, by their number. The first window of a block that can be scored is read. Its
output counts for the later rows of the block too. Which windows are read depends on the series alone, and
not on how its rows are cut into calls.

Letters: n rows, C channels, N windows, K statistics, M windows that are read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray, starts_of

_NO_BLOCK = -(1 << 62)


@dataclass(frozen=True, slots=True)
class Blocks:
    """Say which of N windows are read, and where each of the others takes its output from.

    read     intp [M], the windows to read
    source   intp [N], for each window the place of its output among the `read` ones; -1: the one kept before
    """

    read: NDArray[np.intp]
    source: NDArray[np.intp]


class HeldOutput:
    """Keeps the newest output of one member for every series. Not thread-safe.

    Args:
        stride: rows of a block; at most the rows of a window.
        num_statistics: K.
        num_channels: C.
    """

    def __init__(self, stride: int, num_statistics: int, num_channels: int) -> None:
        self._stride = stride
        self._block = SeriesArray((), np.int64, _NO_BLOCK)
        self._statistics = SeriesArray((num_statistics,), np.float64, np.nan)
        self._blame = SeriesArray((num_channels,), np.float32, np.nan)

    def blocks(self, slot: NDArray[np.int32], row: NDArray[np.int64]) -> Blocks:
        """Return which windows to read.

        Args:
            slot: the series of each window, int32 [N]; sorted by slot and row.
            row: the last row of each window, int64 [N].
        """
        self._reserve(slot)
        block = (row + 1) // self._stride
        first = starts_of(slot, block)
        is_new = self._block.data[slot[first]] != block[first]
        place = np.where(is_new, np.cumsum(is_new) - 1, -1)
        return Blocks(first[is_new], np.repeat(place, np.diff(np.append(first, len(slot)))))

    def spread(
        self,
        slot: NDArray[np.int32],
        row: NDArray[np.int64],
        blocks: Blocks,
        outputs: tuple[NDArray[np.float64], NDArray[np.float32]],
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Return the outputs of all N windows, and keep the newest of each series.

        Args:
            slot, row: as in `blocks`.
            blocks: what `blocks` returned for them.
            outputs: statistics float64 [M, K] and blame float32 [M, C] of the windows that were read.
        """
        is_here = blocks.source >= 0
        statistics: NDArray[np.float64] = self._statistics.data[slot]
        blame: NDArray[np.float32] = self._blame.data[slot]
        statistics[is_here] = outputs[0][blocks.source[is_here]]
        blame[is_here] = outputs[1][blocks.source[is_here]]
        newest = np.append(starts_of(slot)[1:], len(slot)) - 1 if len(slot) else np.empty(0, np.intp)
        self._block.data[slot[newest]] = (row[newest] + 1) // self._stride
        self._statistics.data[slot[newest]] = statistics[newest]
        self._blame.data[slot[newest]] = blame[newest]
        return statistics, blame

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget what holds for these series: the next window of each is read."""
        for array in self.arrays():
            array.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._block, self._statistics, self._blame]

    def _reserve(self, slot: NDArray[np.int32]) -> None:
        for array in self.arrays():
            array.reserve(int(slot.max(initial=-1)) + 1)
