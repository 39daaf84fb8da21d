"""What channels have at this time of day and week, so that slow evidence can leave it out.

Letters: n rows, C channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.artifact.season import Calendar, Season
from detector.scoring.context.profile import Profiles, WeekClock, interpolated


class SeasonLevel:
    """Return the level of the profiles of a season, in the units of the model.

    Args:
        season: What the training learnt.
        num_channels: C.

    Attributes:
        mean: Of the level over the week, float64 [C]; 0 where a channel has no season.
    """

    def __init__(self, season: Season | None, num_channels: int) -> None:
        self._season = season
        self.mean = np.zeros(num_channels)
        if season is None or not season.profiles:
            self._clock = None
            return
        self._clock = WeekClock(season.calendar, season.slot_seconds)
        self._level = Profiles(season.profiles, season.slots).level
        seasonal = np.array([bool(one.level) for one in season.profiles])
        self._level[:, :, ~seasonal] = 0.0
        self.mean = np.nanmean(self._level, axis=(0, 1))

    def use_calendar(self, calendar: Calendar) -> None:
        """Follow another calendar from the next row on."""
        if self._season is not None and self._clock is not None:
            self._clock = WeekClock(calendar, self._season.slot_seconds)

    def at(self, start_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the level at each time, float64 [n, C], or [1, C] where no channel has a season.

        It is NaN on muted days, and on weekdays that the history lacks, in channels with a season.
        """
        if self._clock is None:
            return self.mean[None]
        return interpolated(self._level, self._clock.between(start_ns))
