"""What can be said of a row without a model: stuck channels and impossible values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray
from detector.rows.windows import NewRows


class Flatline:
    """How long each channel of each series has not changed.

    A channel is stuck when it has shown one value for `limit_rows` rows (0: never looked at). Rows
    without a value neither end nor prove it.
    """

    def __init__(self, limit_rows: NDArray[np.float64]) -> None:
        self._watched = limit_rows > 0
        self._limit = limit_rows[self._watched].astype(np.int64)
        num_watched = len(self._limit)
        self._value = SeriesArray((num_watched,), np.float64, np.nan)
        self._unchanged = SeriesArray((num_watched,), np.int64, 0)

    def stuck(self, stretch: NewRows) -> NDArray[np.bool_]:
        """Mask of stuck channels, bool [n, C]."""
        mask = np.zeros(stretch.values.shape, np.bool_)
        if self._watched.any() and len(stretch):
            values = stretch.values[:, self._watched]
            equal_rows = self._rows_of_equal_value(stretch, values)
            mask[:, self._watched] = (equal_rows >= self._limit) & ~np.isnan(values)
        return mask

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._value.reset(slots)
        self._unchanged.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """What is remembered of a series."""
        return [self._value, self._unchanged]

    def _rows_of_equal_value(self, stretch: NewRows, values: NDArray[np.float64]) -> NDArray[np.int64]:
        size = int(stretch.slot.max()) + 1
        self._value.reserve(size)
        self._unchanged.reserve(size)
        index = np.arange(len(values))[:, None]
        first = np.repeat(stretch.starts, stretch.lengths)[:, None]
        kept_value = self._value.data[stretch.slot]
        last_valid = np.maximum.accumulate(np.where(np.isnan(values), -1, index), axis=0)
        before = np.vstack([np.full((1, values.shape[1]), -1), last_valid[:-1]])
        previous = np.where(
            before >= first, np.take_along_axis(values, np.maximum(before, 0), axis=0), kept_value
        )
        changed = (~np.isnan(values) & (values != previous)) | stretch.restart[:, None]
        last_change = np.maximum.accumulate(np.where(changed, index, -1), axis=0)
        carried = self._unchanged.data[stretch.slot]
        equal: NDArray[np.int64] = np.where(
            last_change >= first, index - last_change + 1, carried + (index - first + 1)
        )
        newest = last_valid[stretch.ends]
        self._unchanged.data[stretch.present] = equal[stretch.ends]
        self._value.data[stretch.present] = np.where(
            newest >= stretch.starts[:, None],
            np.take_along_axis(values, np.maximum(newest, 0), axis=0),
            kept_value[stretch.ends],
        )
        return equal


def out_of_range(
    values: NDArray[np.float64], valid_min: NDArray[np.float64], valid_max: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Mask of values outside the range that the user declared possible, bool [n, C]; NaN bound: none."""
    mask: NDArray[np.bool_] = (values < valid_min) | (values > valid_max)
    return mask
