"""How long ago each series' last unknown row was, in rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of
from detector.scoring.verdicts import State, Verdicts


class RowsSinceGap:
    """Known rows since the last gap or warming row, of every series."""

    def __init__(self) -> None:
        self._since = SeriesArray((), np.int64, 0)

    def since_gap(self, verdicts: Verdicts, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """The count at each row, itself included, int64 [n]: 0 at a gap. `slots` are those of the verdicts'
        names. A stale row says nothing of the stream and changes nothing."""
        if len(verdicts) == 0:
            return np.empty(0, np.int64)
        self._since.reserve(int(slots.max()) + 1)
        starts = starts_of(verdicts.series)
        lengths = lengths_of(starts, len(verdicts))
        unknown = np.isin(verdicts.state, (State.GAP, State.WARMING))
        counted = np.cumsum(~unknown & (verdicts.state != State.STALE))
        before = np.where(starts > 0, counted[starts - 1], 0)
        first = np.repeat(starts, lengths)
        last_gap = np.maximum.accumulate(np.where(unknown, np.arange(len(unknown)), -1))
        carried = np.repeat(self._since.data[slots] - before, lengths)
        since: NDArray[np.int64] = counted + np.where(last_gap >= first, -counted[last_gap], carried)
        self._since.data[slots] = since[starts + lengths - 1]
        return since

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._since.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """What is remembered of a series."""
        return [self._since]
