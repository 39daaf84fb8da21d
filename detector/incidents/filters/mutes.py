"""Until when somebody muted each series: its bad rows open no incident meanwhile."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray

NEVER = np.iinfo(np.int64).min
"""The end of a mute of a series that nobody muted."""


class Mutes:
    """Keeps for every series the event time at which its mute ends; it is part of the snapshot."""

    def __init__(self) -> None:
        self._from_ns = SeriesArray((), np.int64, NEVER)
        self._until_ns = SeriesArray((), np.int64, NEVER)

    def set(self, slot: int, from_ns: int, until_ns: int) -> None:
        """Mute a series between two event times. A new mute replaces the one before."""
        for array, time_ns in zip(self.arrays(), (from_ns, until_ns), strict=True):
            array.reserve(slot + 1)
            array.data[slot] = time_ns

    def until(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return when the mute of each series ends, int64 [n]; `NEVER` where there was none."""
        for array in self.arrays():
            array.reserve(int(slots.max(initial=-1)) + 1)
        until: NDArray[np.int64] = self._until_ns.data[slots]
        return until

    def at(self, slots: NDArray[np.int32], timestamp_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which rows are muted, bool [n], by their series, int32 [n], and their times, int64 [n]."""
        muted: NDArray[np.bool_] = timestamp_ns < self.until(slots)
        if muted.any():
            muted &= timestamp_ns >= self._from_ns.data[slots]
        return muted

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._from_ns, self._until_ns]

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)
