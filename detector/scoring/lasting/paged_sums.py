"""Departures of one kind become sums, and sums above their page level count for incidents.

Letters: n rows, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import PageLimit
from detector.artifact.sum_limits import HasSums
from detector.rows.series_arrays import SeriesArray
from detector.scoring.lasting.cumulative import END, MOST, CumulativeEvidence, End
from detector.scoring.lasting.paged_runs import PagedRuns


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
        end: What ends an alarm.
    """

    def __init__(self, limits: HasSums, limit: PageLimit | None, most: float = MOST, end: End = END) -> None:
        self._cumulative = CumulativeEvidence(limits, most, end)
        self._runs = PagedRuns(limit)

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
        logarithm = np.log(np.maximum(added.cumulative, 1e-300))
        paged = self._runs.paged(slot, row, logarithm, added.cumulative >= 1.0)
        return Paged(added.cumulative, added.lasting, paged)

    def num_counting(self, slots: NDArray[np.int32]) -> int:
        """Return in how many channels of these series departures add up to evidence."""
        return self._cumulative.num_counting(slots)

    def in_alarm(self, slot: int) -> NDArray[np.bool_]:
        """Return in which channels of a series departures have added up to an alarm, bool [C]."""
        return self._cumulative.in_alarm(slot)

    def reset(self, slots: NDArray[np.int32]) -> None:
        """Begin again with all sums of these series; channels that have held still count."""
        self._cumulative.reset(slots)

    def stand(self, slots: NDArray[np.int32], within_fault: NDArray[np.bool_]) -> None:
        """Say of these series whether other evidence holds a fault, bool [len(slots)]."""
        self._runs.stand(slots, within_fault)

    def restart(self, slots: NDArray[np.int32]) -> None:
        """Continue these series with other row numbers; sums stay."""
        self._runs.restart(slots)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._cumulative.drop(slots)
        self._runs.drop(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [*self._cumulative.arrays(), *self._runs.arrays()]
