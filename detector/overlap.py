"""Rows that wait for the windows that end after them.

With a delay of D rows, a row's expected value is the mean over all windows that end within D rows after
it; with D = 0 it is that of the one window that ends at the row, and nothing waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.slots import SlotArray
from detector.windows import Stretch

_EMPTY = np.iinfo(np.int64).min // 2


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows whose expected value will not change any more, sorted by slot and row.

    slot int32 [n]; row int64 [n]; actual float64 [n, C]; flags uint8 [n, C], of the caller;
    expected float32 [n, C] in the model's units, NaN where no window covered the row.
    """

    slot: NDArray[np.int32]
    row: NDArray[np.int64]
    actual: NDArray[np.float64]
    flags: NDArray[np.uint8]
    expected: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.row)


class Overlap:
    """The waiting rows of every series; `span - 1` is the delay."""

    def __init__(self, span: int, num_channels: int) -> None:
        self._wait = span - 1
        self._row = SlotArray((self._wait,), np.int64, _EMPTY)
        self._actual = SlotArray((self._wait, num_channels), np.float64, np.nan)
        self._flags = SlotArray((self._wait, num_channels), np.uint8, 0)
        self._sum = SlotArray((self._wait, num_channels), np.float32, 0.0)
        self._count = SlotArray((self._wait,), np.int32, 0)

    def judge(
        self,
        stretch: Stretch,
        flags: NDArray[np.uint8],
        scored: NDArray[np.intp],
        reconstructed: NDArray[np.float32],
    ) -> Judged:
        """Take new rows and the windows that ended at some of them; return the rows now final.

        scored intp [N], the new rows at which a window ended; reconstructed float32 [N, span, C].
        """
        if self._wait == 0:
            expected = np.full(stretch.values.shape, np.nan, np.float32)
            expected[scored] = reconstructed[:, -1]
            return Judged(stretch.slot, stretch.row, stretch.values, flags, expected)
        self._reserve(stretch.slot)
        layout = _layout(stretch, self._wait)
        columns = self._concatenate(stretch, flags, layout)
        total, count = columns[3], columns[4]
        for back in range(self._wait + 1):
            at = layout.new[scored] - back
            total[at] += reconstructed[:, self._wait - back]
            count[at] += 1
        self._keep(stretch, columns, layout)
        return self._final(stretch, columns, layout)

    def flush(self) -> Judged:
        """Every waiting row, as it stands: the input has ended."""
        slot, at = np.nonzero(self._row.data != _EMPTY)
        judged = _judged(
            slot.astype(np.int32),
            self._row.data[slot, at],
            self._actual.data[slot, at],
            self._flags.data[slot, at],
            self._sum.data[slot, at],
            self._count.data[slot, at],
        )
        self.drop(np.unique(slot).astype(np.int32))
        return judged

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self._arrays():
            array.reset(slots)

    def _arrays(self) -> tuple[SlotArray, ...]:
        return (self._row, self._actual, self._flags, self._sum, self._count)

    def _reserve(self, slot: NDArray[np.int32]) -> None:
        size = int(slot.max(initial=-1)) + 1
        for array in self._arrays():
            array.reserve(size)

    def _concatenate(
        self, stretch: Stretch, flags: NDArray[np.uint8], layout: _Layout
    ) -> tuple[NDArray[Any], ...]:
        new = (stretch.row, stretch.values, flags, 0.0, 0)
        columns = []
        for array, fresh in zip(self._arrays(), new, strict=True):
            column = np.empty((layout.size, *array.data.shape[2:]), array.data.dtype)
            column[layout.waiting] = array.data[stretch.present]
            column[layout.new] = fresh
            columns.append(column)
        return tuple(columns)

    def _keep(self, stretch: Stretch, columns: tuple[NDArray[Any], ...], layout: _Layout) -> None:
        kept = layout.last[:, None] - np.arange(self._wait)[::-1]
        for array, column in zip(self._arrays(), columns, strict=True):
            array.data[stretch.present] = column[kept]
        final = kept < layout.last_restart[:, None]
        self._row.data[stretch.present] = np.where(final, _EMPTY, columns[0][kept])

    def _final(self, stretch: Stretch, columns: tuple[NDArray[Any], ...], layout: _Layout) -> Judged:
        """Rows with enough rows after them, and rows before a gap so long that none will count."""
        lengths = stretch.lengths + self._wait
        certain = np.maximum(layout.last - self._wait + 1, layout.last_restart)
        final = np.arange(layout.size) < np.repeat(certain, lengths)
        final &= columns[0] != _EMPTY
        slot = np.repeat(stretch.present, lengths)
        return _judged(slot[final], *(column[final] for column in columns))


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


def _layout(stretch: Stretch, wait: int) -> _Layout:
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


def _judged(
    slot: NDArray[np.int32],
    row: NDArray[np.int64],
    actual: NDArray[np.float64],
    flags: NDArray[np.uint8],
    total: NDArray[np.float32],
    count: NDArray[np.int32],
) -> Judged:
    covered = np.where(count > 0, count, np.nan).astype(np.float32)
    expected = total / covered[:, None]
    return Judged(slot, row, actual, flags, expected)
