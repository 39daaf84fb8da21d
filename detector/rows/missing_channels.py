"""Find channels that have stopped sending while the others of their series go on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray
from detector.rows.windows import NewRows

LEAST_MISSING_ROWS = 30
"""No learnt limit is shorter, because a few readings may always be lost."""

_NEVER_HAD = -(1 << 60)


class MissingChannels:
    """Count the rows for which each channel has had no value, and flag those beyond their limit.

    Only rows with a value of some other channel count, so that a silent series misses none of its channels.
    A long gap does not end the count, because a channel that was missing before it still is.

    Args:
        num_channels: Number of channels.
    """

    def __init__(self, num_channels: int) -> None:
        self._limit = np.zeros(num_channels, np.int64)
        self._absent = SeriesArray((num_channels,), np.int64, 0)

    def use_limits(self, limit_rows: NDArray[np.int64]) -> None:
        """Apply other limits from the next row on, int64 [C] rows; 0 means that a channel is not checked."""
        self._limit = limit_rows

    def never_had(self, slot: int, channels: Sequence[int]) -> None:
        """Do not miss these channels of a new series until they have sent something."""
        self._absent.reserve(slot + 1)
        self._absent.data[slot, list(channels)] = _NEVER_HAD

    def missing(self, new_rows: NewRows) -> NDArray[np.bool_]:
        """Return the mask of missing channels, bool [n, C], and update the counts. Empty rows flag none."""
        known = ~np.isnan(new_rows.values)
        if len(new_rows) == 0:
            return known
        self._absent.reserve(int(new_rows.slot.max()) + 1)
        if known.all():  # the usual case
            self._absent.data[new_rows.present] = 0
            return ~known
        has_any: NDArray[np.bool_] = np.logical_or.reduce(known, axis=1)
        counted = np.cumsum(has_any)[:, None]
        index = np.arange(len(known))[:, None]
        last = np.maximum.accumulate(np.where(known, index, -1), axis=0)
        first = np.repeat(new_rows.starts, new_rows.lengths)
        before = (counted[first, 0] - has_any[first])[:, None]
        carried = self._absent.data[new_rows.slot]
        since = np.where(last >= first[:, None], -counted[np.maximum(last, 0), 0], carried - before)
        absent = counted + since
        self._absent.data[new_rows.present] = absent[new_rows.ends]
        mask: NDArray[np.bool_] = (self._limit > 0) & (absent >= self._limit) & has_any[:, None]
        return mask

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget the series in `slots`."""
        self._absent.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return the state of every series, for a snapshot."""
        return [self._absent]
