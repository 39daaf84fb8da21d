"""The highest scores since they were last asked for, which gauges alone would miss."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray


class Peaks:
    """Fed by the loop's thread, taken by scraping ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._peak = SeriesArray((), np.float64, np.nan)
        self._highest = float("nan")

    def add(self, slots: NDArray[np.int32], highest: NDArray[np.float64]) -> None:
        """The highest score of each of these series in a turn, NaN where none was known."""
        if len(slots) == 0:
            return
        with self._lock:
            self._peak.reserve(int(slots.max()) + 1)
            self._peak.data[slots] = np.fmax(self._peak.data[slots], highest)
            self._highest = float(np.fmax(self._highest, np.fmax.reduce(highest)))

    def take(self, slots: NDArray[np.int32]) -> tuple[float, NDArray[np.float64]]:
        """The highest of all series and of each of these, NaN where none was known; forgets them all."""
        with self._lock:
            self._peak.reserve(int(slots.max(initial=-1)) + 1)
            found = self._highest, self._peak.data[slots].copy()
            self._forget()
        return found

    def clear(self) -> None:
        """Forget everything: slots serve other series now."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._peak.data.fill(np.nan)
        self._highest = float("nan")
