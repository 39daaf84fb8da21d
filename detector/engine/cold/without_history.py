"""What a series learns beside its scales where its model has no history (`detector.artifact.fallback`).

How long each channel stands still in normal rows, so from when on it is stuck. And from when on
the rows of an alarm are normal too: once it has lasted as long as all rows before it.

Letters: n rows, C channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray

_LEAST_ROWS = 32
_TIMES = 4.0
"""A channel is stuck after so many times its longest standstill, and after at least so many rows."""
_MOST_SHARE = 1.0 / 8.0
"""A channel that stood still for more than this share of the rows is one of few values: it is not checked."""


class WithoutHistory:
    """Keep the runs of equal values of every series, and which learn from every row. Not thread-safe.

    Args:
        num_channels: C.

    Attributes:
        takes_all: Whether a series learns from rows of its alarm too, bool.
    """

    def __init__(self, num_channels: int) -> None:
        self._value = SeriesArray((num_channels,), np.float64, np.nan)
        self._run = SeriesArray((num_channels,), np.int64, 0)
        self._longest = SeriesArray((num_channels,), np.int64, 0)
        self.takes_all = SeriesArray((), np.bool_, False)

    def add(self, slot: int, values: NDArray[np.float64]) -> None:
        """Take in the next normal rows of a series, float64 [n, C], NaN where unknown."""
        self._reserve(slot)
        last, run, longest = (one.data[slot] for one in (self._value, self._run, self._longest))
        for value in values:
            known = ~np.isnan(value)
            run[known] = np.where(value[known] == last[known], run[known] + 1, 1)
            last[known] = value[known]
            np.maximum(longest, run, out=longest)

    def learns_all(self, slot: int, alarm_rows: int, num_rows: int) -> bool:
        """Note how long the alarm of a series has lasted; return whether it learns from every row now.

        Args:
            slot: The series.
            alarm_rows: Rows since its alarm began, 0 without one.
            num_rows: From how many rows it has learnt.
        """
        self._reserve(slot)
        known = bool(self.takes_all.data[slot])
        self.takes_all.data[slot] = alarm_rows > 0 and (known or alarm_rows >= num_rows)
        return bool(self.takes_all.data[slot])

    def limits(self, slot: int, num_rows: int) -> NDArray[np.float64]:
        """Return from how many rows of one value each channel is stuck, float64 [C]; infinite: not checked.

        Args:
            slot: The series.
            num_rows: From how many rows the runs are.
        """
        self._reserve(slot)
        longest = self._longest.data[slot]
        limit = np.maximum(_TIMES * longest, float(_LEAST_ROWS))
        checked = (longest > 0) & (longest <= _MOST_SHARE * num_rows)
        return np.where(checked, limit, np.inf)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the saved cells."""
        return [self._value, self._run, self._longest, self.takes_all]

    def _reserve(self, slot: int) -> None:
        for array in self.arrays():
            array.reserve(slot + 1)
