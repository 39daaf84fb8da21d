"""Rows of all series become windows: gaps filled with NaN rows, the last rows of each series kept.

A step works on one flat array in which every series present has its last `window - 1` rows followed by
its new ones, so that a window is a slice of it whatever the series and however many rows are new.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.rows.grid import Rows
from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of

_NO_ROW = np.iinfo(np.int64).min // 2


@dataclass(frozen=True, slots=True)
class NewRows:
    """The new rows of a step, gaps included, sorted by slot and row.

    slot      int32 [n]
    row       int64 [n]
    values    float64 [n, C], physical units, NaN where none came
    age       int64 [n], rows since the series' window was empty, this one included
    restart   bool [n], the window was emptied before this row
    starts    intp [k], where each series present begins
    """

    slot: NDArray[np.int32]
    row: NDArray[np.int64]
    values: NDArray[np.float64]
    age: NDArray[np.int64]
    restart: NDArray[np.bool_]
    starts: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.row)

    @property
    def present(self) -> NDArray[np.int32]:
        """The slots with new rows, int32 [k]."""
        return self.slot[self.starts]

    @property
    def lengths(self) -> NDArray[np.intp]:
        """New rows of each series present, intp [k]."""
        return lengths_of(self.starts, len(self))

    @property
    def ends(self) -> NDArray[np.intp]:
        """Where the last new row of each series present is, intp [k]."""
        return self.starts + self.lengths - 1


class GapFiller:
    """The time line of every series: its last row and how long it has been without a long gap."""

    def __init__(self, max_gap: int) -> None:
        self._max_gap = max_gap
        self._last_row = SeriesArray((), np.int64, _NO_ROW)
        self._age = SeriesArray((), np.int64, 0)

    def extend(self, rows: Rows) -> NewRows:
        """Put the missing rows between `rows`; decide where a gap was too long."""
        self._reserve(rows.slot)
        starts = starts_of(rows.slot)
        before = np.empty_like(rows.row)
        before[1:] = rows.row[:-1]
        before[starts] = self._last_row.data[rows.slot[starts]]
        missing = rows.row - before - 1
        restart = missing > self._max_gap
        missing[restart] = 0
        return self._spread(rows, missing, restart)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._last_row.reset(slots)
        self._age.reset(slots)

    def ages(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Rows since the window of each of these series was empty, int64 [n]."""
        self._reserve(slots)
        ages: NDArray[np.int64] = self._age.data[slots]
        return ages

    def arrays(self) -> list[SeriesArray]:
        """What is remembered of a series."""
        return [self._last_row, self._age]

    def _reserve(self, slot: NDArray[np.int32]) -> None:
        size = int(slot.max(initial=-1)) + 1
        self._last_row.reserve(size)
        self._age.reserve(size)

    def _spread(self, rows: Rows, missing: NDArray[np.int64], restart: NDArray[np.bool_]) -> NewRows:
        if missing.any():
            at = np.cumsum(missing + 1) - 1
            source = np.repeat(np.arange(len(rows)), missing + 1)
            num = len(source)
            values = np.full((num, rows.values.shape[1]), np.nan)
            values[at] = rows.values
            row = rows.row[source] - (at[source] - np.arange(num))
            restarted = np.zeros(num, np.bool_)
            restarted[at] = restart
            slot = rows.slot[source]
        else:
            slot, row, values, restarted = rows.slot, rows.row, rows.values, restart
        starts = starts_of(slot)
        age = self._ages(slot, restarted, starts)
        ends = starts + lengths_of(starts, len(slot)) - 1
        self._last_row.data[slot[ends]] = row[ends]
        self._age.data[slot[ends]] = age[ends]
        return NewRows(slot, row, values, age, restarted, starts)

    def _ages(
        self, slot: NDArray[np.int32], restart: NDArray[np.bool_], starts: NDArray[np.intp]
    ) -> NDArray[np.int64]:
        index = np.arange(len(slot))
        begins = restart.copy()
        begins[starts] = True
        begin = np.maximum.accumulate(np.where(begins, index, 0))
        carried = np.where(restart[begin], 0, self._age.data[slot])
        ages: NDArray[np.int64] = index - begin + 1 + carried
        return ages


class WindowBuffer:
    """The last `length` rows of every series in the model's units, float32 [slots, length, C]."""

    def __init__(self, length: int, num_channels: int) -> None:
        self._length = length
        self._rows = SeriesArray((length, num_channels), np.float32, np.nan)

    def flatten(
        self, stretch: NewRows, scaled: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Kept rows and new ones in one array [rows, C], and where in it the new ones are, intp [n]."""
        self._rows.reserve(int(stretch.slot.max(initial=-1)) + 1)
        num_series = len(stretch.starts)
        segment = np.repeat(np.arange(num_series), stretch.lengths)
        at = np.arange(len(stretch)) + (segment + 1) * self._length
        flat = np.empty((len(stretch) + num_series * self._length, scaled.shape[1]), np.float32)
        flat[at] = scaled
        first = stretch.starts + np.arange(num_series) * self._length
        kept = first[:, None] + np.arange(self._length)
        flat[kept] = self._rows.data[stretch.present]
        last = at[stretch.ends]
        self._rows.data[stretch.present] = flat[last[:, None] - np.arange(self._length)[::-1]]
        return flat, at

    def rescale(
        self, slots: NDArray[np.int32], factor: NDArray[np.float64], offset: NDArray[np.float64]
    ) -> None:
        """Put kept rows of some series into other units: x * factor + offset, a channel each."""
        self._rows.data[slots] = self._rows.data[slots] * factor + offset

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._rows.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """What is remembered of a series."""
        return [self._rows]
