"""Rows that wait for the windows that end after them.

With a delay of D rows, what is said of a row is the mean over all windows that contain it and end within D
rows after it; with D = 0 it is what the one window says that ends at the row, and nothing waits.
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


@dataclass(frozen=True, slots=True)
class WindowOutput:
    """What windows say of their last `span` rows.

    ends    intp [N], the new rows at which the windows end
    values  [N, S, width], a value a row, the last row last; or [N, 1, width], the same for all
    """

    ends: NDArray[np.intp]
    values: NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class RowOutput:
    """Rows of which no more will be said, sorted by slot and row.

    slot int32 [n]; row int64 [n]; actual float64 [n, C]; flags uint8 [n, C], of the caller;
    means, one float64 [n, width] for each kind of `WindowOutput`, NaN where no window spoke of the row.
    """

    slot: NDArray[np.int32]
    row: NDArray[np.int64]
    actual: NDArray[np.float64]
    flags: NDArray[np.uint8]
    means: tuple[NDArray[np.float64], ...]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: NDArray[np.bool_]) -> RowOutput:
        """The rows of a mask."""
        means = tuple(mean[rows] for mean in self.means)
        return RowOutput(self.slot[rows], self.row[rows], self.actual[rows], self.flags[rows], means)


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """One kind of `WindowOutput`: numbers a row, and the rows that a window speaks of."""

    width: int
    span: int


class OverlapAverager:
    """The waiting rows of every series; the longest span less one is the delay."""

    def __init__(self, num_channels: int, kinds: Sequence[OutputSpec]) -> None:
        self._spans = [kind.span for kind in kinds]
        self._wait = max(self._spans) - 1
        self._row = SeriesArray((self._wait,), np.int64, _EMPTY)
        self._actual = SeriesArray((self._wait, num_channels), np.float64, np.nan)
        self._flags = SeriesArray((self._wait, num_channels), np.uint8, 0)
        self._sums = [SeriesArray((self._wait, kind.width), np.float64, 0.0) for kind in kinds]
        self._counts = [SeriesArray((self._wait,), np.int32, 0) for _ in kinds]

    def judge(self, stretch: NewRows, flags: NDArray[np.uint8], said: Sequence[WindowOutput]) -> RowOutput:
        """Take new rows and what the windows that end at some of them say, by kind; return the rows
        that are final now."""
        if self._wait == 0:
            return self._at_once(stretch, flags, said)
        self._reserve(stretch.slot)
        layout = _layout(stretch, self._wait)
        columns = self._concatenate(stretch, flags, layout)
        num = len(said)
        for one, span, total, count in zip(said, self._spans, columns[3:], columns[3 + num :], strict=False):
            for back in range(span):
                at = layout.new[one.ends] - back
                total[at] += one.values[:, max(0, one.values.shape[1] - 1 - back)]
                count[at] += 1
        self._keep(stretch, columns, layout)
        return self._final(stretch, columns, layout)

    def flush(self) -> RowOutput:
        """Every waiting row, as it stands: the input has ended."""
        slot, at = np.nonzero(self._row.data != _EMPTY)
        columns = [array.data[slot, at] for array in self.arrays()]
        judged = self._judged(slot.astype(np.int32), columns)
        self.drop(np.unique(slot).astype(np.int32))
        return judged

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)

    def discard_outputs(self, slots: NDArray[np.int32]) -> None:
        """Forget what windows have said of the waiting rows of these series; the rows go on waiting."""
        for array in (*self._sums, *self._counts):
            array.reset(slots)

    def _at_once(self, stretch: NewRows, flags: NDArray[np.uint8], said: Sequence[WindowOutput]) -> RowOutput:
        """Nothing waits: each row has what the one window says that ends at it."""
        means = []
        for one in said:
            mean = np.full((len(stretch), one.values.shape[2]), np.nan)
            mean[one.ends] = one.values[:, -1]
            means.append(mean)
        return RowOutput(stretch.slot, stretch.row, stretch.values, flags, tuple(means))

    def arrays(self) -> list[SeriesArray]:
        """What is remembered of a series."""
        return [self._row, self._actual, self._flags, *self._sums, *self._counts]

    def _reserve(self, slot: NDArray[np.int32]) -> None:
        size = int(slot.max(initial=-1)) + 1
        for array in self.arrays():
            array.reserve(size)

    def _concatenate(self, stretch: NewRows, flags: NDArray[np.uint8], layout: _Layout) -> list[NDArray[Any]]:
        arrays = self.arrays()
        new: list[Any] = [stretch.row, stretch.values, flags, *([0] * (len(arrays) - 3))]
        columns = []
        for array, fresh in zip(arrays, new, strict=True):
            column = np.empty((layout.size, *array.data.shape[2:]), array.data.dtype)
            column[layout.waiting] = array.data[stretch.present]
            column[layout.new] = fresh
            columns.append(column)
        return columns

    def _keep(self, stretch: NewRows, columns: list[NDArray[Any]], layout: _Layout) -> None:
        kept = layout.last[:, None] - np.arange(self._wait)[::-1]
        for array, column in zip(self.arrays(), columns, strict=True):
            array.data[stretch.present] = column[kept]
        final = kept < layout.last_restart[:, None]
        self._row.data[stretch.present] = np.where(final, _EMPTY, columns[0][kept])

    def _final(self, stretch: NewRows, columns: list[NDArray[Any]], layout: _Layout) -> RowOutput:
        """Rows with enough rows after them, and rows before a gap so long that none will count."""
        lengths = stretch.lengths + self._wait
        certain = np.maximum(layout.last - self._wait + 1, layout.last_restart)
        final = np.arange(layout.size) < np.repeat(certain, lengths)
        final &= columns[0] != _EMPTY
        slot = np.repeat(stretch.present, lengths)
        return self._judged(slot[final], [column[final] for column in columns])

    def _judged(self, slot: NDArray[np.int32], columns: list[NDArray[Any]]) -> RowOutput:
        row, actual, flags, *rest = columns
        num = len(self._spans)
        counted = [np.where(count > 0, count, np.nan)[:, None] for count in rest[num:]]
        means = tuple(total / count for total, count in zip(rest[:num], counted, strict=True))
        return RowOutput(slot, row, actual, flags, means)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Every series' waiting rows before its new ones, in one array of `size` rows.

    new [n], where the new rows are; waiting [k, wait], where the waiting ones are; last [k], each
    series' last row; last_restart [k], the newest row before which its window was emptied, else -1.
    """

    size: int
    new: NDArray[np.intp]
    waiting: NDArray[np.intp]
    last: NDArray[np.intp]
    last_restart: NDArray[np.intp]


def _layout(stretch: NewRows, wait: int) -> _Layout:
    num_series = len(stretch.starts)
    segment = np.repeat(np.arange(num_series), stretch.lengths)
    new = np.arange(len(stretch)) + (segment + 1) * wait
    first = stretch.starts + np.arange(num_series) * wait
    last = new[stretch.ends]
    last_restart = np.full(num_series, -1)
    last_restart[segment[stretch.restart]] = new[stretch.restart]
    return _Layout(
        len(stretch) + num_series * wait, new, first[:, None] + np.arange(wait), last, last_restart
    )
