"""Keep the rows of a fault out of the past by which the next rows are judged.

A model over windows accepts a fault once its window is full of it. So a cell that departs enters the windows
of later rows without its departure: value less departure. What is usual of a departure stays, so that the
natural movement of the channel goes on. The row itself is always judged by the values that came.

How far a channel departs is known from the frozen reference, never from the windows. So cleaned windows
cannot hold up the cleaning. The rows as they came are kept too: a row that departs is judged by both.

Letters: n rows, C channels, L kept rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray
from detector.rows.windows import NewRows

_MOST_KEPT = 3.0
"""What remains of a departure in the past, in spreads, at most."""
_CHANGED = 1.0
"""What is taken out stays the same while the departure is within so many spreads of it."""
_MEANS_ROWS = (16, 64)
_DIRTY_ROWS = 80
"""Running means remember a row for so long."""
_LONG_AGO = np.iinfo(np.int64).min // 2

Departures = Callable[[NDArray[np.int32], NDArray[np.floating], NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Entering:
    """Hold n new rows as the past of later ones.

    clean    float32 [n, C]
    changed  bool [n, C], where that is not what came
    """

    clean: NDArray[np.float32]
    changed: NDArray[np.bool_]


class CleanPast:
    """Takes the departures of some channels of some series out of their past. Not thread-safe.

    Args:
        spread: usual size of a departure of each channel, in the units of the model, float64 [C].
        departures: returns departures in spreads; see `ReferenceResiduals.departures`.
        length: rows that are kept of each series.
    """

    def __init__(self, spread: NDArray[np.float64], departures: Departures, length: int) -> None:
        num = len(spread)
        self._spread, self._departures, self._length = spread, departures, length
        self._active = SeriesArray((), np.bool_, False)
        self._by = SeriesArray((num,), np.float64, np.nan)
        self._usual = SeriesArray((num,), np.float64, 0.0)
        self._means = SeriesArray((2, num), np.float64, np.nan)
        self._dirty_until = SeriesArray((num,), np.int64, _LONG_AGO)
        self._raw = SeriesArray((length, num), np.float32, np.nan)

    def are_active(self, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return whether cells of each of these series may be cleaned, bool [n]."""
        self._reserve(slots)
        active: NDArray[np.bool_] = self._active.data[slots]
        return active

    def begin(self, slot: int, usual: NDArray[np.float64], kept: NDArray[np.float32]) -> None:
        """Begin with a series.

        Args:
            slot: the series.
            usual: its departures before the fault, in spreads, float64 [C].
            kept: its last rows as they came, float32 [L, C].
        """
        self._active.data[slot], self._usual.data[slot], self._raw.data[slot] = True, usual, kept

    def raw(self, slot: int) -> NDArray[np.float32]:
        """Return the last rows of a series as they came, float32 [L, C]."""
        raw: NDArray[np.float32] = self._raw.data[slot]
        return raw

    def departures(
        self, slot: int, rows: NDArray[np.float64], means: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the departures of rows of a series beyond the usual, in spreads, float64 [n, C]."""
        found = self._departures(np.full(len(rows), slot, np.int32), rows, np.tile(means, (len(rows), 1, 1)))
        departure: NDArray[np.float64] = found - self._usual.data[slot]
        return departure

    def means(
        self, slot: int, newest: int, kept: NDArray[np.float32], means: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return running means without what was taken out of late, float64 [2, C].

        Args:
            slot: the series.
            newest: the number of its last row.
            kept: its last rows as they were cleaned, float32 [L, C].
            means: running means of the values that came, float64 [2, C].
        """
        known = np.isfinite(kept)
        mean = [
            np.where(known[-rows:], kept[-rows:], 0.0).sum(axis=0, dtype=np.float64)
            / np.maximum(known[-rows:].sum(axis=0), 1)
            for rows in _MEANS_ROWS
        ]
        return np.where(newest < self._dirty_until.data[slot], np.stack(mean), means)

    def take(self, slot: int, by: NDArray[np.float64], means: NDArray[np.float64], newest: int) -> None:
        """Take departures out of the rows after `newest`.

        What is taken out of a channel stays the same while it departs by nearly as much.

        Args:
            slot: the series.
            by: departures in spreads, float64 [C], NaN where nothing is taken out.
            means: running means without them, float64 [2, C].
            newest: the number of the last row.
        """
        before = self._by.data[slot]
        self._by.data[slot] = np.where(np.abs(by - before) < _CHANGED, before, by)
        self._means.data[slot] = means
        self._dirty_until.data[slot, np.isfinite(by)] = newest + _DIRTY_ROWS

    def entering(self, new_rows: NewRows, scaled: NDArray[np.float32]) -> Entering | None:
        """Return the new rows as the past of later ones; None where they are that as they came."""
        active = self.are_active(new_rows.slot)
        if not active.any():
            return None
        rows = np.flatnonzero(active)
        clean, changed = scaled.copy(), np.zeros(scaled.shape, np.bool_)
        clean[rows], changed[rows] = self.cleaned(new_rows.slot[rows], scaled[rows])
        return Entering(clean, changed)

    def as_they_came(
        self, new_rows: NewRows, flat: NDArray[np.float32], at: NDArray[np.intp], scaled: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return kept and new rows as they came, laid out like `flat`, and keep the newest of them."""
        raw = flat.copy()
        raw[at] = scaled
        for begin, end, slot in zip(
            at[new_rows.starts].tolist(), at[new_rows.ends].tolist(), new_rows.present.tolist(), strict=True
        ):
            if self._active.data[slot]:
                raw[begin - self._length : begin] = self._raw.data[slot]
                self._raw.data[slot] = raw[end - self._length + 1 : end + 1]
        return raw

    def cleaned(
        self, slot: NDArray[np.int32], scaled: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return rows without what is taken out, float32 [n, C], and where that changed them, bool [n, C].

        A cell that is nearer to the usual than to the departure stays as it came.
        """
        by = self._by.data[slot]
        departure = self._departures(slot, scaled, self._means.data[slot]) - self._usual.data[slot]
        with np.errstate(invalid="ignore"):
            faulty = np.sign(by) * departure > np.abs(by) / 2
            kept = np.clip(departure - by, -_MOST_KEPT, _MOST_KEPT)
            clean = (scaled - (departure - kept) * self._spread).astype(np.float32)
        return np.where(faulty, clean, scaled), faulty

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series: their next rows are their past as they come."""
        for array in self.arrays():
            array.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._active, self._by, self._usual, self._means, self._dirty_until, self._raw]

    def _reserve(self, slots: NDArray[np.int32]) -> None:
        size = int(slots.max(initial=-1)) + 1
        for array in self.arrays():
            array.reserve(size)
