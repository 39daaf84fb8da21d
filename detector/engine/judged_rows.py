"""For how long the rows of every series have not been judged, and whether one ever was."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.engine.values import Unjudged
from detector.rows.series_arrays import SeriesArray, SeriesIndex, lengths_of, starts_of
from detector.scoring.verdicts import State, Verdicts

LEAST_ROWS = 10
"""Fewer rows without a judged one are not long, so that a series may begin with a few stray rows."""
_WINDOWS = 2
_NOT_TO_JUDGE = (State.STALE, State.TRANSITION, State.IDLE)


class JudgedRows:
    """Counts for every series the rows since the last judged one. Only final verdicts count.

    Args:
        series: the numbers of the series, shared with the other parts of the engine.
    """

    def __init__(self, series: SeriesIndex) -> None:
        self._series = series
        self._num = SeriesArray((), np.int64, 0)
        self._since_ns = SeriesArray((), np.int64, 0)
        self._ever = SeriesArray((), np.bool_, False)
        self._masked = SeriesArray((), np.bool_, False)

    def remember(self, verdicts: Verdicts) -> None:
        """Count the rows of final verdicts, except those that are not to be judged, or not yet."""
        skipped = np.isin(verdicts.state, _NOT_TO_JUDGE) | (verdicts.cold & (verdicts.state == State.WARMING))
        if skipped.any():
            verdicts = verdicts.take(~skipped)
        if len(verdicts) == 0:
            return
        starts = starts_of(verdicts.series)
        ends = starts + lengths_of(starts, len(verdicts)) - 1
        slots = self._series.of(verdicts.names)[verdicts.series[starts]]
        judged = verdicts.is_judged
        newest = np.maximum.reduceat(np.where(judged, np.arange(len(verdicts)), -1), starts)
        has_judged = newest >= 0
        first = np.where(has_judged, newest + 1, starts)
        num = ends - first + 1
        before = np.where(has_judged, 0, self._num.data[slots])
        begins = (num > 0) & (before == 0)
        self._since_ns.data[slots[begins]] = verdicts.timestamp_ns[first[begins]]
        self._num.data[slots] = before + num
        self._ever.data[slots] |= has_judged
        self._masked.data[slots] = judged[ends] & np.isnan(verdicts.actual[ends]).any(axis=1)

    def of(self, slots: NDArray[np.int32], ages: NDArray[np.int64], window: int) -> Unjudged:
        """Return for how long the rows of these series have not been judged.

        That is long after two windows of rows. It is long after `LEAST_ROWS` if gaps empty the window again
        and again: most of the rows then came before the last long gap.

        Args:
            slots: numbers of known series, int32 [n].
            ages: rows of each since its start or its last long gap, int64 [n].
            window: rows of a window.
        """
        num = self._num.data[slots]
        is_long = (num >= _WINDOWS * window) | ((num >= LEAST_ROWS) & (2 * ages < num))
        return Unjudged(
            num, self._since_ns.data[slots], is_long, ~self._ever.data[slots], self._masked.data[slots]
        )

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the saved cells."""
        return [self._num, self._since_ns, self._ever, self._masked]

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)
