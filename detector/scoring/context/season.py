"""Departures from what is usual at this time of day and week, as evidence of its own.

A window has the right shape also at the wrong hour. So each channel is compared with the profile that its
history showed, in units of the usual difference at that time. Departures add up as all others do
(`detector.scoring.lasting.cumulative`).

Letters: n rows, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detector.artifact.season import Calendar, Season
from detector.artifact.spec import PageLimit
from detector.rows.series_arrays import SeriesArray
from detector.scoring.context.profile import Profiles, WeekClock
from detector.scoring.context.spoken import ScaledRows, Spoken
from detector.scoring.kinds import Kind
from detector.scoring.lasting.paged_sums import PagedSums
from detector.scoring.lasting.relearnt import RelearntDepartures

MOST_DEPARTURE = 6.0
"""A row counts at most so many spreads: what recurs is short, and its absence must be seen."""
_COMMON = 0


class SeasonEvidence:
    """Keeps the departures of every series from the profile, added up. Not thread-safe.

    It keeps the number of each series' baseline. A snapshot does not need it: it follows from the name.

    Args:
        season: What the training learnt; with profiles.
        limit: How alarms raise the page level of each series; None if nothing does.

    Raises:
        ValueError: The season has no profiles.
    """

    def __init__(self, season: Season, limit: PageLimit | None) -> None:
        if season.sums is None:
            raise ValueError("the season has no profiles")
        self._season = season
        self._clock = WeekClock(season.calendar, season.slot_seconds)
        self._profiles = Profiles(season.profiles, season.slots)
        self._threshold = np.maximum(np.array(season.sums.threshold), 1e-9)
        self._baselines = np.array([season.baseline, *season.baselines.values()])
        self._numbers = {series: number for number, series in enumerate(season.baselines, 1)}
        self._number = SeriesArray((), np.int32, _COMMON)
        self._relearnt = RelearntDepartures(len(season.baseline))
        self._sums = PagedSums(season.sums, limit, MOST_DEPARTURE)

    def use_calendar(self, calendar: Calendar) -> None:
        """Follow another calendar from the next row on."""
        self._clock = WeekClock(calendar, self._season.slot_seconds)

    def add(self, rows: ScaledRows) -> Spoken:
        """Add the next final rows, and return what the season finds in them."""
        self._reserve(rows.slot)
        level, spread = self._profiles.at(self._clock.between(rows.start_ns))
        number = self._number.data[rows.slot]
        expected = level + self._baselines[number]
        departure = (rows.scaled - expected) / spread - self._relearnt.usual(rows.slot)
        self._relearnt.learn(rows.slot, departure)
        added = self._sums.add(rows.slot, rows.row, departure, number == _COMMON, rows.alarm)
        blame = np.square(added.lasting / self._threshold)
        return Spoken(Kind.SEASON, added.cumulative, added.paged, blame, expected)

    def name(self, slots: NDArray[np.int32], names: Sequence[str]) -> None:
        """Look up the baselines of new series, by their numbers, int32 [n], and names."""
        if len(slots):
            self._reserve(slots)
            self._number.data[slots] = [self._numbers.get(name, _COMMON) for name in names]

    def accept(self, slot: int) -> None:
        """Begin again with a series whose level was accepted: its usual departure is learnt again."""
        self._relearnt.begin(slot)
        self._sums.reset(np.array([slot], np.int32))

    def stand(self, slots: NDArray[np.int32], within_fault: NDArray[np.bool_]) -> None:
        """Say of these series whether small departures hold a fault, bool [len(slots)]."""
        self._sums.stand(slots, within_fault)

    def restart(self, slots: NDArray[np.int32]) -> None:
        """Continue these series with other row numbers; sums stay."""
        self._sums.restart(slots)

    def use_other_reference(self, slots: NDArray[np.int32]) -> None:
        """Continue these series under another profile: what was learnt against the old one is forgotten."""
        self.restart(slots)
        self._relearnt.drop(slots)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._number.reset(slots)
        self._relearnt.drop(slots)
        self._sums.drop(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [*self._relearnt.arrays(), *self._sums.arrays()]

    def _reserve(self, slots: NDArray[np.int32]) -> None:
        self._number.reserve(int(slots.max(initial=-1)) + 1)
