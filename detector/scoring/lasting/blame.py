"""Which channels are to blame for a row, and what values they should have had.

The window model compares each channel with its own reconstruction. Near a fault in one channel, it also
reconstructs the others badly, so that a healthy channel may look worst. The check: replace one channel by
what the others expect of it, and compute the departures of all channels again. Where the channel is the
guilty one, the evidence of the whole row falls. Where it is innocent, the guilty one still stands out.

Letters: n rows, C channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.artifact.reference import Reference
from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of

_MEAN_ROWS, _MOST_LEVEL = 64.0, 3.0
_USUAL_WINDOW, _MOST_WINDOW, _WINDOW_WEIGHT = 1.5, 60.0, 10.0
_FIXED = float(1 << 16)
_HALVES_IN = 8


class HeldBlame:
    """Keeps what the check found in the last rows of every series, as a spike is over at once.

    What was found halves every 8 rows. Logarithms are whole numbers, so that the cut into calls does not
    matter. Not thread-safe.

    Args:
        reference: Spreads and allowances.
    """

    def __init__(self, reference: Reference) -> None:
        self._allowance = np.array(reference.allowance)
        self._unexplained = np.minimum(np.square(reference.spread), 1.0)
        self._peaks = SeriesArray((len(reference.spread),), np.int64, 0)

    def hold(self, slot: NDArray[np.int32], fall: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the largest fall of the evidence of late, float64 [n, C], at least 1.

        Args:
            slot: The series of each row, int32 [n]; all final rows, sorted by slot and row.
            fall: How far the evidence of each row falls by the check of each channel, float64 [n, C].
        """
        if len(slot) == 0:
            return fall
        self._peaks.reserve(int(slot.max()) + 1)
        starts = starts_of(slot)
        peaks = held_peaks(fall, slot, self._peaks.data[slot[starts]], _HALVES_IN)
        self._peaks.data[slot[starts]] = peaks[starts + lengths_of(starts, len(slot)) - 1]
        return np.exp2(peaks / _FIXED)

    def blame(
        self,
        windows: NDArray[np.float64],
        mean: NDArray[np.float64],
        without: NDArray[np.float64],
        held: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return how much each channel is to blame, float64 [n, C], at least 0.

        It adds the fall of the evidence of late, and the mean departures of the last rows. These count by the
        departure of the channel, and by how far all of them fall without it. Channels that explain each other
        fully have almost the same fall, so neither alone will do. What the
        windows see counts as far as the others do not explain the channel. The wrong rhythm of a channel that
        depends on no other is seen by windows alone.

        Args:
            windows: Blame by the windows: mean squared residuals in usual units, float64 [n, C].
            mean: Mean departure of the last rows, in spreads, float64 [n, C], NaN where unknown.
            without: The same where each channel in turn (second axis) is as the others expect, float64
                [n, C, C].
            held: What `hold` returned for these rows, float64 [n, C].
        """
        own = self._beyond(np.nan_to_num(mean, nan=0.0))
        fall = own.sum(axis=1, keepdims=True) - self._beyond(without).sum(axis=2)
        added = _MEAN_ROWS * (own + np.maximum(fall, 0.0)) / 2.0
        window = np.clip(windows - _USUAL_WINDOW, 0.0, _MOST_WINDOW) * self._unexplained
        total: NDArray[np.float64] = held + added + _WINDOW_WEIGHT * window
        sharp: NDArray[np.float64] = (total / total.max(axis=1, keepdims=True)) ** 4
        return sharp

    def _beyond(self, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is beyond the allowances, squared; channels are the last axis."""
        beyond: NDArray[np.float64] = np.square(np.clip(np.abs(mean) - self._allowance, 0.0, _MOST_LEVEL))
        return beyond

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._peaks.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return the state of every series, for a snapshot."""
        return [self._peaks]


def held_peaks(
    square: NDArray[np.float64], slot: NDArray[np.int32], before: NDArray[np.int64], halves_in: int
) -> NDArray[np.int64]:
    """Return the logarithm to base 2, times 65,536, of the held largest value, int64 [n, C].

    Args:
        square: Values of each row, float64 [n, C]; those below 1 count as 1.
        slot: The series of each row, int32 [n], sorted.
        before: What was held before the first row of each series, int64 [k, C].
        halves_in: Rows in which what is held halves.
    """
    found = np.rint(np.log2(np.clip(square, 1.0, 2.0**60)) * _FIXED).astype(np.int64)
    starts = starts_of(slot)
    lengths = lengths_of(starts, len(slot))
    series = np.repeat(np.arange(len(starts)), lengths)
    lost = (np.arange(len(slot)) - np.repeat(starts, lengths) + 1)[:, None] * int(_FIXED / halves_in)
    found += lost
    found[starts] = np.maximum(found[starts], before)
    # Peaks of each series alone: those of later series are higher by more than any peak can be.
    shift = series[:, None] * (int(found.max(initial=0)) + 1)
    held = np.maximum.accumulate(found + shift, axis=0) - shift
    peaks: NDArray[np.int64] = np.maximum(held - lost, 0)
    return peaks


class CredibleValues:
    """Choose what a channel should have been, as a value that the machine could have. Thread-safe.

    Args:
        reference: Spreads, and the range of each channel in the history.
    """

    def __init__(self, reference: Reference) -> None:
        self._spread = np.array(reference.spread)
        self._lowest, self._highest = np.array(reference.lowest), np.array(reference.highest)

    def expected(
        self,
        actual: NDArray[np.float64],
        expected: NDArray[np.float64],
        departure: NDArray[np.float64],
        departs: NDArray[np.bool_],
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return expected values in the units of the model within the range of the history, float64 [n, C].

        The second array tells where that range limits them, bool [n, C].

        The reference replaces the window model where that left the range, or follows the fault. It follows
        where its residual is less than half of what the reference finds. Where a cell is known to depart, the
        reference is believed too.

        Args:
            actual: The rows, float64 [n, C], NaN where unknown.
            expected: What the window model expects, float64 [n, C], NaN where unknown.
            departure: From the reference, in spreads, float64 [n, C], NaN where unknown.
            departs: Cells that are known to depart, bool [n, C].
        """
        by_others = actual - departure * self._spread
        with np.errstate(invalid="ignore"):
            left = (expected < self._lowest) | (expected > self._highest)
            follows = 2.0 * np.abs(actual - expected) < np.abs(actual - by_others)
        chosen = np.where((left | follows | departs) & ~np.isnan(by_others), by_others, expected)
        credible: NDArray[np.float64] = np.clip(chosen, self._lowest, self._highest)
        return credible, (credible != chosen) & ~np.isnan(chosen)
