"""Decide the mode of operation of every row, and what follows for its judgement.

The values of a row alone decide its mode. Where one that matters is unknown, the mode before goes on for some
rows. Each series keeps its mode and how many rows ago it changed, so results do not depend on the cut.

A series that hovers at a bound changes again and again, and would never be judged. So each series also keeps
for how many rows it has not settled. After three times the longest transition its rows are judged again.

Letters: n rows, C channels, M modes; the mode `other` has the number M.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.artifact.modes import Mode, Modes
from detector.artifact.spec import Spec
from detector.rows.series_arrays import SeriesArray, lengths_of, run_lengths
from detector.rows.windows import NewRows
from detector.scoring.context.spoken import Spoken
from detector.scoring.kinds import Kind

UNKNOWN = -1
"""The number of a mode that is unknown, and of the mode that a row which passes to none has left."""
_AGED = 1 << 30
WIDTH = 4
_NOTHING = (UNKNOWN, 0, UNKNOWN, -1, 0)
"""What is kept of a series before its first row, in the order of `ModeTracker.arrays`."""
_PATIENCE = 3


@dataclass(frozen=True, slots=True)
class RowModes:
    """Hold the modes of n rows.

    mode       int32 [n], a number, or `UNKNOWN`
    left       int32 [n], of rows in `other`: the mode that the series has left for it; else `UNKNOWN`
    age        int32 [n], rows since the mode began: 0 at the row of the change
    unsettled  int32 [n], rows since the series was last settled in a mode: 0 where it is
    """

    mode: NDArray[np.int32]
    left: NDArray[np.int32]
    age: NDArray[np.int32]
    unsettled: NDArray[np.int32]

    def as_columns(self) -> NDArray[np.int32]:
        """Return the modes as columns that travel with the rows, int32 [n, 4]."""
        return np.stack([self.mode, self.left, self.age, self.unsettled], axis=1)

    @staticmethod
    def of(columns: NDArray[np.int32]) -> RowModes:
        """Return the modes of the columns of `as_columns`."""
        return RowModes(columns[:, 0], columns[:, 1], columns[:, 2], columns[:, 3])


class Settling:
    """Say when a series has settled in a mode, and how long it may take.

    It has where its mode has lasted long enough to be judged, and at least half of the longest transition.

    Args:
        modes: The modes of the model.
    """

    def __init__(self, modes: Modes) -> None:
        self._other, self._passing = len(modes.modes), modes.passing_rows
        self._settle = np.array([mode.settle_rows for mode in modes.all], np.int64)
        longest = max(int(self._settle.max()), self._passing)
        self._needed = np.maximum(self._settle, -(-longest // 2))
        self.most = _PATIENCE * (int(self._settle.max()) + self._passing)
        """After so many rows without being settled, rows are judged all the same."""

    def is_young(
        self, mode: NDArray[np.int32], age: NDArray[np.int64] | NDArray[np.int32]
    ) -> NDArray[np.bool_]:
        """Return which rows come too soon after a change to be judged, bool [n]."""
        passes: NDArray[np.bool_] = (mode == self._other) & (age < self._passing)
        return passes | (age < self._settle[mode])

    def is_unsettled(self, mode: NDArray[np.int32], age: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return at which rows the series has not settled, bool [n]."""
        unsettled: NDArray[np.bool_] = self.is_young(mode, age) | (age < self._needed[mode])
        return unsettled


