"""Short events that recur at a fixed time, such as a job of ten minutes: evidence that one did not come.

A job is looked for in three slots: its own, the one before and the one after, as it may come early or late.
The range of its channel there, from the lowest to the highest value, shows whether it came. Where the range
stays below its limit, the rows of the next slot are evidence. It needs nearly all rows of the three slots.

Letters: n rows, g groups of rows (of one series and job), J jobs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detector.artifact.season import Calendar, Season
from detector.artifact.spec import Spec
from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of
from detector.scoring.context.profile import WeekClock
from detector.scoring.context.spoken import ScaledRows, Spoken
from detector.scoring.kinds import Kind

_LEAST_SHARE = 0.9
_ABSENT = 1.1
"""The evidence of a job that did not come: above the threshold, and the same in each row."""
_SLOTS = 3
TELLS = 2
"""The place of the slot whose rows are evidence, counted from that of the job."""
_NONE, _NO_KEY = -1, -1


class JobEvidence:
    """Watches for the jobs of every series. Not thread-safe.

    Args:
        season: What the training learnt; with jobs.
        spec: The model; its intervals are used.
    """

    def __init__(self, season: Season, spec: Spec) -> None:
        jobs, self._season = season.jobs, season
        self._num_channels = len(spec.channels)
        self._numbers = {name: at for at, name in enumerate(sorted({one.series for one in jobs}), 1)}
        self._job_of = np.full(
            (len(self._numbers) + 1, 8, season.slots), _NONE
        )  # the last day is a muted one
        for at, one in enumerate(jobs):
            first = one.slot - 1
            self._job_of[self._numbers[one.series], one.weekday, first : first + _SLOTS + 1] = at
        self._slot = np.array([one.slot for one in jobs])
        self._channel = np.array([one.channel for one in jobs])
        self._limit = np.array([one.limit for one in jobs])
        span_ns = _LEAST_SHARE * _SLOTS * season.slot_seconds * 1e9
        self._least = np.array([max(1.0, span_ns / spec.interval_of(one.series)) for one in jobs])
        self._number = SeriesArray((), np.int32, 0)
        self._key = SeriesArray((), np.int64, _NO_KEY)
        self._low, self._high = (SeriesArray((), np.float32, fill) for fill in (np.inf, -np.inf))
        self._known = SeriesArray((), np.int64, 0)
        self.use_calendar(season.calendar)

    def use_calendar(self, calendar: Calendar) -> None:
        """Follow another calendar from the next row on."""
        self._clock = WeekClock(calendar, self._season.slot_seconds)

    def add(self, rows: ScaledRows) -> Spoken:
        """Look at the next final rows, and return which of them are evidence that a job did not come."""
        num = len(rows.slot)
        blame = np.full((num, self._num_channels), np.nan)
        absent = np.zeros(num, np.bool_)
        if num:
            self._reserve(rows.slot)
            day, at = self._clock.slots(rows.start_ns)
            job = self._job_of[self._number.data[rows.slot], self._clock.weekdays(day), at]
            near = np.flatnonzero(job != _NONE)
            if len(near):
                absent[near] = self._absent(rows, near, job[near], day[near], at[near])
        told = np.flatnonzero(absent)
        if len(told):
            blame[told] = 0.0
            blame[told, self._channel[job[told]]] = 1.0
        return Spoken(Kind.SEASON, np.where(absent, _ABSENT, np.nan), absent, blame)

    def name(self, slots: NDArray[np.int32], names: Sequence[str]) -> None:
        """Look up the jobs of new series, by their numbers, int32 [n], and names."""
        if len(slots):
            self._reserve(slots)
            self._number.data[slots] = [self._numbers.get(name, 0) for name in names]

    def accept(self, slot: int) -> None:
        """Do nothing: an accepted level says nothing about a job."""

    def stand(self, slots: NDArray[np.int32], within_fault: NDArray[np.bool_]) -> None:
        """Do nothing: the limits of jobs do not move."""

    def restart(self, slots: NDArray[np.int32]) -> None:
        """Do nothing: days and slots count, not row numbers."""

    def use_other_reference(self, slots: NDArray[np.int32]) -> None:
        """Continue these series with other jobs: what was seen of the old ones is forgotten."""
        for array in self.arrays():
            array.reset(slots)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._number.reset(slots)
        self.use_other_reference(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._key, self._low, self._high, self._known]

    def _absent(
        self,
        rows: ScaledRows,
        near: NDArray[np.intp],
        job: NDArray[np.int64],
        day: NDArray[np.int64],
        at: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """Return which rows near a job are evidence that it did not come, bool [len(near)].

        Args:
            rows: All rows.
            near: Which of them lie near a job.
            job: Of each, the number of the job.
            day: Of each, local day.
            at: Of each, slot of the day.
        """
        key, tells = day * self._season.slots + self._slot[job], at == self._slot[job] + TELLS
        slot, value = rows.slot[near], rows.scaled[near, self._channel[job]]
        groups = starts_of(slot, key, tells)
        known = ~np.isnan(value)
        low = np.minimum.reduceat(np.where(known, value, np.inf).astype(np.float32), groups)
        high = np.maximum.reduceat(np.where(known, value, -np.inf).astype(np.float32), groups)
        count = np.add.reduceat(known, groups, dtype=np.int64)
        series, of_group, told = slot[groups], job[groups], np.zeros(len(groups), np.bool_)
        first = starts_of(series)
        depth = np.arange(len(series)) - np.repeat(first, lengths_of(first, len(series)))
        for number in range(int(depth.max()) + 1):
            one = np.flatnonzero(depth == number)
            whose, same = series[one], self._key.data[series[one]] == key[groups[one]]
            ends = tells[groups[one]]
            told[one] = ends & same & self._is_low(whose, of_group[one])
            goes = one[~ends]
            self._see(series[goes], key[groups[goes]], (low[goes], high[goes], count[goes]))
        return np.repeat(told, lengths_of(groups, len(near)))

    def _is_low(self, slots: NDArray[np.int32], job: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return for which series the range of the rows so far is known and below the job's limit, bool."""
        enough = self._known.data[slots] >= self._least[job]
        low, high = self._low.data[slots].astype(np.float64), self._high.data[slots].astype(np.float64)
        found: NDArray[np.bool_] = enough & (high - low < self._limit[job])
        return found

    def _see(
        self,
        slots: NDArray[np.int32],
        key: NDArray[np.int64],
        seen: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]],
    ) -> None:
        """Add the lowest and highest value and the number of rows to what was seen of these jobs."""
        other = slots[self._key.data[slots] != key]
        for array in (self._low, self._high, self._known):
            array.reset(other)
        self._key.data[slots] = key
        self._low.data[slots] = np.minimum(self._low.data[slots], seen[0])
        self._high.data[slots] = np.maximum(self._high.data[slots], seen[1])
        self._known.data[slots] += seen[2]

    def _reserve(self, slots: NDArray[np.int32]) -> None:
        for array in (self._number, *self.arrays()):
            array.reserve(int(slots.max(initial=-1)) + 1)
