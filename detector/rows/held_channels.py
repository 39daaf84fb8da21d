"""Slow channels keep their last value: a laboratory value that comes every hour, beside readings of a second.

A row in which any value arrived gets the last value of such a channel, if that is young enough. Beyond its
age the channel is missing. Age is counted in whole rows of the series. The value is forgotten where the clock
of the series starts again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of

_NEVER = -(1 << 62)


class HeldChannels:
    """Fill the last values of slow channels into rows. Not thread-safe.

    Args:
        hold_ns: How long each channel keeps its last value, in nanoseconds; 0: not at all.

    >>> held = HeldChannels((0, 20))
    >>> slot, row = np.zeros(4, np.int32), np.arange(4)
    >>> values = np.array([[1.0, 5.0], [2.0, np.nan], [3.0, np.nan], [4.0, np.nan]])
    >>> held.filled(slot, row, values, np.full(4, 10))[:, 1].tolist()
    [5.0, 5.0, 5.0, nan]
    """

    def __init__(self, hold_ns: Sequence[int]) -> None:
        every = np.array(hold_ns, np.int64)
        self._at = np.flatnonzero(every)
        self._hold_ns = every[self._at]
        self._value = SeriesArray((len(self._at),), np.float64, np.nan)
        self._row = SeriesArray((len(self._at),), np.int64, _NEVER)

    def arrays(self) -> list[SeriesArray]:
        """Return the state of every series for a snapshot; nothing where no channel is held."""
        return [self._value, self._row] if len(self._at) else []

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget the last values of these series."""
        for array in self.arrays():
            array.reset(slots)

    def filled(
        self,
        slot: NDArray[np.int32],
        row: NDArray[np.int64],
        values: NDArray[np.float64],
        interval_ns: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Return the values of rows with those that are held. The rows follow those of all calls before.

        Args:
            slot: Number of the series of each row, int32 [n], ascending.
            row: Number of each row, int64 [n], ascending within a series.
            values: float64 [n, channels], NaN where no value arrived.
            interval_ns: Length of each row, int64 [n].
        """
        if not len(self._at) or not len(slot):
            return values
        for array in self.arrays():
            array.reserve(int(slot.max()) + 1)
        starts = starts_of(slot)
        lengths = lengths_of(starts, len(slot))
        own = values[:, self._at]
        known = ~np.isnan(own)
        last = np.maximum.accumulate(np.where(known, np.arange(len(slot))[:, None], -1), axis=0)
        is_of_series = last >= np.repeat(starts, lengths)[:, None]
        last = np.maximum(last, 0)
        value = np.where(is_of_series, np.take_along_axis(own, last, axis=0), self._value.data[slot])
        came = np.where(is_of_series, row[last], self._row.data[slot])
        is_young = row[:, None] - came <= self._hold_ns // interval_ns[:, None]
        num_known = np.count_nonzero(~np.isnan(values), axis=1)
        filled = values.copy()
        filled[:, self._at] = np.where(~known & is_young & (num_known > 0)[:, None], value, own)
        ends = starts + lengths - 1
        self._value.data[slot[ends]], self._row.data[slot[ends]] = value[ends], came[ends]
        return filled
