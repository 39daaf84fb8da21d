"""When machines run: shifts that change at fixed hours, weekends, planned stops; and which rows are lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.plants.draws import Draws, Rows, Values, lagged

_DAY, _WEEK = 86_400, 7 * 86_400


@dataclass(frozen=True, slots=True)
class Schedule:
    """The working hours of a plant. Row 0 is a Monday, 0:00.

    interval_seconds  time from one row to the next
    start, end        hours of the working day; (0, 24): the machine never stops at night
    weekend           whether machines stand still on Saturday and Sunday
    stops_a_week      planned stops of one to three hours that a machine has in a week
    """

    interval_seconds: int = 300
    start: int = 6
    end: int = 22
    weekend: bool = True
    stops_a_week: float = 1.0

    def running(self, draws: Draws, rows: Rows) -> NDArray[np.bool_]:
        """Return whether the machine is on, bool [n]."""
        second = rows * self.interval_seconds
        hour = (second % _DAY) / 3600.0
        shift = (hour >= self.start) & (hour < self.end)
        if self.weekend:
            shift &= second % _WEEK < 5 * _DAY
        day = second // _DAY
        stops = draws.uniform("stop", day) < self.stops_a_week / 7.0
        begins = self.start + draws.uniform("stop/start", day) * max(1, self.end - self.start - 4)
        length = 1.0 + 2.0 * draws.uniform("stop/hours", day)
        return shift & ~(stops & (hour >= begins) & (hour < begins + length))

    def load(self, draws: Draws, rows: Rows) -> Values:
        """Return what is asked of the machine while it runs, float64 [n], about .4 to 1.

        Orders last two hours each; the shift, the hour of the day and slow noise change it.
        """
        second = rows * self.interval_seconds
        order = second // 7200
        daily = 0.08 * np.sin(2.0 * np.pi * (second % _DAY) / _DAY)
        late = 0.06 * ((second % _DAY) >= 14 * 3600)
        level = 0.55 + 0.3 * draws.uniform("order", order)
        return level + daily + late + 0.03 * draws.smooth("load", rows, 12)

    def ramped(self, draws: Draws, rows: Rows) -> Values:
        """Return the load with starts and stops that take a few rows, 0 where the machine is off."""
        return lagged(self.running(draws, rows) * self.load(draws, rows), 1.5)


def lost(draws: Draws, rows: Rows, interval_seconds: int) -> NDArray[np.bool_]:
    """Return which rows never arrive, bool [n]: single ones, and an outage of two hours in two weeks."""
    day = rows * interval_seconds // _DAY
    hour = (rows * interval_seconds % _DAY) / 3600.0
    begins = 22.0 * draws.uniform("outage/start", day)
    outage = draws.uniform("outage", day) < 1 / 14
    outage &= (hour >= begins) & (hour < begins + 2.0 * draws.uniform("outage/hours", day))
    return outage | (draws.uniform("lost", rows) < 0.002)
