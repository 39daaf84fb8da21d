"""Channels that never moved in the history: a movement is a warning, and never critical.

Nothing is known of the spread of such a channel. So the windows see it at rest (`SeriesScales.to_model`),
and no distance of it adds to a score. A movement has a fixed strength of 1.1 instead. It keeps to the alarm
budget by a page level of its own. What lasts is clear: each 100 rows count as much as e times the threshold.

Letters: n rows, C channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import PageLimit
from detector.rows.series_arrays import SeriesArray
from detector.scoring.lasting.paged_runs import PagedRuns
from detector.scoring.series_scales import SeriesScales

MOVED_SCORE = 1.1
"""The score of a row in which such a channel has moved, where the rest of the row has less."""
_NOTHING = math.log(1e-300)


@dataclass(frozen=True, slots=True)
class Moves:
    """Hold which channels moved in n rows, bool [n, C], and which rows count for incidents, bool [n]."""

    channels: NDArray[np.bool_]
    paged: NDArray[np.bool_]

    @property
    def rows(self) -> NDArray[np.bool_]:
        """Return the rows in which some channel moved, bool [n]."""
        rows: NDArray[np.bool_] = np.any(self.channels, axis=1)
        return rows

    def blame(self, blame: NDArray[np.float64], alone: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the blame of each channel, float64 [n, C], with that of the moved ones.

        They share the blame with the channel most to blame.

        Args:
            blame: of the other evidence, float64 [n, C], at least 0.
            alone: rows in which nothing but a movement is unusual, bool [n]: it has all the blame.
        """
        others = np.where(alone[:, None], 0.0, blame)
        shared: NDArray[np.float64] = np.maximum(blame.max(axis=1, keepdims=True), 1.0)
        return np.where(self.channels, shared, others)


class FirstMoves:
    """Finds movements of channels that never moved in the history. Not thread-safe.

    Args:
        scales: the scales of each series; they know these channels, and what was accepted.
        limit: how alarms raise the page level of each series; None if nothing does.
    """

    def __init__(self, scales: SeriesScales, limit: PageLimit | None) -> None:
        self._scales = scales
        self._runs = PagedRuns(limit)

    def add(
        self,
        slot: NDArray[np.int32],
        row: NDArray[np.int64],
        values: NDArray[np.float64],
        judged: NDArray[np.bool_],
    ) -> Moves:
        """Return what moved in the next final rows.

        Args:
            slot: the series of each row, int32 [n]; rows are sorted by slot and row.
            row: row numbers, int64 [n].
            values: in the units of the channels, float64 [n, C]; NaN where unknown or impossible.
            judged: which rows have a score, bool [n]; the others change nothing.
        """
        moved = self._scales.moved(values, slot) & judged[:, None]
        if len(slot) == 0:
            return Moves(moved, np.zeros(0, np.bool_))
        some: NDArray[np.bool_] = np.any(moved, axis=1)
        evidence = np.where(some, math.log(MOVED_SCORE), _NOTHING)
        evidence[~judged] = np.nan
        return Moves(moved, self._runs.paged(slot, row, evidence, some))

    def restart(self, slots: NDArray[np.int32]) -> None:
        """Continue these series with other row numbers."""
        self._runs.restart(slots)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._runs.drop(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return self._runs.arrays()
