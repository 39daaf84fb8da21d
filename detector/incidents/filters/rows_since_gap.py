"""How long ago, in rows, each series' last unknown row was."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of
from detector.scoring.verdicts import State, Verdicts


class RowsSinceGap:
    """Counts the known rows of every series since its last gap or warming row."""

    def __init__(self) -> None:
        self._since = SeriesArray((), np.int64, 0)

    def count(self, verdicts: Verdicts, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the count at each row, the row itself included, int64 [n]: 0 at a gap.

        A stale row is no observation of the stream and changes nothing.

        Args:
            verdicts: the next rows of some series, sorted by series and time.
            slots: the number of each series in `verdicts.names`, int32 [len(names)].
        """
        if len(verdicts) == 0:
            return np.empty(0, np.int64)
        self._since.reserve(int(slots.max()) + 1)
        starts = starts_of(verdicts.series)
        lengths = lengths_of(starts, len(verdicts))
        present = slots[verdicts.series[starts]]
        unknown = np.isin(verdicts.state, (State.GAP, State.WARMING))
        counted = np.cumsum(~unknown & (verdicts.state != State.STALE))
        before = np.where(starts > 0, counted[starts - 1], 0)
        first = np.repeat(starts, lengths)
        last_gap = np.maximum.accumulate(np.where(unknown, np.arange(len(unknown)), -1))
        carried = np.repeat(self._since.data[present] - before, lengths)
        since: NDArray[np.int64] = counted + np.where(last_gap >= first, -counted[last_gap], carried)
        self._since.data[present] = since[starts + lengths - 1]
        return since

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._since.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps."""
        return [self._since]
