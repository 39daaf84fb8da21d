"""Turn the closed rows of all series into windows: fill gaps, keep the last rows of each series.

A step works on one flat array. For every series with new rows it holds the last `window - 1` rows and
then the new ones. A window is therefore a slice of that array, for any series and any number of new rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.rows.grid import Rows
from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of

MIN_KNOWN_SHARE = 0.25
"""Least share of the cells of a window that need a value. Emptier windows are neither scored nor encoded."""
_NO_ROW = np.iinfo(np.int64).min // 2


@dataclass(frozen=True, slots=True)
class NewRows:
    """Hold the new rows of a step, rows of short gaps included, sorted by slot and row.

    n rows, k series, C channels.

    slot      int32 [n], number of the series
    row       int64 [n], number of the row
    values    float64 [n, C], physical units, NaN where no value arrived
    age       int64 [n], rows of the series since its start or its last long gap, this row included
    restart   bool [n], True where a long gap lies before this row, so that its window starts empty
    starts    intp [k], where the rows of each series begin
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
        """Return the slots with new rows, int32 [k]."""
        return self.slot[self.starts]

    @property
    def lengths(self) -> NDArray[np.intp]:
        """Return the number of new rows of each series, intp [k]."""
        return lengths_of(self.starts, len(self))

    @property
    def ends(self) -> NDArray[np.intp]:
        """Return the index of the last new row of each series, intp [k]."""
        return self.starts + self.lengths - 1


class GapFiller:
    """Insert rows of NaN where rows are missing, and restart a series after a long gap.

    For every series it keeps the number of the last row, and the number of rows since the last long gap.

    Args:
        max_gap: Number of missing rows up to which a gap is filled. A longer gap restarts the series.
    """

    def __init__(self, max_gap: int) -> None:
        self._max_gap = max_gap
        self._last_row = SeriesArray((), np.int64, _NO_ROW)
        self._age = SeriesArray((), np.int64, 0)

    def extend(self, rows: Rows) -> NewRows:
        """Return `rows` with short gaps filled; long gaps are marked in `restart`.

        Args:
            rows: Closed rows, sorted by slot and row, each newer than the last row of its series.
        """
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
        """Forget the series in `slots`; the next row of each is its first."""
        self._last_row.reset(slots)
        self._age.reset(slots)

    def ages(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the number of rows since the start or the last long gap of each series, int64 [n]."""
        self._reserve(slots)
        ages: NDArray[np.int64] = self._age.data[slots]
        return ages

    def newest(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the number of the last row of each series, int64 [n]; far below 0 where there is none."""
        self._reserve(slots)
        newest: NDArray[np.int64] = self._last_row.data[slots]
        return newest

    def arrays(self) -> list[SeriesArray]:
        """Return the state of every series, for a snapshot."""
        return [self._last_row, self._age]

    def _reserve(self, slot: NDArray[np.int32]) -> None:
        size = int(slot.max(initial=-1)) + 1
        self._last_row.reserve(size)
        self._age.reserve(size)

    def _spread(self, rows: Rows, missing: NDArray[np.int64], restart: NDArray[np.bool_]) -> NewRows:
        """Insert `missing` rows, int64 [n], before each of `rows`, and remember where each series ends."""
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
        """Return the age of each row: those of a series that did not restart continue its age."""
        index = np.arange(len(slot))
        begins = restart.copy()
        begins[starts] = True
        begin = np.maximum.accumulate(np.where(begins, index, 0))
        carried = np.where(restart[begin], 0, self._age.data[slot])
        ages: NDArray[np.int64] = index - begin + 1 + carried
        return ages


class WindowBuffer:
    """Keep the last `length` rows of every series in the units of the model.

    Attributes:
        rows: float32 [slots, length, C], the newest row last; NaN where there is none.
    """

    def __init__(self, length: int, num_channels: int) -> None:
        self._length = length
        self.rows = SeriesArray((length, num_channels), np.float32, np.nan)

    def flatten(
        self, new_rows: NewRows, scaled: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Place the kept and the new rows of each series next to each other, then keep the newest rows.

        Args:
            new_rows: The n new rows of this step, of k series.
            scaled: Their values in the units of the model, float32 [n, C].

        Returns:
            All rows, float32 [n + k * length, C], and the index of each new row in them, intp [n].
        """
        self.rows.reserve(int(new_rows.slot.max(initial=-1)) + 1)
        num_series = len(new_rows.starts)
        segment = np.repeat(np.arange(num_series), new_rows.lengths)
        at = np.arange(len(new_rows)) + (segment + 1) * self._length
        flat = np.empty((len(new_rows) + num_series * self._length, scaled.shape[1]), np.float32)
        flat[at] = scaled
        first = new_rows.starts + np.arange(num_series) * self._length
        kept = first[:, None] + np.arange(self._length)
        flat[kept] = self.rows.data[new_rows.present]
        last = at[new_rows.ends]
        self.rows.data[new_rows.present] = flat[last[:, None] - np.arange(self._length)[::-1]]
        return flat, at

    def rescale(
        self, slots: NDArray[np.int32], factor: NDArray[np.float64], offset: NDArray[np.float64]
    ) -> None:
        """Convert the kept rows of some series to other units: x * factor + offset.

        Args:
            slots: Numbers of the series, int32 [n].
            factor: One number for each series and channel, float64 [n, C].
            offset: One number for each series and channel, float64 [n, C].
        """
        self.rows.data[slots] = self.rows.data[slots] * factor[:, None] + offset[:, None]

    def move_newest(self, slot: int, num_rows: int, by: NDArray[np.float64]) -> None:
        """Subtract `by`, float64 [C] in the units of the model, from the newest rows of a series."""
        first = max(0, self._length - num_rows)
        self.rows.reserve(slot + 1)
        self.rows.data[slot, first:] -= by.astype(np.float32)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget the rows of the series in `slots`."""
        self.rows.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return the state of every series, for a snapshot."""
        return [self.rows]
