"""The usual level of each channel of each series: what an accepted stretch is compared with.

Only rows that are judged and quiet count. The sums are whole numbers in units of a millionth of the channel's
scale, so that their order does not matter. So the levels do not depend on how the rows are cut into calls. At
every block of rows the older half of the weight goes, so that the level follows the last thousands of rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of
from detector.scoring.series_scales import SeriesScales
from detector.scoring.verdicts import State, Verdicts

_BLOCK_ROWS = 1024
_UNITS = 1 << 20
_MOST = 1e6
"""Values of the model beyond it are cut off, so that the sums of a block stay far below 2**63."""
_QUIET_SCORE = 0.8


class UsualLevels:
    """Keeps the mean of each channel over the quiet rows of every series. Not thread-safe.

    Args:
        num_channels: channels of the model.
        scales: the scales of each series, with what was accepted.
        intervals: length of a row of each series in nanoseconds, int64; read at each call.
    """

    def __init__(self, num_channels: int, scales: SeriesScales, intervals: SeriesArray) -> None:
        self._scales, self._intervals = scales, intervals
        self._sum = SeriesArray((num_channels,), np.int64, 0)
        self._num = SeriesArray((num_channels,), np.int64, 0)
        self._block = SeriesArray((), np.int64, -1)

    def remember(self, verdicts: Verdicts, slots: NDArray[np.int32]) -> None:
        """Count the quiet rows among final verdicts, sorted by series and time.

        Args:
            verdicts: the next verdicts of some series.
            slots: the number of each series in `verdicts.names`, int32 [len(names)].
        """
        quiet = np.flatnonzero((verdicts.state == State.OK) & (verdicts.score <= _QUIET_SCORE))
        if len(quiet) == 0:
            return
        slot = slots[verdicts.series[quiet]]
        block = verdicts.timestamp_ns[quiet] // self._intervals.data[slot] // _BLOCK_ROWS
        scaled = self._scales.to_model(verdicts.actual[quiet], slot).astype(np.float64)
        known = ~np.isnan(scaled) & ~np.isnan(verdicts.expected[quiet])  # no cell that is not judged
        units = np.rint(np.clip(np.where(known, scaled, 0.0), -_MOST, _MOST) * _UNITS).astype(np.int64)
        starts = starts_of(slot, block)
        total, num = (
            np.add.reduceat(units, starts, axis=0),
            np.add.reduceat(known, starts, axis=0, dtype=np.int64),
        )
        self._reserve(slot)
        turn = _turns(slot[starts])
        for nth in range(int(turn.max()) + 1):  # nearly always one: a batch rarely spans two blocks
            now = turn == nth
            self._add(slot[starts][now], block[starts][now], total[now], num[now])

    def of(self, slot: int) -> NDArray[np.float64]:
        """Return the usual level of each channel of a series, float64 [C], in the units of the channels.

        A channel without a quiet row has the centre of history.
        """
        slots = np.array([slot], np.int32)
        self._reserve(slots)
        num = self._num.data[slot]
        scaled = np.where(num > 0, self._sum.data[slot] / np.maximum(num, 1) / _UNITS, 0.0)
        levels: NDArray[np.float64] = self._scales.to_channels(scaled[None], slots)[0]
        return levels

    def rescale(
        self, slots: NDArray[np.int32], factor: NDArray[np.float64], offset: NDArray[np.float64]
    ) -> None:
        """Convert the levels of these series to the units of another model: x * factor + offset.

        Args:
            slots: the series, int32 [n].
            factor: of each channel in each series, float64 [n, C].
            offset: likewise.
        """
        self._reserve(slots)
        num = self._num.data[slots]
        total = self._sum.data[slots] * factor + num * offset * _UNITS
        most = num * _MOST * _UNITS
        self._sum.data[slots] = np.rint(np.clip(total, -most, most)).astype(np.int64)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._sum, self._num, self._block]

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)

    def _add(
        self,
        slot: NDArray[np.int32],
        block: NDArray[np.int64],
        total: NDArray[np.int64],
        num: NDArray[np.int64],
    ) -> None:
        """Add the rows of one block of each of these series, which differ."""
        ended = slot[self._block.data[slot] != block]
        self._sum.data[ended] >>= 1
        self._num.data[ended] >>= 1
        self._block.data[slot] = block
        self._sum.data[slot] += total
        self._num.data[slot] += num

    def _reserve(self, slot: NDArray[np.int32]) -> None:
        for array in self.arrays():
            array.reserve(int(slot.max(initial=-1)) + 1)


def _turns(slot: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return for each entry of sorted `slot` how many of the same series come before it, intp [n].

    >>> _turns(np.array([3, 3, 5], np.int32)).tolist()
    [0, 1, 0]
    """
    starts = starts_of(slot)
    turns: NDArray[np.intp] = np.arange(len(slot)) - np.repeat(starts, lengths_of(starts, len(slot)))
    return turns
