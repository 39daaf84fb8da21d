"""Evidence that lasts counts more from row to row, until it is above the page level of its series.

Letters: n rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import PageLimit
from detector.rows.series_arrays import SeriesArray, lengths_of, run_lengths, starts_of
from detector.scoring.page_level import PageLevel

_CLEAR_ROWS = 100.0


class PagedRuns:
    """Keep how long each series has been in alarm by one kind of evidence, and its page level.

    What lasts is clear: each 100 rows in alarm count as much as e times the threshold. So no page level keeps
    what lasts from being found. Not thread-safe.

    Args:
        limit: How alarms raise the page level of each series; None if nothing does.
    """

    def __init__(self, limit: PageLimit | None) -> None:
        self._run = SeriesArray((), np.int64, 0)
        self._page_level = None if limit is None else PageLevel(limit)

    def paged(
        self,
        slot: NDArray[np.int32],
        row: NDArray[np.int64],
        logarithm: NDArray[np.float64],
        in_alarm: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Return which of the next rows count for incidents, bool [n].

        Args:
            slot: The series of each row, int32 [n]; rows are sorted by slot and row.
            row: Row numbers, int64 [n].
            logarithm: Of the evidence in units of its threshold, float64 [n], NaN where unknown.
            in_alarm: Where the evidence is at its threshold, bool [n].
        """
        if len(row) == 0:
            return np.zeros(0, np.bool_)
        self._run.reserve(int(slot.max()) + 1)
        starts = starts_of(slot)
        present = slot[starts]
        run = run_lengths(in_alarm, starts, self._run.data[present])
        self._run.data[present] = run[starts + lengths_of(starts, len(row)) - 1]
        strength = logarithm + run / _CLEAR_ROWS
        level = 0.0 if self._page_level is None else self._page_level.levels(slot, row, strength)
        found: NDArray[np.bool_] = strength > level
        return found

    def stand(self, slots: NDArray[np.int32], within_fault: NDArray[np.bool_]) -> None:
        """Say of these series whether other evidence holds a fault, bool [len(slots)]."""
        if self._page_level is not None:
            self._page_level.stand(slots, within_fault)

    def restart(self, slots: NDArray[np.int32]) -> None:
        """Continue these series with other row numbers."""
        if self._page_level is not None:
            self._page_level.drop(slots)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._run.reset(slots)
        self.restart(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._run, *(() if self._page_level is None else self._page_level.arrays())]
