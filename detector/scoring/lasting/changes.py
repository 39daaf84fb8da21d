"""How exact the reference is while the other channels change.

When a machine starts or stops, its channels follow each other with delays that a regression on one row and on
means does not know. Its residuals are then many times their usual size. So the usual size of a residual
depends on how fast the *other* channels change. A channel that is at fault alone does not widen its own.

Letters: n rows, C channels, K knots.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.artifact.reference import Reference
from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of
from detector.scoring.lasting.blame import held_peaks

_LIMIT = 8.0
_HALVES_IN = 4
"""Rows in which a change halves: what follows with a delay has not caught up at once."""
_FINEST = 1 << 10
"""Changes of less than the unit of the model divided by this are none."""
_LOGARITHM = float(1 << 16)


class RowChanges:
    """Follow how far the channels of every series move from row to row, and moved of late. Not thread-safe.

    Args:
        num_channels: C.
    """

    def __init__(self, num_channels: int) -> None:
        self._last = SeriesArray((num_channels,), np.float64, np.nan)
        self._held = SeriesArray((num_channels,), np.int64, 0)

    def follow(self, slot: NDArray[np.int32], scaled: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return how far each channel is from its last known value, or was lately, float64 [n, C].

        A change halves in 4 rows. One of an unknown value is none.

        Args:
            slot: The series of the next rows, int32 [n], sorted by slot and row.
            scaled: Values in the units of the model, [n, C], NaN where unknown.
        """
        if len(slot) == 0:
            return np.empty(scaled.shape)
        for array in self.arrays():
            array.reserve(int(slot.max()) + 1)
        starts = starts_of(slot)
        present, lengths = slot[starts], lengths_of(starts, len(slot))
        values = np.clip(scaled.astype(np.float64), -_LIMIT, _LIMIT)
        place = np.where(np.isnan(values), -1, np.arange(len(slot))[:, None])
        newest = np.maximum.accumulate(place, axis=0)
        first = np.repeat(starts, lengths)[:, None]
        before = np.vstack([np.full((1, values.shape[1]), -1), newest[:-1]])
        kept = np.repeat(self._last.data[present], lengths, axis=0)
        last = np.where(before >= first, np.take_along_axis(values, np.maximum(before, 0), axis=0), kept)
        ends = starts + lengths - 1
        held = newest[ends] >= starts[:, None]
        found = np.take_along_axis(values, np.maximum(newest[ends], 0), axis=0)
        self._last.data[present] = np.where(held, found, self._last.data[present])
        change = np.nan_to_num(np.abs(values - last), nan=0.0)
        peaks = held_peaks(change * _FINEST, slot, self._held.data[present], _HALVES_IN)
        self._held.data[present] = peaks[ends]
        return np.exp2(peaks / _LOGARITHM) / _FINEST

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._last, self._held]


def of_others(change: NDArray[np.float64], usual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest change of the other channels, in units of what is usual, float64 [n, C].

    Args:
        change: Of each channel, float64 [n, C].
        usual: Large but usual change of each channel, float64 [C], above 0.

    >>> of_others(np.array([[1.0, 4.0, 2.0]]), np.ones(3)).tolist()
    [[4.0, 2.0, 4.0]]
    """
    relative = change / usual
    if relative.shape[1] < 2 or len(relative) == 0:
        return np.zeros(relative.shape)
    ordered = np.sort(relative, axis=1)
    largest, second = ordered[:, -1:], ordered[:, -2:-1]
    return np.where(relative == largest, second, largest)


class LocalSpread:
    """Find by how much the usual residual is larger while the other channels change. Not thread-safe.

    Args:
        reference: What the training learnt; an older one knows nothing of it, and every factor is 1.
    """

    def __init__(self, reference: Reference) -> None:
        self._knots, self._factors = np.array(reference.change_knots), np.array(reference.change_factors)
        self._usual = np.array(reference.change_usual)
        self._changes = RowChanges(len(reference.spread))

    def follow(self, slot: NDArray[np.int32], scaled: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the factor of the next rows, float64 [n, C], at least 1; arguments as in `RowChanges`."""
        change = self._changes.follow(slot, scaled)
        if len(self._knots) == 0:
            return np.ones(change.shape)
        return factors(of_others(change, self._usual), self._knots, self._factors)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._changes.drop(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return the state of every series, for a snapshot."""
        return self._changes.arrays()


def factors(
    change: NDArray[np.float64], knots: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the factor at each change, float64 [n, C], on straight lines between knots, [K, C] each."""
    found = np.empty(change.shape)
    for channel in range(change.shape[1]):
        found[:, channel] = np.interp(change[:, channel], knots[:, channel], values[:, channel])
    return found
