"""The level and spread of channels at a time, from the profiles of an artifact.

Letters: n rows, C channels, S slots a day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.season import DAY_SECONDS, Calendar, Profile
from detector.scoring.context.local_time import LocalTime, special_days, weekdays


@dataclass(frozen=True, slots=True)
class SlotsOf:
    """Hold between which two slots n times lie.

    weekday  int64 [n, 2], of both slots, -1 on a muted day
    slot     int64 [n, 2], of the day
    weight   float64 [n, 1], of the second one
    """

    weekday: NDArray[np.int64]
    slot: NDArray[np.int64]
    weight: NDArray[np.float64]


class WeekClock:
    """Places times in slots of the week. Not thread-safe.

    Args:
        calendar: The zone, and days that are not as their weekday.
        slot_seconds: Length of a slot; it divides a day.
    """

    def __init__(self, calendar: Calendar, slot_seconds: int) -> None:
        self._clock, self._like = LocalTime(calendar.zone), special_days(calendar)
        self._length, self._slots = slot_seconds, DAY_SECONDS // slot_seconds

    def slots(self, time_ns: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the day since 1970-01-01 and the slot of the day that hold each time, int64 [n] each."""
        local = self._clock.seconds(time_ns)
        return local // DAY_SECONDS, local % DAY_SECONDS // self._length

    def weekdays(self, days: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the weekday that each day counts as, int64 [n]; -1 on muted days."""
        return weekdays(days, self._like)

    def between(self, time_ns: NDArray[np.int64]) -> SlotsOf:
        """Return the slots whose middles lie before and after each time, int64 nanoseconds [n]."""
        local = 2 * self._clock.seconds(time_ns) - self._length
        first, rest = local // (2 * self._length), local % (2 * self._length)
        both = np.stack([first, first + 1], axis=1)
        weekday = self.weekdays((both // self._slots).ravel()).reshape(-1, 2)
        return SlotsOf(weekday, both % self._slots, (rest / (2.0 * self._length))[:, None])


class Profiles:
    """The level and spread of every channel, as tables of weekdays and slots.

    Args:
        profiles: One for each channel.
        slots: S.

    Attributes:
        level, spread: float64 [8, S, C]; NaN where a channel has no season, on weekdays that the history
            lacks, and in the last line, of muted days.
    """

    def __init__(self, profiles: tuple[Profile, ...], slots: int) -> None:
        self.level = np.full((8, slots, len(profiles)), np.nan)
        self.spread = self.level.copy()
        for channel, one in enumerate(profiles):
            for weekday, curve in enumerate(one.curve_of):
                if curve >= 0:
                    self.level[weekday, :, channel] = one.level[curve]
                    self.spread[weekday, :, channel] = one.spread[curve]

    def at(self, where: SlotsOf) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return level and spread, interpolated, float64 [n, C] each; NaN where unknown."""
        return interpolated(self.level, where), interpolated(self.spread, where)


def interpolated(table: NDArray[np.float64], where: SlotsOf) -> NDArray[np.float64]:
    """Return a table [8, S, C] between two slots, float64 [n, C]."""
    first, second = (table[where.weekday[:, at], where.slot[:, at]] for at in (0, 1))
    found: NDArray[np.float64] = first + where.weight * (second - first)
    return found
