"""A threshold for every series that follows the stream, so that alarms keep to the alarm budget.

A threshold from history alone misses its alarm rate by orders of magnitude, because the data drift.
Therefore each series' threshold sinks slowly and rises with each alarm. Both are balanced so that alarms come
as often as the budget allows. (Online conformal inference, Gibbs and Candes, NeurIPS 2021, with events
instead of rows.)

An anomaly cannot poison the threshold. The clearer an alarm was, the less it raises the threshold, and during
an alarm the threshold stands still. Only an alarm that lasts for `learn_after` rows is learnt as a new level:
the threshold then rises until the alarm ends.

The threshold at a row is a closed form of a few numbers of the series' past. It therefore does not depend on
how the rows are cut into batches. All levels are logarithms of the error in units of the calibrated
threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Adaptation
from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of

_QUIET_ROWS = 8
_CLOSE = math.log(0.8)
"""The logarithm of the score below which an alarm is over, as for incidents."""
_CREEP = 0.02
"""Rise of the logarithm per row while a level is learnt; the threshold doubles in 35 rows."""
_MAX_ALARMS_A_ROW = 0.05
_LOOK_AHEAD = 256
"""Rows processed together: the cost of an alarm must not depend on how many rows follow it."""


class AdaptiveThreshold:
    """Keeps the threshold of every series, relative to the calibrated one. Not thread-safe.

    Outside an alarm it is max(lowest, base - sink * (row - anchor)). During an alarm it stands still, and
    after `learn_after` rows it rises. `base` and `anchor` change when an alarm ends. Only rows with an error
    count as rows of an alarm, so nothing is learnt while a feed is interrupted.

    Args:
        adaptation: how fast the threshold moves, and how low it may become.
        sharpness: the exponent that turns relative errors into scores.
    """

    def __init__(self, adaptation: Adaptation, sharpness: float = 1.0) -> None:
        self._close = _CLOSE / sharpness
        self._lowest = math.log(adaptation.lowest)
        self._rise = math.log(adaptation.rise)
        self._forgiveness = math.log(adaptation.forgiveness)
        self._sink = self._rise * min(adaptation.alarms_a_row, _MAX_ALARMS_A_ROW)
        self._learn_after = adaptation.learn_after
        self._base = SeriesArray((), np.float64, 0.0)
        self._anchor = SeriesArray((), np.int64, -1)
        self._lasted = SeriesArray((), np.int64, -1)
        self._peak = SeriesArray((), np.float64, 0.0)
        self._quiet = SeriesArray((), np.int64, 0)

    def thresholds(
        self, slot: NDArray[np.int32], row: NDArray[np.int64], error: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the threshold in force at each row, in units of the calibrated one, float64 [n].

        Args:
            slot: the series of each row, int32 [n]; rows are sorted by slot and row.
            row: row numbers, int64 [n].
            error: in units of the calibrated threshold, float64 [n]; a row with NaN changes nothing.
        """
        if len(slot) == 0:
            return np.empty(0)
        for array in self.arrays():
            array.reserve(int(slot.max()) + 1)
        starts = starts_of(slot)
        ends = starts + lengths_of(starts, len(slot))
        present = slot[starts]
        is_new = self._anchor.data[present] < 0
        self._anchor.data[present[is_new]] = row[starts[is_new]]
        logarithm = np.log(np.maximum(error, 1e-300))
        level = self._sinking(slot, row)
        loud = logarithm > level
        eventful = np.logical_or.reduceat(loud, starts) | (self._lasted.data[present] >= 0)
        for at in np.flatnonzero(eventful).tolist():
            part = slice(starts[at], ends[at])
            level[part] = self._follow(int(present[at]), row[part], logarithm[part])
        return np.exp(level)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._base, self._anchor, self._lasted, self._peak, self._quiet]

    def _sinking(self, slot: NDArray[np.int32], row: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the level of each row outside alarms, float64 [n]; never NaN."""
        level: NDArray[np.float64] = np.maximum(
            self._lowest, self._base.data[slot] - self._sink * (row - self._anchor.data[slot])
        )
        return level

    def _follow(self, slot: int, row: NDArray[np.int64], error: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the level at the rows of one series with an alarm among them; update its state."""
        level = np.empty(len(row))
        at = 0
        while at < len(row):
            if self._lasted.data[slot] < 0:
                calm = self._calm(slot, row[at:], error[at:], level[at:])
                at += calm
                if at < len(row):
                    self._open(slot, float(level[at]))
            else:
                at += self._alarm(slot, row[at:], error[at:], level[at:])
        return level

    def _calm(
        self, slot: int, row: NDArray[np.int64], error: NDArray[np.float64], level: NDArray[np.float64]
    ) -> int:
        """Write the level up to and including the first row that exceeds it; return that row's place."""
        for start in range(0, len(row), _LOOK_AHEAD):
            part = slice(start, start + _LOOK_AHEAD)
            level[part] = self._sinking(np.full(len(row[part]), slot, np.int32), row[part])
            loud = np.flatnonzero(error[part] > level[part])
            if len(loud):
                return start + int(loud[0])
        return len(row)

    def _open(self, slot: int, level: float) -> None:
        self._lasted.data[slot] = 0
        self._base.data[slot] = level
        self._peak.data[slot] = -np.inf
        self._quiet.data[slot] = 0

    def _alarm(
        self, slot: int, row: NDArray[np.int64], error: NDArray[np.float64], level: NDArray[np.float64]
    ) -> int:
        """Write the level of the rows of the alarm; return how many there are."""
        lasted, base = int(self._lasted.data[slot]), float(self._base.data[slot])
        peak, quiet = float(self._peak.data[slot]), int(self._quiet.data[slot])
        here, done = base, 0
        for at, value in _pairs(row, error):
            here = base + _CREEP * max(0, lasted - self._learn_after)
            level[done] = here
            done += 1
            if value == value:
                lasted += 1
                peak = max(peak, value - here)
                quiet = 0 if value > here + self._close else quiet + 1
            if quiet >= _QUIET_ROWS:
                is_learnt = here > base
                doubt = 1.0 if is_learnt else math.exp(-max(0.0, peak) / self._forgiveness)
                self._base.data[slot] = here + self._rise * doubt
                self._anchor.data[slot] = at
                self._lasted.data[slot] = -1
                return done
        self._lasted.data[slot], self._peak.data[slot], self._quiet.data[slot] = lasted, peak, quiet
        return done


def _pairs(row: NDArray[np.int64], error: NDArray[np.float64]) -> Iterator[tuple[int, float]]:
    """Yield (row, error) as plain numbers, a few rows at a time."""
    for start in range(0, len(row), _LOOK_AHEAD):
        part = slice(start, start + _LOOK_AHEAD)
        yield from zip(row[part].tolist(), error[part].tolist(), strict=True)
