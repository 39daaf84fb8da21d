"""The highest scores between two scrapes, which a gauge of the newest score would miss."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray


class Peaks:
    """Highest scores of each series and of all. The loop's thread adds, scraping threads take."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._peak = SeriesArray((), np.float64, np.nan)
        self._highest = float("nan")

    def add(self, slots: NDArray[np.int32], highest: NDArray[np.float64]) -> None:
        """Add the scores of one turn.

        Args:
            slots: The series, int32 [n].
            highest: Highest score of each in this turn, float64 [n]; NaN where none was known.
        """
        if len(slots) == 0:
            return
        with self._lock:
            self._peak.reserve(int(slots.max()) + 1)
            self._peak.data[slots] = np.fmax(self._peak.data[slots], highest)
            self._highest = float(np.fmax(self._highest, np.fmax.reduce(highest)))

    def take(self, slots: NDArray[np.int32]) -> tuple[float, NDArray[np.float64]]:
        """Return the highest score of all series and of each series in `slots`, and start again.

        NaN where no score was known.
        """
        with self._lock:
            self._peak.reserve(int(slots.max(initial=-1)) + 1)
            found = self._highest, self._peak.data[slots].copy()
            self._forget()
        return found

    def forget(self, slots: Sequence[int]) -> None:
        """Forget the maxima of these series: their slots are free for others."""
        with self._lock:
            self._peak.reset(np.array(slots, np.int32))

    def clear(self) -> None:
        """Forget everything: the slots belong to other series now."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._peak.data.fill(np.nan)
        self._highest = float("nan")