class ModeConditions:
    """Say which mode the values of a row ask for.

    Args:
        modes: The modes of the model.
        channels: Names of the channels, in the order of the columns.
    """

    def __init__(self, modes: Modes, channels: tuple[str, ...]) -> None:
        self._bounds = [
            [(channels.index(one.channel), one.low, one.high) for one in mode.conditions]
            for mode in modes.modes
        ]

    def asked(self, values: NDArray[np.float64]) -> NDArray[np.int32]:
        """Return the first mode whose conditions hold, int32 [n]; M where none does.

        It is `UNKNOWN` where an unknown value leaves open whether an earlier or the same mode holds.

        Args:
            values: In the units of the channels, float64 [n, C], NaN where unknown.
        """
        found = np.full(len(values), len(self._bounds), np.int32)
        is_open = np.ones(len(values), np.bool_)
        for number, bounds in enumerate(self._bounds):
            holds, fails = is_open.copy(), np.zeros(len(values), np.bool_)
            for channel, low, high in bounds:
                column = values[:, channel]
                inside = ~np.isnan(column)
                outside = np.zeros(len(values), np.bool_)
                if low is not None:
                    inside &= column >= low
                    outside |= column < low
                if high is not None:
                    inside &= column <= high
                    outside |= column > high
                holds &= inside
                fails |= outside
            found[holds] = number
            found[is_open & ~holds & ~fails] = UNKNOWN
            is_open &= fails
        return found


class ModeTracker:
    """Keep the mode of every series. Not thread-safe.

    Args:
        modes: The modes of the model.
        channels: Names of the channels.
    """

    def __init__(self, modes: Modes, channels: tuple[str, ...]) -> None:
        self._conditions = ModeConditions(modes, channels)
        self._hold, self._other = modes.hold_rows, len(modes.modes)
        self._mode = SeriesArray((), np.int32, UNKNOWN)
        self._unknown = SeriesArray((), np.int64, 0)
        self._left = SeriesArray((), np.int32, UNKNOWN)
        self._age = SeriesArray((), np.int64, -1)
        self._settling = Settling(modes)
        self._unsettled = SeriesArray((), np.int64, 0)

    def follow(self, new_rows: NewRows, values: NDArray[np.float64]) -> RowModes:
        """Return the modes of the next rows. After a long gap the mode before is unknown.

        Args:
            new_rows: The next rows of some series.
            values: Their values, float64 [n, C], NaN where unknown or impossible.
        """
        num = len(new_rows)
        if num == 0:
            nothing = np.empty(0, np.int32)
            return RowModes(nothing, nothing, nothing, nothing)
        for array in self.arrays():
            array.reserve(int(new_rows.slot.max()) + 1)
        begins = new_rows.restart.copy()
        begins[new_rows.starts] = True
        starts = np.flatnonzero(begins)
        slots = new_rows.slot[starts]
        goes_on = ~new_rows.restart[starts]
        mode, unknown, left, age, unsettled = (
            np.where(goes_on, array.data[slots], fill)
            for array, fill in zip(self.arrays(), _NOTHING, strict=True)
        )
        asked = self._conditions.asked(values)
        run = run_lengths(asked == UNKNOWN, starts, unknown)
        lengths = lengths_of(starts, num)
        index, first = np.arange(num), np.repeat(starts, lengths)
        known = np.maximum.accumulate(np.where(asked != UNKNOWN, index, -1))
        last = np.where(known >= first, asked[known], np.repeat(mode, lengths)).astype(np.int32)
        now = np.where(run <= self._hold, last, UNKNOWN).astype(np.int32)
        before = np.empty_like(now)
        before[1:] = now[:-1]
        before[starts] = np.where(unknown <= self._hold, mode, UNKNOWN)
        changed = np.maximum.accumulate(np.where(now != before, index, -1))
        fresh = changed >= first
        aged = np.where(fresh, index - changed, np.repeat(age + 1, lengths) + index - first)
        gone = np.where(fresh, before[changed], np.repeat(left, lengths))
        gone = np.where(now == self._other, gone, UNKNOWN).astype(np.int32)
        waits = run_lengths(self._settling.is_unsettled(now, aged), starts, unsettled)
        ends = np.append(new_rows.starts[1:], num) - 1
        columns: list[NDArray[Any]] = [last, run, gone, aged, waits]
        for array, column in zip(self.arrays(), columns, strict=True):
            array.data[new_rows.present] = column[ends]
        return RowModes(now, gone, *(np.minimum(one, _AGED).astype(np.int32) for one in (aged, waits)))

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._mode, self._unknown, self._left, self._age, self._unsettled]


