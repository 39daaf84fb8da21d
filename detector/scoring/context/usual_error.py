"""Times of the week at which errors are usually high, as at a shift change: the threshold is higher there.

Letters: n rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.artifact.season import Calendar, Season
from detector.scoring.context.profile import WeekClock


class UsualErrors:
    """Looks up the factor of the threshold at a time. Not thread-safe.

    Args:
        season: What the training learnt.
    """

    def __init__(self, season: Season) -> None:
        self._season = season
        self._factor = np.ones((8, season.slots))  # the last line is of muted days
        slots = np.array(season.usual_error.slots, np.int64)
        self._factor[slots // season.slots, slots % season.slots] = season.usual_error.factors
        self.use_calendar(season.calendar)

    def use_calendar(self, calendar: Calendar) -> None:
        """Follow another calendar from the next row on."""
        self._clock = WeekClock(calendar, self._season.slot_seconds)

    def factor(self, start_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return by how much the threshold is higher at these times, int64 nanoseconds [n]; float64 [n]."""
        days, slots = self._clock.slots(start_ns)
        found: NDArray[np.float64] = self._factor[self._clock.weekdays(days), slots]
        return found
