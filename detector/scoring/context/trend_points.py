"""The blocks of every series and channel since its level began to move, as few points.

A level begins to move where departures beyond a quarter of a unit last added up from nothing (Page, 1954).
The side on which they are counts. A point is the mean of so many blocks in a row. Where there are too many
points, two become one.

Letters: k series, C channels, P points.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of
from detector.scoring.context.trend import Line, line_through
from detector.scoring.series_scales import SeriesScales

POINTS = 32
_ALLOWANCE, _MOST, _CAP = 0.25, 8.0, 4.0
"""What does not add up; a block counts at most so much; so much is forgotten within four days."""


class TrendPoints:
    """Keep the points of every series. Not thread-safe.

    Args:
        num_channels: C.
    """

    def __init__(self, num_channels: int) -> None:
        self._rise = SeriesArray((2, num_channels), np.float64, 0.0)
        self._side = SeriesArray((num_channels,), np.int8, 0)
        self._first = SeriesArray((num_channels,), np.int64, 0)
        self._span = SeriesArray((num_channels,), np.int64, 1)
        self._sums = SeriesArray((num_channels, POINTS), np.float32, 0.0)
        self._nums = SeriesArray((num_channels, POINTS), np.int16, 0)

    def add(self, slot: NDArray[np.int32], block: NDArray[np.int64], departure: NDArray[np.float64]) -> None:
        """Add one block of each of these series.

        Args:
            slot: int32 [k], each once.
            block: The number of the block, int64 [k]; later than those before it.
            departure: In units, float64 [k, C], NaN where unknown.
        """
        known = ~np.isnan(departure)
        side = self._sides(slot, departure, known)
        first, span = self._first.data[slot], self._span.data[slot]
        sums, nums = self._sums.data[slot], self._nums.data[slot]
        began = side != self._side.data[slot]
        sums[began], nums[began], span[began] = 0, 0, 1
        first = np.where(began, block[:, None], first)
        moves = known & (side != 0)
        while (far := moves & ((block[:, None] - first) // span >= POINTS)).any():
            for points in (sums, nums):
                points[far] = _folded(points[far])
            span[far] *= 2
        at = (block[:, None] - first) // span
        row, channel = np.nonzero(moves)
        sums[row, channel, at[row, channel]] += departure[row, channel]
        nums[row, channel, at[row, channel]] += 1
        self._side.data[slot], self._first.data[slot], self._span.data[slot] = side, first, span
        self._sums.data[slot], self._nums.data[slot] = sums, nums

    def lines(self, slot: int, now: int, variance: NDArray[np.float64]) -> list[Line | None]:
        """Return the line of each channel of a series, in units; None where its level does not move.

        Args:
            slot: The series.
            now: The number of the block after the newest.
            variance: Of sums of blocks for each block, float64 [C].
        """
        found: list[Line | None] = []
        for channel, one in enumerate(variance.tolist()):
            num = self._nums.data[slot, channel].astype(np.int64)
            some = np.flatnonzero(num)
            span, first = int(self._span.data[slot, channel]), int(self._first.data[slot, channel])
            begin = first + span * some
            middle = (begin + np.minimum(begin + span, now)) / 2.0
            mean = self._sums.data[slot, channel, some].astype(np.float64) / num[some]
            found.append(line_through(middle, mean, num[some], float(now), one))
        return found

    def reset(self, slots: NDArray[np.int32]) -> None:
        """Begin again with these series."""
        for array in self.arrays():
            array.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._rise, self._side, self._first, self._span, self._sums, self._nums]

    def _sides(
        self, slot: NDArray[np.int32], departure: NDArray[np.float64], known: NDArray[np.bool_]
    ) -> NDArray[np.int8]:
        """Return the side to which each channel has moved, int8 [k, C]; 0: to none."""
        rise = self._rise.data[slot]
        some = np.clip(np.where(known, departure, 0.0), -_MOST, _MOST)
        for number, step in enumerate((some, -some)):
            added = np.clip(rise[:, number] + step - _ALLOWANCE, 0.0, _CAP)
            rise[:, number] = np.where(known, added, rise[:, number])
        self._rise.data[slot] = rise
        side: NDArray[np.int8] = np.sign(rise[:, 0] - rise[:, 1]).astype(np.int8)
        return side


def _folded(points: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return half as many points [n, P], each of two; the rest is 0."""
    pairs = points.reshape(len(points), POINTS // 2, 2)
    return np.concatenate([pairs[..., 0] + pairs[..., 1], np.zeros_like(pairs[..., 0])], axis=1)  # type: ignore[operator]


Lines = tuple[Line | None, ...]
"""The line of each channel, in its own units; None where its level does not move."""


class Trends:
    """Keep the trends of every series, and tell those of series in drift. Not thread-safe.

    Args:
        scales: The scales of each series.
        variance: Of sums of blocks for each block, float64 [C], in units; 0: the channel is not watched.
        baseline: Returns the level [C] of a series without departures and its unit [C], float64 in the units
            of the model.
    """

    def __init__(
        self,
        scales: SeriesScales,
        variance: NDArray[np.float64],
        baseline: Callable[[int], tuple[NDArray[np.float64], NDArray[np.float64]]],
    ) -> None:
        self._scales, self._variance, self._baseline = scales, variance, baseline
        self._points = TrendPoints(len(variance))
        self._next = SeriesArray((), np.int64, 0)
        self._told: dict[int, tuple[int, Lines]] = {}

    def add(
        self,
        slot: NDArray[np.int32],
        block: NDArray[np.int64],
        departure: NDArray[np.float64],
        paged: NDArray[np.bool_],
    ) -> list[Lines | None]:
        """Add blocks that ended; return the lines after each that counts for incidents.

        Args:
            slot: int32 [m], sorted by series and time.
            block: int64 [m], numbers of the blocks.
            departure: In units, float64 [m, C], NaN where unknown.
            paged: bool [m], which of them count for incidents.
        """
        starts = starts_of(slot)
        depth = np.arange(len(slot)) - np.repeat(starts, lengths_of(starts, len(slot)))
        found: list[Lines | None] = [None] * len(slot)
        for number in range(int(depth.max(initial=-1)) + 1):
            at = np.flatnonzero(depth == number)
            self._points.add(slot[at], block[at], departure[at])
            self._next.data[slot[at]] = block[at] + 1
            for one in at[paged[at]].tolist():
                found[one] = self.of(int(slot[one]))
        return found

    def of(self, slot: int) -> Lines:
        """Return the lines of a series after its newest block."""
        now = int(self._next.data[slot])
        told = self._told.get(slot)
        if told is None or told[0] != now:
            told = self._told[slot] = (now, self._lines(slot, now))
        return told[1]

    def reset(self, slots: NDArray[np.int32]) -> None:
        """Begin again with these series."""
        self._points.reset(slots)
        self._next.reset(slots)
        for slot in slots.tolist():
            self._told.pop(slot, None)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._next, *self._points.arrays()]

    def _lines(self, slot: int, now: int) -> Lines:
        one = np.array([slot], np.int32)
        level, unit = self._baseline(slot)
        found = self._points.lines(slot, now, self._variance)
        middle = np.array([0.0 if line is None else line.level for line in found])
        levels = self._scales.to_channels((level + middle * unit)[None], one)[0].tolist()
        scale = (unit * self._scales.trained_at(one)[1][0]).tolist()
        return tuple(
            None if line is None or not watched else line.scaled(by, at)
            for line, by, at, watched in zip(found, scale, levels, self._variance > 0, strict=True)
        )
