"""Add up small departures that last: a cumulative sum of each channel, upwards and downwards.

After each row the sum is max(0, sum + departure - allowance) (Page, Biometrika 1954). Its delay is the
least for a given rate of false alarms (Lorden, 1971). A departure of half a spread then adds up, and one
below the allowance does not. A single row counts at most 3 spreads. A sum stands still where the departure is
unknown, and so does the evidence.

A sum that reaches its threshold is in alarm until it is back at 0. It then learns how large the departure
usually is. Departures below half of that speak for the end, so the allowance rises to that half, or to 1
spread if that is less. This is the likelihood ratio of that departure against none. The sum stays below 1.1
times its threshold. Both make it fall soon after a fault. In alarm, a second test adds up what speaks for the
end alone (Wald, 1945). It ends the alarm at once, after 24 rows or more.

A row that alarms by its score starts the sums of the channels that depart most. They start just below their
thresholds, so that a large fault is held from its start.

Large departures have sums of their own, whatever their sign. One counts from a spread beyond the allowance:
it finds what swings about its level, such as an oscillation. One counts from three: a large fault is
then found in a few rows, and a single wild row too. They begin the small sums of their channel as an alarming
score does. Together they are a cumulative sum with a Shewhart limit (Lucas, 1982).

A channel counts in a series once its sums were low for `proof_rows` rows in a row. Before that, nothing shows
that the reference holds there at all. Where no channel counts, the evidence is unknown.

All sums are whole numbers, so they do not depend on how the rows are cut into calls. Without alarm, a sum has
a closed form: the total so far less the least total so far. Only sums in alarm are followed row by row.

Letters: n rows, C channels, K sums, k series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.reference import LARGE_DEPARTURES
from detector.artifact.sum_limits import HasSums
from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of

_FIXED = float(1 << 16)
MOST = 3.0
MOST_DEPARTURE = 1_000.0
"""A large departure counts at most so many spreads."""
_CAP, _STARTED = 1.1, 0.9
_MOST_RAISED = 1.0
_CLEAR, _CLEAR_BEYOND = 1.5, 0.5
_CALM = 0.5
_LEARN_SHIFT = 6
"""The departure in alarm is learnt as a mean that forgets in about 64 rows."""
_ROUGH = 1 << 24
"""Sums are at most so many spreads, so that whole numbers of 64 bits hold every total."""


@dataclass(frozen=True, slots=True)
class End:
    """State what ends an alarm: rows without departure, and the logarithm of the likelihood ratio."""

    rows: int = 24
    likelihood: float = 20.0


END = End()
"""The end of an alarm over rows. They can follow each other closely."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Hold what has added up after each of n rows.

    cumulative  float64 [n], 1 is the threshold; NaN where no channel is known
    lasting     float64 [n, C], the larger sum of small departures of each channel, in spreads
    """

    cumulative: NDArray[np.float64]
    lasting: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Steps:
    """Hold what n rows of some series add to each sum. All are whole numbers, 65,536 for one spread.

    added      int64 [n, K], departure less allowance; 0 where unknown
    allowance  int64 [n, K], of each row
    known      bool [n, K]
    starts     bool [n, K], the sum is at least 0.9 times its threshold after the row
    """

    added: NDArray[np.int64]
    allowance: NDArray[np.int64]
    known: NDArray[np.bool_]
    starts: NDArray[np.bool_]


def alarm_sums(
    steps: Steps,
    slot: NDArray[np.int32],
    before: NDArray[np.int64],
    learnt: NDArray[np.int64],
    threshold: NDArray[np.int64],
    end: End = END,
) -> NDArray[np.int64]:
    """Return the sums after every row, int64 [n, K]; update `learnt`.

    Args:
        steps: What each row adds.
        slot: The series of each row, int32 [n], sorted.
        before: The sums before the first row of each series, int64 [k, K], one row for each series present.
        learnt: Of each sum in alarm its usual departure, and how much speaks for its end, int64 [k, 2, K]; 0
            where it is not in alarm.
        threshold: Of each sum, int64 [K].
        end: What ends an alarm.
    """
    starts = starts_of(slot)
    series = np.repeat(np.arange(len(starts)), lengths_of(starts, len(slot)))
    total = np.cumsum(steps.added, axis=0)
    total -= (total[starts] - steps.added[starts] - before)[series]
    # The least total of each series alone: those of later series are lower by more than any total can be.
    shift = series[:, None] * (2 * int(np.abs(total).max(initial=0)) + 1)
    least = np.minimum.accumulate(total - shift, axis=0) + shift
    sums: NDArray[np.int64] = total - np.minimum(least, 0)
    alarm = (np.maximum.reduceat(sums, starts) >= threshold) | (learnt[:, 0] > 0)
    alarm |= np.logical_or.reduceat(steps.starts, starts)
    for at, column in np.argwhere(alarm).tolist():
        rows = slice(starts[at], starts[at + 1] if at + 1 < len(starts) else None)
        state = (int(before[at, column]), *learnt[at, :, column].tolist())
        sums[rows, column], learnt[at, :, column] = _followed(
            steps, (rows, column), int(threshold[column]), state, end
        )
    return sums


def _followed(
    steps: Steps, at: tuple[slice, int], threshold: int, state: tuple[int, int, int], end: End
) -> tuple[list[int], tuple[int, int]]:
    """Return the sum after every step of one series and column, and what is learnt, followed one by one."""
    total, usual, clear = state
    cap, started, most = int(_CAP * threshold), int(_STARTED * threshold), int(_MOST_RAISED * _FIXED)
    columns = (steps.added, steps.allowance, steps.known, steps.starts)
    found = []
    for added, allowance, known, starts in zip(*(one[at].tolist() for one in columns), strict=True):
        if known:
            total += added - max(0, min(usual >> 1, most) - allowance)
            if usual:
                clear = max(0, clear + (usual >> 1) - max(0, added + allowance))
                if clear > max(end.rows * (usual >> 1), int(end.likelihood * _FIXED * _FIXED) // usual):
                    total = 0
            if starts and total < started:
                total, usual = started, usual or added + allowance
            if total >= threshold:
                departure = added + allowance
                usual = max(1, usual + ((departure - usual) >> _LEARN_SHIFT) if usual else departure)
                total = min(total, cap)
            elif total <= 0:
                total = usual = clear = 0
        found.append(total)
    return found, (usual, clear)


class CumulativeEvidence:
    """Keep the sums of every series. Not thread-safe.

    Args:
        limits: Allowances and thresholds.
        most: A single row counts at most so many spreads.
        end: What ends an alarm.
    """

    def __init__(self, limits: HasSums, most: float = MOST, end: End = END) -> None:
        self._most, self._end = most, end
        threshold = np.minimum(np.array(limits.threshold), _ROUGH)
        self._used = threshold > 0
        self._threshold = np.where(self._used, threshold, 1.0)
        self._limit = np.rint(np.tile(self._threshold, 2) * _FIXED).astype(np.int64)
        self._allowance, self._unknown = np.array(limits.allowance), np.array(limits.unknown)
        self._sums = SeriesArray((2 * len(threshold),), np.int64, 0)
        self._learnt = SeriesArray((2, 2 * len(threshold)), np.int64, 0)
        self._calm = SeriesArray((len(threshold),), np.int64, 0)
        self._large = _LargeSums(limits)
        self._proof = limits.proof_rows

    def add(
        self,
        slot: NDArray[np.int32],
        departure: NDArray[np.float64],
        is_unknown: NDArray[np.bool_],
        alarm: NDArray[np.bool_],
    ) -> Evidence:
        """Add the departures of the next rows, and return the evidence after each.

        Args:
            slot: The series of each row, int32 [n]; rows are sorted by slot and time.
            departure: In spreads, float64 [n, C], NaN where unknown.
            is_unknown: Which rows are of a series without a baseline of its own, bool [n].
            alarm: Which rows alarm by their score, bool [n].
        """
        num = len(self._threshold)
        if len(slot) == 0:
            return Evidence(np.empty(0), np.empty((0, num)))
        for array in self.arrays():
            array.reserve(int(slot.max()) + 1)
        starts = starts_of(slot)
        present = slot[starts]
        learnt = self._learnt.data[present]
        large = self._large.add(slot, departure, is_unknown)
        steps = self._steps(departure, is_unknown, alarm[:, None] | (large >= 1.0))
        sums = alarm_sums(steps, slot, self._sums.data[present], learnt, self._limit, self._end)
        self._sums.data[present] = sums[starts + lengths_of(starts, len(slot)) - 1]
        self._learnt.data[present] = learnt
        lasting = np.maximum(sums[:, :num], sums[:, num:]) / _FIXED
        relative = np.maximum(np.where(self._used, lasting / self._threshold, 0.0), large)
        held = self._have_held(slot, relative, ~np.isnan(departure))
        relative[~held] = 0.0
        used = self._used | self._large.used
        cumulative = np.where((held & used).any(axis=1), relative.max(axis=1), np.nan)
        return Evidence(cumulative, lasting)

    def _have_held(
        self, slot: NDArray[np.int32], relative: NDArray[np.float64], known: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Return where the reference of a channel has held for long enough, bool [n, C]; known rows count."""
        starts = starts_of(slot)
        series = np.repeat(np.arange(len(starts)), lengths_of(starts, len(slot)))
        before = self._calm.data[slot[starts]]
        total = np.cumsum(known, axis=0)
        total += before[series] - (total[starts] - known[starts])[series]
        # Totals of each series alone: those of later series are higher by more than any total can be.
        shift = series[:, None] * (int(total.max(initial=0)) + 1)
        broken = np.where(relative >= _CALM, total, 0) + shift
        calm = total + shift - np.maximum.accumulate(broken, axis=0)
        held: NDArray[np.bool_] = calm >= self._proof
        held[starts] |= before >= self._proof
        counts = np.cumsum(held, axis=0)
        held = counts > (counts[starts] - held[starts])[series]
        ends = starts + lengths_of(starts, len(slot)) - 1
        self._calm.data[slot[starts]] = np.where(held[ends], self._proof, calm[ends])
        return held

    def num_counting(self, slots: NDArray[np.int32]) -> int:
        """Return how many channels of these series count, all series together."""
        self._calm.reserve(int(slots.max(initial=-1)) + 1)
        return int(np.count_nonzero((self._calm.data[slots] >= self._proof) & self._used))

    def in_alarm(self, slot: int) -> NDArray[np.bool_]:
        """Return in which channels of a series that count a sum is in alarm, bool [C]."""
        num = len(self._threshold)
        for array in (self._learnt, self._calm):
            array.reserve(slot + 1)
        alarm = (self._learnt.data[slot, 0] > 0).reshape(2, num).any(axis=0)
        found: NDArray[np.bool_] = alarm & (self._calm.data[slot] >= self._proof) & self._used
        return found

    def reset(self, slots: NDArray[np.int32]) -> None:
        """Begin again with all sums of these series; channels whose reference has held still count."""
        for array in (self._sums, self._learnt, *self._large.arrays()):
            array.reset(slots)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._sums, self._learnt, self._calm, *self._large.arrays()]

    def _steps(
        self, departure: NDArray[np.float64], is_unknown: NDArray[np.bool_], alarm: NDArray[np.bool_]
    ) -> Steps:
        """Return what each row adds to the sums upwards, then to those downwards; `alarm` is [n, C]."""
        known = np.tile(~np.isnan(departure) & self._used, (1, 2))
        some = np.clip(np.nan_to_num(departure, nan=0.0), -self._most, self._most)
        allowed = self._allowance + np.where(is_unknown[:, None], self._unknown, 0.0)
        allowance = np.tile(allowed, (1, 2))
        added = np.where(known, np.concatenate([some, -some], axis=1) - allowance, 0.0)
        clear = (added >= _CLEAR_BEYOND) & (added + allowance >= _CLEAR)
        starts = np.tile(alarm, (1, 2)) & known & clear
        return Steps(_fixed(added), _fixed(allowance), known, starts)


