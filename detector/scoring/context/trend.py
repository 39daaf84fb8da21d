"""How fast a level moves, and when it reaches a limit, each with an interval.

A drift begins where a level of zero and a line that rises from there fit the points best (Hinkley, 1971). The
rate is the median of the slopes between all pairs of later points (Theil, 1950; Sen, 1968), so that single
faults move it little. Its error is that of a straight line under the long-run variance of the blocks, because
neighbouring blocks are alike. The days until a limit are those at which the band about the line holds the
limit (Fieller, 1954).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TIMES = 2.0
"""Errors on each side of an interval. It holds nine of ten, also where the variance is a fifth too small."""
_OF_SLOPES, _OF_MEDIANS = 1.05, 1.1
_NORMAL = 1.4826
_FEWEST_POINTS = 3
_BLOCKS_A_DAY = 4
_LONGEST_DAYS = 3_650.0


@dataclass(frozen=True, slots=True)
class Trend:
    """How a channel drifts, in its own units, and when it reaches a limit.

    a_day, low, high  rate a day, and its interval of nine tenths
    limit             the limit of the configuration to which it moves; None: there is none
    days              until its level is there; None: the rate may be zero, or it takes more than ten years
    days_low, days_high  the interval; `days_high` is None where it has no end
    """

    a_day: float
    low: float
    high: float
    limit: float | None = None
    days: float | None = None
    days_low: float | None = None
    days_high: float | None = None

    @property
    def may_be_zero(self) -> bool:
        """Whether the interval of the rate holds zero."""
        return self.low <= 0.0 <= self.high


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line through the blocks since a drift began; its time is counted in days from its middle.

    a_day, error        rate a day, and its standard error
    level, level_error  at the middle
    scatter             usual difference of the mean of a day to the line
    days                from the middle to now
    """

    a_day: float
    error: float
    level: float
    level_error: float
    scatter: float
    days: float

    def scaled(self, scale: float, level: float) -> Line:
        """Return the line in other units: of this `scale`, with this `level` at the middle."""
        return Line(
            self.a_day * scale,
            self.error * scale,
            level,
            self.level_error * scale,
            self.scatter * scale,
            self.days,
        )

    def trend(self, lower: float | None = None, upper: float | None = None) -> Trend:
        """Return the trend toward these limits of the channel."""
        low, high = self.a_day - _TIMES * self.error, self.a_day + _TIMES * self.error
        limit = upper if self.a_day > 0 else lower
        if limit is None:
            return Trend(self.a_day, low, high)
        return Trend(self.a_day, low, high, limit, *self._days_until(limit))

    def _days_until(self, limit: float) -> tuple[float | None, float | None, float | None]:
        """Return the days from now until the limit, and the first and last day at which the band holds it."""
        away = limit - self.level
        if (away - self.a_day * self.days) * self.a_day <= 0:
            return 0.0, 0.0, 0.0
        beside = _TIMES**2 * (self.level_error**2 + self.scatter**2)
        square = self.a_day**2 - (_TIMES * self.error) ** 2
        half = self.a_day * away
        root = math.sqrt(max(0.0, half**2 - square * (away**2 - beside)))
        first = (away**2 - beside) / (half + root)
        low = max(0.0, first - self.days)
        if square <= 0:
            return None, _within_years(low), None
        last = max(0.0, (half + root) / square - self.days)
        return _within_years(away / self.a_day - self.days), _within_years(low), _within_years(last)


def _within_years(days: float) -> float | None:
    return days if days <= _LONGEST_DAYS else None


def line_through(
    block: NDArray[np.float64],
    value: NDArray[np.float64],
    num: NDArray[np.int64],
    now: float,
    variance: float,
) -> Line | None:
    """Return the line through points, None with fewer than three.

    Args:
        block: The time of each point in blocks, float64 [p], ascending.
        value: The mean of its blocks, float64 [p].
        num: How many blocks it has, int64 [p].
        now: The end of the newest block, in blocks.
        variance: Of sums of blocks, for each block.
    """
    if len(block) < _FEWEST_POINTS:
        return None
    since = slice(_onset(block, value, num), None)
    block, value, num = block[since], value[since], num[since]
    one, other = np.triu_indices(len(block), 1)
    slope = float(np.median((value[other] - value[one]) / (block[other] - block[one])))
    total = float(num.sum())
    middle = float((num * block).sum() / total)
    along = float((num * ((block - middle) ** 2 + (np.square(num) - 1) / 12.0)).sum())
    left = value - slope * (block - middle)
    level = float(np.median(left))
    beside = _NORMAL * float(np.median(np.abs(left - level)))
    variance = max(variance, beside**2 * total / len(block))
    return Line(
        a_day=slope * _BLOCKS_A_DAY,
        error=_OF_SLOPES * math.sqrt(variance / along) * _BLOCKS_A_DAY,
        level=level,
        level_error=_OF_MEDIANS * math.sqrt(variance / total),
        scatter=min(1.0, math.sqrt(variance / _BLOCKS_A_DAY)),
        days=(now - middle) / _BLOCKS_A_DAY,
    )


def _onset(block: NDArray[np.float64], value: NDArray[np.float64], num: NDArray[np.int64]) -> int:
    """Return the point at which a line begins that rises from zero; at least three points follow it."""
    starts = block[: len(block) - _FEWEST_POINTS + 1]
    along = np.maximum(block - starts[:, None] + 1.0, 0.0)
    along[np.tri(len(starts), len(block), -1, np.bool_)] = 0.0
    slope = (along * value * num).sum(axis=1) / (along**2 * num).sum(axis=1)
    beside = (np.abs(value - slope[:, None] * along) * num).sum(axis=1)
    onset = int(beside.argmin())
    return min(onset + 1, len(starts) - 1)  # the level of the point at the onset has hardly moved
