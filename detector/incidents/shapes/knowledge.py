"""What is usual, as far as an explanation needs it: by the description of a model, in physical units.

Letters: n times, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Spec
from detector.scoring.context.profile import Profiles, WeekClock
from detector.scoring.recurring.jobs import TELLS

_DAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


ScalesOf: TypeAlias = Callable[[str], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Returns centre and scale of each channel in a series, float64 [C] each."""


class Knowledge:
    """What an explanation may take as known. Not thread-safe.

    Args:
        channels: names of the channels.
        band_of: returns half the width of each channel's expected range in a series, float64 [C].
        spec: the model; None: nothing else is known.
        scales_of: returns centre and scale of each channel in a series; None: those of `spec`.
    """

    def __init__(
        self,
        channels: tuple[str, ...],
        band_of: Callable[[str], NDArray[np.float64]],
        spec: Spec | None = None,
        scales_of: ScalesOf | None = None,
    ) -> None:
        self.channels, self.band_of, self._spec = channels, band_of, spec
        self._scales_of = scales_of or (None if spec is None else spec.scales_of)

    def relatives(self, channel: int) -> list[int]:
        """Return the other channels, those first from which the reference tells most of this one."""
        others = [at for at in range(len(self.channels)) if at != channel]
        reference = None if self._spec is None else self._spec.reference
        if reference is None:
            return others
        direct = np.abs(np.array(reference.weights[1 : 1 + len(self.channels)]))[:, channel]
        return sorted(others, key=lambda at: (-direct[at], at))

    def range_of(self, series: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the range of each channel in the history, float64 [C] each; infinite where unknown."""
        unknown = np.full(len(self.channels), np.inf)
        if self._scales_of is None or self._spec is None or self._spec.reference is None:
            return -unknown, unknown
        center, scale = self._scales_of(series)
        reference = self._spec.reference
        return center + np.array(reference.lowest) * scale, center + np.array(reference.highest) * scale

    def usual_at(self, series: str, when: NDArray[np.int64], channel: int) -> NDArray[np.float64] | None:
        """Return what a channel usually is at these times, float64 [n]; None where it has no season."""
        if self._season is None or self._scales_of is None:
            return None
        clock, profiles = self._season
        center, scale = self._scales_of(series)
        level, _ = profiles.at(clock.between(when))
        if np.isnan(level[:, channel]).all():
            return None
        found: NDArray[np.float64] = center[channel] + level[:, channel] * scale[channel]
        return found

    def absent_job(self, series: str, start_ns: int, channel: int) -> str:
        """Return when a job should have come whose absence is evidence from this time on; else empty.

        Args:
            series: the series.
            start_ns: the first row of an incident.
            channel: the channel that is to blame.
        """
        season = None if self._spec is None else self._spec.season
        if season is None or not season.jobs:
            return ""
        clock = WeekClock(season.calendar, season.slot_seconds)
        day, slot = clock.slots(np.array([start_ns]))
        key = (series, int(clock.weekdays(day)[0]), int(slot[0]) - TELLS, channel)
        for one in season.jobs:
            if (one.series, one.weekday, one.slot, one.channel) == key:
                at = one.slot * season.slot_seconds
                return f"{_DAYS[one.weekday]} {at // 3600:02d}:{at % 3600 // 60:02d}"
        return ""

    @cached_property
    def _season(self) -> tuple[WeekClock, Profiles] | None:
        season = None if self._spec is None else self._spec.season
        if season is None or not season.profiles:
            return None
        clock = WeekClock(season.calendar, season.slot_seconds)
        return clock, Profiles(season.profiles, season.slots)