class _LargeSums:
    """Keep the sums of large departures of every series, of either sign. Not thread-safe.

    There is one for each of `LARGE_DEPARTURES` and channel.

    Args:
        limits: Allowances and thresholds; without thresholds there are no such sums.
    """

    def __init__(self, limits: HasSums) -> None:
        self._num, sizes = len(limits.allowance), len(LARGE_DEPARTURES)
        threshold = np.minimum(np.array(limits.large_threshold or (0.0,) * sizes * self._num), _ROUGH)
        self._used = threshold > 0
        self._threshold = np.where(self._used, threshold, 1.0)
        self._limit = _fixed(self._threshold)
        self._allowance = np.tile(limits.allowance, sizes) + np.repeat(LARGE_DEPARTURES, self._num)
        self._unknown = np.tile(limits.unknown, sizes)
        self._sums = SeriesArray((sizes * self._num,), np.int64, 0)
        self._learnt = SeriesArray((2, sizes * self._num), np.int64, 0)

    @property
    def used(self) -> NDArray[np.bool_]:
        """Which channels have such sums, bool [C]."""
        found: NDArray[np.bool_] = self._used.reshape(-1, self._num).any(axis=0)
        return found

    def add(
        self, slot: NDArray[np.int32], departure: NDArray[np.float64], is_unknown: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the largest sum of each channel after each row in units of its threshold, float64 [n, C].

        A row that adds more than the sum may hold counts as what it adds.
        Arguments are those of `CumulativeEvidence.add`.
        """
        starts = starts_of(slot)
        present = slot[starts]
        for array in self.arrays():
            array.reserve(int(slot.max()) + 1)
        learnt = self._learnt.data[present]
        sizes = len(LARGE_DEPARTURES)
        known = np.tile(~np.isnan(departure), (1, sizes)) & self._used
        allowance = self._allowance + np.where(is_unknown[:, None], self._unknown, 0.0)
        size = np.minimum(np.abs(np.nan_to_num(departure, nan=0.0)), MOST_DEPARTURE)
        added = _fixed(np.where(known, np.tile(size, (1, sizes)) - allowance, 0.0))
        steps = Steps(added, _fixed(allowance), known, np.zeros(known.shape, np.bool_))
        sums = alarm_sums(steps, slot, self._sums.data[present], learnt, self._limit)
        self._sums.data[present] = sums[starts + lengths_of(starts, len(slot)) - 1]
        self._learnt.data[present] = learnt
        relative = np.where(self._used, np.maximum(sums, added) / _FIXED / self._threshold, 0.0)
        largest: NDArray[np.float64] = relative.reshape(len(slot), sizes, self._num).max(axis=1)
        return largest

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [self._sums, self._learnt]


def _fixed(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return values as whole numbers, 65,536 for 1."""
    found: NDArray[np.int64] = np.rint(values * _FIXED).astype(np.int64)
    return found
