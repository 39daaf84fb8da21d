"""Overlap averaging: the output of a row is the mean over several windows that contain it.

With a delay of D rows these are all windows that contain the row and end within D rows after it. The row
waits until they have ended. With D = 0 it is the one window that ends at the row, and nothing waits.

Letters: n rows, C channels, N windows, S span, k series present.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray
from detector.rows.windows import NewRows

_EMPTY = np.iinfo(np.int64).min // 2
"""The row number of a place in which no row waits."""


@dataclass(frozen=True, slots=True)
class WindowOutput:
    """One kind of output of N windows, for the last `span` rows of each.

    ends    intp [N], the new rows at which the windows end
    values  [N, S, width], one value for each row, the last row last; or [N, 1, width], the same for all
    """

    ends: NDArray[np.intp]
    values: NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class RowOutput:
    """Rows with the mean outputs of their windows, sorted by slot and row.

    slot    int32 [n]
    row     int64 [n]
    actual  float64 [n, C], physical units, NaN where none came
    flags   uint8 [n, C], as given by the caller
    context  int32 [n, K], as given by the caller
    means   one float64 [n, width] for each kind of `WindowOutput`, NaN where no window covered the row
    """

    slot: NDArray[np.int32]
    row: NDArray[np.int64]
    actual: NDArray[np.float64]
    flags: NDArray[np.uint8]
    context: NDArray[np.int32]
    means: tuple[NDArray[np.float64], ...]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: NDArray[np.bool_]) -> RowOutput:
        """Return the rows of a mask, bool [n]."""
        means = tuple(mean[rows] for mean in self.means)
        slot, row, actual = self.slot[rows], self.row[rows], self.actual[rows]
        return RowOutput(slot, row, actual, self.flags[rows], self.context[rows], means)


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """The shape of one kind of `WindowOutput`: `width` values for each of the last `span` rows."""

    width: int
    span: int


class OverlapAverager:
    """Holds the waiting rows of every series, and averages the outputs of the windows that cover them.

    A row waits for as many rows as the longest span less one.

    Args:
        num_channels: channels of the actual values and flags.
        specs: the shape of every kind of window output.
        num_context: K, columns of the context.
    """

    def __init__(self, num_channels: int, specs: Sequence[OutputSpec], num_context: int = 0) -> None:
        self._spans = [spec.span for spec in specs]
        self._wait = max(self._spans) - 1
        self._row = SeriesArray((self._wait,), np.int64, _EMPTY)
        self._actual = SeriesArray((self._wait, num_channels), np.float64, np.nan)
        self._flags = SeriesArray((self._wait, num_channels), np.uint8, 0)
        self._context = SeriesArray((self._wait, num_context), np.int32, 0)
        self._sums = [SeriesArray((self._wait, spec.width), np.float64, 0.0) for spec in specs]
        self._counts = [SeriesArray((self._wait,), np.int32, 0) for _ in specs]

    def add(
        self,
        new_rows: NewRows,
        flags: NDArray[np.uint8],
        outputs: Sequence[WindowOutput],
        context: NDArray[np.int32] | None = None,
    ) -> RowOutput:
        """Add new rows and the outputs of the windows that end at some of them; return the final rows.

        Args:
            new_rows: the next rows of some series.
            flags: passed on with each row, uint8 [n, C].
            outputs: one for each kind, in the order of `specs`.
            context: passed on with each row, int32 [n, K]; None where K is 0.
        """
        if context is None:
            context = np.empty((len(new_rows), 0), np.int32)
        if self._wait == 0:
            return self._without_delay(new_rows, flags, outputs, context)
        self._reserve(new_rows.slot)
        layout = _layout(new_rows, self._wait)
        columns = self._concatenate([new_rows.row, new_rows.values, flags, context], new_rows, layout)
        num = len(outputs)
        for one, span, total, count in zip(
            outputs, self._spans, columns[4:], columns[4 + num :], strict=False
        ):
            for back in range(span):
                at = layout.new[one.ends] - back
                total[at] += one.values[:, max(0, one.values.shape[1] - 1 - back)]
                count[at] += 1
        self._keep(new_rows, columns, layout)
        return self._final(new_rows, columns, layout)

    def flush(self, slots: NDArray[np.int32] | None = None) -> RowOutput:
        """Return every waiting row, or those of some series, with the outputs so far; forget these rows."""
        waits = self._row.data != _EMPTY
        if slots is not None:
            waits &= np.isin(np.arange(len(waits)), slots)[:, None]
        slot, at = np.nonzero(waits)
        columns = [array.data[slot, at] for array in self.arrays()]
        rows = self._averaged(slot.astype(np.int32), columns)
        self.drop(np.unique(slot).astype(np.int32))
        return rows

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)

    def discard_outputs(self, slots: NDArray[np.int32]) -> None:
        """Discard the window outputs of the waiting rows of these series; the rows continue to wait."""
        for array in (*self._sums, *self._counts):
            array.reset(slots)

    def _without_delay(
        self,
        new_rows: NewRows,
        flags: NDArray[np.uint8],
        outputs: Sequence[WindowOutput],
        context: NDArray[np.int32],
    ) -> RowOutput:
        """Return the new rows, each with the output of the one window that ends at it."""
        means = []
        for one in outputs:
            mean = np.full((len(new_rows), one.values.shape[2]), np.nan)
            mean[one.ends] = one.values[:, -1]
            means.append(mean)
        return RowOutput(new_rows.slot, new_rows.row, new_rows.values, flags, context, tuple(means))

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._row, self._actual, self._flags, self._context, *self._sums, *self._counts]

    def _reserve(self, slot: NDArray[np.int32]) -> None:
        size = int(slot.max(initial=-1)) + 1
        for array in self.arrays():
            array.reserve(size)

    def _concatenate(
        self, given: list[NDArray[Any]], new_rows: NewRows, layout: _Layout
    ) -> list[NDArray[Any]]:
        """Return each array's waiting and new rows in one column, laid out as `layout` describes."""
        arrays = self.arrays()
        new: list[Any] = [*given, *([0] * (len(arrays) - len(given)))]
        columns = []
        for array, values in zip(arrays, new, strict=True):
            column = np.empty((layout.size, *array.data.shape[2:]), array.data.dtype)
            column[layout.waiting] = array.data[new_rows.present]
            column[layout.new] = values
            columns.append(column)
        return columns

    def _keep(self, new_rows: NewRows, columns: list[NDArray[Any]], layout: _Layout) -> None:
        """Write the last rows of each series back; those before a long gap wait no longer."""
        kept = layout.last[:, None] - np.arange(self._wait)[::-1]
        for array, column in zip(self.arrays(), columns, strict=True):
            array.data[new_rows.present] = column[kept]
        final = kept < layout.last_restart[:, None]
        self._row.data[new_rows.present] = np.where(final, _EMPTY, columns[0][kept])

    def _final(self, new_rows: NewRows, columns: list[NDArray[Any]], layout: _Layout) -> RowOutput:
        """Return rows that no later window can cover.

        Either enough rows have followed, or a long gap reset the series.
        """
        lengths = new_rows.lengths + self._wait
        certain = np.maximum(layout.last - self._wait + 1, layout.last_restart)
        final = np.arange(layout.size) < np.repeat(certain, lengths)
        final &= columns[0] != _EMPTY
        slot = np.repeat(new_rows.present, lengths)
        return self._averaged(slot[final], [column[final] for column in columns])

    def _averaged(self, slot: NDArray[np.int32], columns: list[NDArray[Any]]) -> RowOutput:
        """Return rows with the mean of each output: its sum divided by the number of windows."""
        row, actual, flags, context, *rest = columns
        num = len(self._spans)
        counted = [np.where(count > 0, count, np.nan)[:, None] for count in rest[num:]]
        means = tuple(total / count for total, count in zip(rest[:num], counted, strict=True))
        return RowOutput(slot, row, actual, flags, context, means)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where rows are in one array of `size` rows: of each series the waiting rows, then the new ones.

    new           intp [n], the places of the new rows
    waiting       intp [k, wait], the places of the waiting rows
    last          intp [k], the place of each series' last row
    last_restart  intp [k], the newest row before which the series' window was emptied, else -1
    """

    size: int
    new: NDArray[np.intp]
    waiting: NDArray[np.intp]
    last: NDArray[np.intp]
    last_restart: NDArray[np.intp]


def _layout(new_rows: NewRows, wait: int) -> _Layout:
    num_series = len(new_rows.starts)
    segment = np.repeat(np.arange(num_series), new_rows.lengths)
    new = np.arange(len(new_rows)) + (segment + 1) * wait
    first = new_rows.starts + np.arange(num_series) * wait
    last = new[new_rows.ends]
    last_restart = np.full(num_series, -1)
    last_restart[segment[new_rows.restart]] = new[new_rows.restart]
    return _Layout(
        len(new_rows) + num_series * wait, new, first[:, None] + np.arange(wait), last, last_restart
    )
