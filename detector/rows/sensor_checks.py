"""Check rows without a model: find channels that are stuck and values that are impossible."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray
from detector.rows.windows import NewRows

_SAME = 1e-6  # relative


class Flatline:
    """Find channels whose value has not changed for a long time.

    A channel is stuck when it had one value for its limit of rows. A row without a value does not end the
    run of equal values and is itself never stuck. A long gap ends the run.

    Args:
        limit_rows: The limit of each channel in rows, float64 [C]; 0 means that it is not checked.
    """

    def __init__(self, limit_rows: NDArray[np.float64]) -> None:
        self._watched = limit_rows > 0
        self._limit = limit_rows[self._watched].astype(np.int64)
        num_watched = len(self._limit)
        self._value = SeriesArray((num_watched,), np.float64, np.nan)
        self._unchanged = SeriesArray((num_watched,), np.int64, 0)

    @property
    def is_off(self) -> bool:
        """Return whether no channel is checked."""
        return not self._watched.any()

    def stuck(self, new_rows: NewRows) -> NDArray[np.float64]:
        """Return how long each channel is stuck, float64 [n, C], and update the runs of equal values.

        It is the run of equal values in units of the channel's limit: from 1 on the channel is stuck. It is 0
        where the channel has no value, or is not checked.
        """
        ratio = np.zeros(new_rows.values.shape)
        if self._watched.any() and len(new_rows):
            values = new_rows.values[:, self._watched]
            equal_rows = self._rows_of_equal_value(new_rows, values)
            ratio[:, self._watched] = np.where(np.isnan(values), 0.0, equal_rows / self._limit)
        return ratio

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget the series in `slots`."""
        self._value.reset(slots)
        self._unchanged.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return the state of every series, for a snapshot."""
        return [self._value, self._unchanged]

    def _rows_of_equal_value(self, new_rows: NewRows, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return how many rows, this one included, each channel has had its value, int64 [n, watched]."""
        size = int(new_rows.slot.max()) + 1
        self._value.reserve(size)
        self._unchanged.reserve(size)
        index = np.arange(len(values))[:, None]
        first = np.repeat(new_rows.starts, new_rows.lengths)[:, None]
        kept_value = self._value.data[new_rows.slot]
        last_valid = np.maximum.accumulate(np.where(np.isnan(values), -1, index), axis=0)
        before = np.vstack([np.full((1, values.shape[1]), -1), last_valid[:-1]])
        previous = np.where(
            before >= first, np.take_along_axis(values, np.maximum(before, 0), axis=0), kept_value
        )
        changed = (~np.isnan(values) & (values != previous)) | new_rows.restart[:, None]
        last_change = np.maximum.accumulate(np.where(changed, index, -1), axis=0)
        carried = self._unchanged.data[new_rows.slot]
        equal: NDArray[np.int64] = np.where(
            last_change >= first, index - last_change + 1, carried + (index - first + 1)
        )
        newest = last_valid[new_rows.ends]
        self._unchanged.data[new_rows.present] = equal[new_rows.ends]
        self._value.data[new_rows.present] = np.where(
            newest >= new_rows.starts[:, None],
            np.take_along_axis(values, np.maximum(newest, 0), axis=0),
            kept_value[new_rows.ends],
        )
        return equal


def out_of_range(
    values: NDArray[np.float64], valid_min: NDArray[np.float64], valid_max: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return the mask of values outside the range that the user declared, bool [n, C].

    Args:
        values: float64 [n, C], in the units of the channel; NaN is never out of range.
        valid_min: Least possible value of each channel, float64 [C]; NaN where there is no bound.
        valid_max: Greatest possible value of each channel, float64 [C]; NaN where there is no bound.
    """
    mask: NDArray[np.bool_] = (values < valid_min) | (values > valid_max)
    return mask


def is_sentinel(values: NDArray[np.float64], sentinels: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the mask of values that stand for no value, bool [n, C].

    The comparison allows for a value that passed through 32 bits.

    Args:
        values: float64 [n, C], in the units of the channel; NaN is never a sentinel.
        sentinels: float64 [k, C], NaN where a channel has fewer.

    >>> is_sentinel(np.array([[-9999.0, -9999.0]]), np.array([[-9999.0, np.nan]])).tolist()
    [[True, False]]
    """
    mask = np.zeros(values.shape, np.bool_)
    for sentinel in sentinels:
        mask |= np.abs(values - sentinel) <= _SAME * np.abs(sentinel)
    return mask
