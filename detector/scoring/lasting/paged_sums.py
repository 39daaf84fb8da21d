"""Departures of one kind become sums, and sums above their page level count for incidents.

Letters: n rows, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import PageLimit
from detector.artifact.sum_limits import HasSums
from detector.rows.series_arrays import SeriesArray, lengths_of, run_lengths, starts_of
from detector.scoring.lasting.cumulative import MOST, CumulativeEvidence
from detector.scoring.page_level import PageLevel

_CLEAR_ROWS = 100.0


@dataclass(frozen=True, slots=True)
class Paged:
    """Hold what has added up after each of n rows.

    cumulative  float64 [n], 1 is the threshold; NaN where no channel is known
    lasting     float64 [n, C], the larger sum of each channel, in spreads
    paged       bool [n], it counts for incidents
    """

    cumulative: NDArray[np.float64]
    lasting: NDArray[np.float64]
    paged: NDArray[np.bool_]


class PagedSums:
    """Keep the sums of one kind of departures, and their page level, of every series. Not thread-safe.

    Args:
        limits: Allowances and thresholds.
        limit: How alarms raise the page level of each series; None if nothing does.
        most: A single row counts at most so many spreads.
    """

    def __init__(self, limits: HasSums, limit: PageLimit | None, most: float = MOST) -> None:
        self._cumulative = CumulativeEvidence(limits, most)
        self._run = SeriesArray((), np.int64, 0)
        self._page_level = None if limit is None else PageLevel(limit)

    def add(
        self,
        slot: NDArray[np.int32],
        row: NDArray[np.int64],
        departure: NDArray[np.float64],
        is_unknown: NDArray[np.bool_],
        alarm: NDArray[np.bool_],
    ) -> Paged:
        """Add the departures of the next rows, and return what has added up after each.

        Args:
            slot: The series of each row, int32 [n]; rows are sorted by slot and row.
            row: Row numbers, int64 [n].
            departure: In spreads, float64 [n, C], NaN where unknown.
            is_unknown: Which rows are of a series without a baseline of its own, bool [n].
            alarm: Which rows alarm by their score, bool [n].
        """
        added = self._cumulative.add(slot, departure, is_unknown, alarm)
        return Paged(added.cumulative, added.lasting, self._paged(slot, row, added.cumulative))

    def num_counting(self, slots: NDArray[np.int32]) -> int:
        """Return in how many channels of these series departures add up to evidence."""
        return self._cumulative.num_counting(slots)

    def reset(self, slots: NDArray[np.int32]) -> None:
        """Begin again with all sums of these series; channels that have held still count."""
        self._cumulative.reset(slots)

    def restart(self, slots: NDArray[np.int32]) -> None:
        """Continue these series with other row numbers; sums stay."""
        if self._page_level is not None:
            self._page_level.drop(slots)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._cumulative.drop(slots)
        self._run.reset(slots)
        self.restart(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        arrays = [*self._cumulative.arrays(), self._run]
        return arrays if self._page_level is None else [*arrays, *self._page_level.arrays()]

    def _paged(
        self, slot: NDArray[np.int32], row: NDArray[np.int64], cumulative: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Return which rows count for incidents, bool [n].

        The sums have an upper limit, so their height says little. What lasts is clear: each 100 rows in alarm
        count as much as e times the threshold. So no page level keeps a fault that lasts from being found.
        """
        if len(row) == 0:
            return np.zeros(0, np.bool_)
        self._run.reserve(int(slot.max()) + 1)
        starts = starts_of(slot)
        present = slot[starts]
        run = run_lengths(cumulative >= 1.0, starts, self._run.data[present])
        self._run.data[present] = run[starts + lengths_of(starts, len(row)) - 1]
        logarithm = np.log(np.maximum(cumulative, 1e-300)) + run / _CLEAR_ROWS
        if self._page_level is None:
            return logarithm > 0.0
        return logarithm > self._page_level.levels(slot, row, logarithm)
