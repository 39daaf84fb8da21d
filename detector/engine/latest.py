"""The newest verdict of every series, for metrics and for `/api/status`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.engine.values import Latest, Unjudged
from detector.rows.series_arrays import SeriesArray, SeriesIndex, lengths_of, starts_of
from detector.scoring.verdicts import State, Verdicts


class LatestVerdicts:
    """Holds the newest verdict of every series in arrays over series. A provisional verdict counts too.

    Args:
        series: the numbers of the series, shared with the other parts of the engine.
        num_channels: channels of the model.
    """

    def __init__(self, series: SeriesIndex, num_channels: int) -> None:
        self._series = series
        self._score = SeriesArray((), np.float64, np.nan)
        self._state = SeriesArray((), np.uint8, int(State.WARMING))
        self._start_ns = SeriesArray((), np.int64, -1)
        self._threshold = SeriesArray((), np.float64, np.nan)
        self._missing = SeriesArray((num_channels,), np.bool_, False)
        self._mode = SeriesArray((), np.int16, -1)
        self._channels = SeriesArray((3, num_channels), np.float64, np.nan)

    def remember(self, verdicts: Verdicts) -> None:
        """Keep the last verdict of each series in `verdicts`, unless a newer row is known already."""
        if len(verdicts) == 0:
            return
        present = self._series.of(verdicts.names)
        starts = starts_of(verdicts.series)
        last = starts + lengths_of(starts, len(verdicts)) - 1
        start_ns = verdicts.timestamp_ns[last]
        is_newest = start_ns >= self._start_ns.data[present]
        present, last = present[is_newest], last[is_newest]
        self._score.data[present] = verdicts.score[last]
        self._state.data[present] = verdicts.state[last]
        self._start_ns.data[present] = start_ns[is_newest]
        self._threshold.data[present] = verdicts.threshold[last]
        self._missing.data[present] = verdicts.missing[last]
        self._mode.data[present] = verdicts.mode[last]
        columns = (verdicts.actual[last], verdicts.expected[last], verdicts.contribution[last])
        self._channels.data[present] = np.stack(columns, axis=1)

    def of(
        self,
        slots: NDArray[np.int32],
        is_full: NDArray[np.bool_],
        unjudged: Unjudged,
        late: NDArray[np.int32],
    ) -> Latest:
        """Return the newest verdicts of these series.

        Args:
            slots: numbers of known series, int32 [n].
            is_full: whether the window of each is full, bool [n].
            unjudged: for how long the rows of each were not judged.
            late: series that send only late readings, int32: their score is unknown.
        """
        is_late = np.isin(slots, late)
        return Latest(
            names=tuple(self._series.names[slot] for slot in slots.tolist()),
            score=np.where(is_late, np.nan, self._score.data[slots]),
            state=np.where(is_late, np.uint8(State.LATE), self._state.data[slots]),
            timestamp_ns=self._start_ns.data[slots],
            threshold=self._threshold.data[slots],
            is_full=is_full,
            slot=slots,
            missing=self._missing.data[slots],
            unjudged=unjudged,
            mode=self._mode.data[slots],
        )

    def channels_at(self, slots: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return each channel's actual value, expected value and contribution, float64 [n, 3, C].

        The values belong to the newest verdict of these series. They are NaN where unknown.
        """
        found: NDArray[np.float64] = self._channels.data[slots]
        return found

    def starts(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the start of the row of the newest verdict of these series, int64 [n]; -1: there is none."""
        starts: NDArray[np.int64] = self._start_ns.data[slots]
        return starts

    def restart(self, slots: NDArray[np.int32]) -> None:
        """Let the next verdict of these series be the newest, whatever its time."""
        self._start_ns.reset(slots)

    def not_stale(self, slots: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return those of `slots` whose newest verdict is not `STALE`."""
        others: NDArray[np.int32] = slots[self._state.data[slots] != State.STALE]
        return others

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the saved cells."""
        of_rows = [self._score, self._state, self._start_ns, self._missing, self._threshold]
        return [*of_rows, self._channels, self._mode]

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)