class ModeRules:
    """Say how rows are judged in their modes. It keeps nothing of a series.

    Args:
        modes: The modes of the model.
        channels: Names of the channels.
        window: Rows of the longest window.
    """

    def __init__(self, modes: Modes, channels: tuple[str, ...], window: int) -> None:
        every = modes.all
        self._other, self._window, self._settling = len(modes.modes), window, Settling(modes)
        self._settle = np.array([mode.settle_rows for mode in every], np.int64)
        self._unjudged = np.array([[not mode.judges(name) for name in channels] for mode in every])
        factors = [[mode.fresh, mode.steady] for mode in every]
        self._factor = np.array(factors)
        self._usual = np.array([*(mode.usual_rows for mode in modes.modes), 0], np.float64)
        self._deciding = np.array([[_decides(mode, name) for name in channels] for mode in modes.modes])

    @staticmethod
    def of(spec: Spec) -> ModeRules | None:
        """Return the rules of a model; None where it has no modes."""
        return None if spec.modes is None else ModeRules(spec.modes, spec.channel_names, spec.window)

    def speak(self, rows: RowModes) -> Spoken:
        """Return what the modes say of rows: passages that last longer than any usual one."""
        lasted = self.overdue(rows)
        speaks = lasted > 1.0
        blame = self.blame(rows) if speaks.any() else None
        return Spoken(Kind.MODE, lasted, speaks, blame, needs_score=False)

    def is_transition(self, rows: RowModes) -> NDArray[np.bool_]:
        """Return which rows lie between two modes, or come too soon after a change, bool [n].

        Where a series takes far too long to settle there are none: it would not be judged at all.
        """
        return self._settling.is_young(rows.mode, rows.age) & (rows.unsettled <= self._settling.most)

    def unjudged(self, rows: RowModes) -> NDArray[np.bool_]:
        """Return which cells are not judged, bool [n, C]: in transitions, and by `judge` of the mode."""
        cells: NDArray[np.bool_] = self._unjudged[rows.mode] | self.is_transition(rows)[:, None]
        return cells

    def is_idle(self, rows: RowModes) -> NDArray[np.bool_]:
        """Return which rows are in a mode in which nothing is judged, bool [n]."""
        nothing = np.logical_and.reduce(self._unjudged, axis=1)
        idle: NDArray[np.bool_] = nothing[rows.mode]
        return idle

    def factors(self, rows: RowModes) -> NDArray[np.float64]:
        """Return by what the threshold is multiplied at each row, float64 [n]."""
        found: NDArray[np.float64] = self._factor[rows.mode, self.is_steady(rows).astype(np.intp)]
        return found

    def is_steady(self, rows: RowModes) -> NDArray[np.bool_]:
        """Return at which rows no window holds judged rows from before the change, bool [n]."""
        steady: NDArray[np.bool_] = rows.age >= self._settle[rows.mode] + self._window
        return steady

    def overdue(self, rows: RowModes) -> NDArray[np.float64]:
        """Return how long each passage has lasted in units of what is usual, float64 [n]; NaN elsewhere.

        A series that reaches a mode again and again, and never settles in it, is still under way.
        """
        usual = np.where(rows.left >= 0, self._usual[rows.left], 0.0)
        passes = (rows.mode == self._other) & (usual > 0)
        lasted = (rows.age + 1.0) / np.maximum(usual, 1.0)
        hovers = rows.unsettled > self._settling.most
        lasted = np.where(hovers, np.maximum(lasted, rows.unsettled / max(1, self._settling.most)), lasted)
        return np.where(passes, lasted, np.nan)

    def blame(self, rows: RowModes) -> NDArray[np.float64]:
        """Return the channels whose values decide whether a mode was reached, float64 [n, C].

        They are those of every mode but the one that was left; of that one where there is no other.
        """
        found = np.zeros((len(rows.mode), self._deciding.shape[1]))
        for left in np.unique(rows.left).tolist():
            others = np.delete(self._deciding, left, axis=0) if left >= 0 else self._deciding
            channels = (others if len(others) else self._deciding).any(axis=0)
            found[rows.left == left] = channels
        return found


def _decides(mode: Mode, channel: str) -> bool:
    return any(one.channel == channel for one in mode.conditions)
