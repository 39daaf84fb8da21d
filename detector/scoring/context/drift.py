"""Slow drift: the means of blocks of a quarter of a day against the level of the history.

Adaptation and windows follow what is slow. This level is frozen. The season is left out, and so are rows in
a mode that does not judge a channel. The mean of a block departs from the mean of its series and from
what its quarter of the day usually has. A series that the model does not know learns a level of its own.
Departures add up over blocks as small departures do over rows (`detector.scoring.lasting.paged_sums`). A
block speaks from its end to the end of the next one.

All sums are whole numbers, so they do not depend on how the rows are cut into calls.

Letters: n rows, C channels, g groups of rows (of one series and block), m blocks that ended, k series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detector.artifact.budget_shares import budget_shares, limit_of
from detector.artifact.drift import BLOCK_NS, LEAST_BLOCKS, LEAST_SHARE, QUARTERS, Drift
from detector.artifact.season import Calendar
from detector.artifact.spec import PageLimit, Spec
from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of
from detector.scoring.context.own_levels import OwnLevels
from detector.scoring.context.season_level import SeasonLevel
from detector.scoring.context.spoken import ScaledRows, Spoken
from detector.scoring.context.trend_points import Lines, Trends
from detector.scoring.kinds import Kind
from detector.scoring.lasting.cumulative import End
from detector.scoring.lasting.paged_sums import PagedSums
from detector.scoring.series_scales import SeriesScales

_FIXED = float(1 << 20)
_END = End(2, 5.0)
"""Blocks hardly depend on each other, and an alarm must not outlast a repair by days."""
_LIMIT = 64.0
_LEAST_VARIANCE = 0.1
_NO_BLOCK = -(1 << 62)
_UNKNOWN = 0
_RELEARNT_BLOCKS = 8
"""After an acceptance so many blocks show what is usual now."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """Hold blocks that ended, sorted by series and time.

    slot   int32 [m]
    block  int64 [m], number of the block
    group  int64 [m], the group of rows that begins with what the block says
    sums   int64 [m, C]
    counts int64 [m, C]
    """

    slot: NDArray[np.int32]
    block: NDArray[np.int64]
    group: NDArray[np.int64]
    sums: NDArray[np.int64]
    counts: NDArray[np.int64]


class _OpenBlocks:
    """Keep the block that has begun of every series. Not thread-safe.

    Args:
        num_channels: C.
    """

    def __init__(self, num_channels: int) -> None:
        self._block = SeriesArray((), np.int64, _NO_BLOCK)
        self._total, self._count = (SeriesArray((num_channels,), np.int64, 0) for _ in range(2))

    def arrays(self) -> tuple[SeriesArray, ...]:
        """Return every array over series that this object keeps."""
        return self._block, self._total, self._count

    def follow(
        self,
        slot: NDArray[np.int32],
        block: NDArray[np.int64],
        sums: NDArray[np.int64],
        counts: NDArray[np.int64],
    ) -> _Ended:
        """Add groups of rows, [g] or [g, C] each, to the blocks that have begun; return those that ended."""
        first = starts_of(slot)
        present = slot[first]
        kept = self._block.data[present]
        on = np.flatnonzero(kept == block[first])
        sums[first[on]] += self._total.data[present[on]]
        counts[first[on]] += self._count.data[present[on]]
        over = np.flatnonzero((kept != block[first]) & (kept != _NO_BLOCK))
        goes_on = np.ones(len(slot), np.bool_)
        last = first + lengths_of(first, len(slot)) - 1
        goes_on[last] = False
        inside = np.flatnonzero(goes_on)
        group = np.concatenate([first[over], inside + 1])
        order = np.argsort(group, kind="stable")
        parts = (
            (present[over], slot[inside]),
            (kept[over], block[inside]),
            (self._total.data[present[over]], sums[inside]),
            (self._count.data[present[over]], counts[inside]),
        )
        of_slot, of_block, of_sums, of_counts = (np.concatenate(part)[order] for part in parts)
        self._block.data[present], self._total.data[present] = block[last], sums[last]
        self._count.data[present] = counts[last]
        return _Ended(of_slot, of_block, group[order], of_sums, of_counts)


class DriftEvidence:
    """Keep the slow drift of every series. Not thread-safe.

    Args:
        drift: What the training learnt.
        spec: The model; its intervals, season and page limit are used.
        scales: The scales of each series; default: those of the model.
    """

    def __init__(self, drift: Drift, spec: Spec, scales: SeriesScales | None = None) -> None:
        num = len(drift.unit)
        self._usual, self._unit = np.array(drift.usual), np.array(drift.unit)
        self._threshold = np.array(drift.limits.threshold)
        self._used = self._threshold > 0
        self._threshold[~self._used] = 1.0
        self._levels = np.array([(0.0,) * num, *drift.levels.values()], np.float64)
        self._numbers = {series: number for number, series in enumerate(drift.levels, 1)}
        least = [spec.interval_ns, *(spec.interval_of(series) for series in drift.levels)]
        share = np.array(drift.share or (LEAST_SHARE,) * num)
        self._least = np.maximum(1.0, share * BLOCK_NS / np.array(least, np.float64)[:, None])
        self._season = SeasonLevel(spec.season, num)
        variance = np.maximum(np.array((drift.limits.tails or ((1.0,) * num,))[-1]), _LEAST_VARIANCE)
        unknown = tuple(map(float, 2.0 * np.sqrt(variance / LEAST_BLOCKS)))  # a week knows a level so badly
        self._own = OwnLevels(num)
        self._sums = PagedSums(replace(drift.limits, unknown=unknown), _block_limit(spec), end=_END)
        self._number = SeriesArray((), np.int32, _UNKNOWN)
        self._open = _OpenBlocks(num)
        self._said = SeriesArray((), np.float64, np.nan)
        self._paged = SeriesArray((), np.bool_, False)
        self._departed = SeriesArray((num,), np.float64, np.nan)
        self._left = SeriesArray((), np.int64, 0)
        self._moved = SeriesArray((num,), np.float64, 0.0)
        self._trends = Trends(scales or SeriesScales(spec), variance * self._used, self._baseline)

    def name(self, slots: NDArray[np.int32], names: Sequence[str]) -> None:
        """Look up the levels of new series, by their numbers, int32 [n], and names."""
        if len(slots):
            self._reserve(slots)
            self._number.data[slots] = [self._numbers.get(name, _UNKNOWN) for name in names]

    def add(self, rows: ScaledRows) -> Spoken:
        """Add the next final rows, and return what drift finds in them."""
        slot = rows.slot
        if len(slot) == 0:
            return Spoken(Kind.DRIFT, np.empty(0), np.zeros(0, np.bool_))
        self._reserve(slot)
        block = rows.start_ns // BLOCK_NS
        groups = starts_of(slot, block)
        whose, of_block, lengths = slot[groups], block[groups], lengths_of(groups, len(slot))
        season = self._season.at(rows.start_ns)
        values = rows.scaled - season
        learns = self._number.data[whose] == _UNKNOWN
        if learns.any():
            values[rows.alarm & np.repeat(learns, lengths)] = np.nan
        ended = self._open.follow(whose, of_block, *_totals(values, groups, lengths))
        said, paged, departed, lines = self._judged(whose, ended)
        of_rows = np.repeat(said, lengths), np.repeat(paged, lengths)
        spoken = Spoken(Kind.DRIFT, *of_rows, lines=np.repeat(lines, lengths))
        if not (paged | (said > 1.0)).any():
            return spoken  # nobody asks what nothing speaks of
        level = self._levels[self._number.data[whose]] + self._usual[of_block % QUARTERS]
        moved = (self._moved.data[whose] + self._own.level(whose)) * self._unit
        expected = season + np.repeat(level, lengths, axis=0) + np.repeat(moved, lengths, axis=0)
        blame = np.repeat(np.square(np.nan_to_num(departed, nan=0.0)) * self._used, lengths, axis=0)
        return replace(spoken, blame=blame, expected=expected)

    def use_calendar(self, calendar: Calendar) -> None:
        """Follow another calendar from the next row on."""
        self._season.use_calendar(calendar)

    def accept(self, slot: int) -> None:
        """Learn the level of a series again from its next blocks: it was accepted."""
        one = np.array([slot], np.int32)
        self._reserve(one)
        self._sums.reset(one)
        for array in (*self._open.arrays(), self._said, self._paged, self._departed):
            array.reset(one)
        self._moved.reset(one)
        self._trends.reset(one)
        self._left.data[slot] = _RELEARNT_BLOCKS

    def stand(self, slots: NDArray[np.int32], within_fault: NDArray[np.bool_]) -> None:
        """Say of these series whether small departures hold a fault, bool [len(slots)]."""
        self._sums.stand(slots, within_fault)

    def restart(self, slots: NDArray[np.int32]) -> None:
        """Continue these series with other row numbers; the block that has begun is left out."""
        self._sums.restart(slots)
        self._trends.reset(slots)
        for array in self._open.arrays():
            array.reset(slots)

    def use_other_reference(self, slots: NDArray[np.int32]) -> None:
        """Continue these series against another level: what was learnt against the old one is forgotten."""
        self.restart(slots)
        told = (self._said, self._paged, self._departed, self._left, self._moved)
        for array in (*told, *self._own.arrays()):
            array.reset(slots)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._number.reset(slots)
        self._sums.drop(slots)
        self._trends.reset(slots)
        for array in self._kept():
            array.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [*self._kept(), *self._sums.arrays()]

    def _kept(self) -> tuple[SeriesArray, ...]:
        told = (self._said, self._paged, self._departed, self._left, self._moved)
        return *self._open.arrays(), *told, *self._trends.arrays(), *self._own.arrays()

    def _judged(
        self, slot: NDArray[np.int32], ended: _Ended
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64], NDArray[np.object_]]:
        """Return evidence [g], whether it counts [g], blame [g, C] and lines [g] of groups of rows.

        To blame is what has added up, more where a channel still departs: after a repair none does.
        """
        said, paged = self._said.data[slot], self._paged.data[slot]
        departed = self._departed.data[slot]
        lines = _boxed(
            [
                self._trends.of(one) if pages else None
                for one, pages in zip(slot.tolist(), paged.tolist(), strict=True)
            ]
        )
        if len(ended.slot) == 0:
            return said, paged, departed, lines
        departure = self._departures(ended)
        nothing = np.zeros(len(ended.slot), np.bool_)
        is_unknown = self._number.data[ended.slot] == _UNKNOWN
        added = self._sums.add(ended.slot, ended.block, departure, is_unknown, nothing)
        newest = np.full(len(slot), -1)
        newest[ended.group] = np.arange(len(ended.group))
        newest = np.maximum.accumulate(newest)
        mine = (newest >= 0) & (ended.slot[newest] == slot)
        at = newest[mine]
        away = added.lasting / self._threshold * np.hypot(1.0, np.nan_to_num(departure, nan=0.0))
        said[mine], paged[mine], departed[mine] = added.cumulative[at], added.paged[at], away[at]
        lines[mine] = _boxed(self._trends.add(ended.slot, ended.block, departure, added.paged))[at]
        last = starts_of(ended.slot) + lengths_of(starts_of(ended.slot), len(ended.slot)) - 1
        whose = ended.slot[last]
        self._said.data[whose], self._paged.data[whose] = added.cumulative[last], added.paged[last]
        self._departed.data[whose] = away[last]
        return said, paged, departed, lines

    def _baseline(self, slot: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the level of a series over the week, and its unit, float64 [C] each."""
        level = self._levels[self._number.data[slot]] + self._usual.mean(axis=0) + self._season.mean
        spread = self._own.spread(slot)
        moved = self._moved.data[slot] * spread + self._own.level(np.array([slot], np.int32))[0]
        return level + moved * self._unit, self._unit * spread

    def _departures(self, ended: _Ended) -> NDArray[np.float64]:
        """Return how far the blocks depart, in units, float64 [m, C]; NaN where unknown."""
        number = self._number.data[ended.slot]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = ended.sums / (ended.counts * _FIXED)
        departure: NDArray[np.float64] = mean - self._levels[number] - self._usual[ended.block % QUARTERS]
        departure = departure / self._unit
        few = ended.counts < self._least[number]
        departure[few] = np.nan
        for at in np.flatnonzero(number == _UNKNOWN).tolist():
            self._own.take(int(ended.slot[at]), departure[at])
        for at in np.flatnonzero(self._left.data[ended.slot] > 0).tolist():
            self._learn(int(ended.slot[at]), departure[at])
        moved: NDArray[np.float64] = departure - self._moved.data[ended.slot]
        return moved

    def _learn(self, slot: int, departure: NDArray[np.float64]) -> None:
        """Learn the usual departure of a series from one block after its level was accepted."""
        if np.isnan(departure).all() or self._left.data[slot] == 0:
            return
        seen = _RELEARNT_BLOCKS - int(self._left.data[slot])
        moved = self._moved.data[slot]
        self._moved.data[slot] += np.where(np.isnan(departure), 0.0, departure - moved) / (seen + 1)
        self._left.data[slot] -= 1
        departure[:] = np.nan

    def _reserve(self, slots: NDArray[np.int32]) -> None:
        for array in (self._number, *self._kept()):
            array.reserve(int(slots.max(initial=-1)) + 1)


def _totals(
    scaled: NDArray[np.float64], groups: NDArray[np.intp], lengths: NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return sums, in millionths, and numbers of the known values of each group, int64 [g, C] each.

    The sums are exact: a whole number of this size has an exact float64. `scaled` is overwritten.
    """
    np.clip(scaled, -_LIMIT, _LIMIT, out=scaled)
    scaled *= _FIXED
    np.rint(scaled, out=scaled)
    sums = np.add.reduceat(scaled, groups)
    if not np.isnan(sums).any():
        counts = np.repeat(lengths[:, None], scaled.shape[1], axis=1)
        return sums.astype(np.int64), counts.astype(np.int64)
    known = ~np.isnan(scaled)
    scaled[~known] = 0.0
    sums, counts = np.add.reduceat(scaled, groups), np.add.reduceat(known, groups, dtype=np.int64)
    return sums.astype(np.int64), counts


def _boxed(lines: list[Lines | None]) -> NDArray[np.object_]:
    """Return lines as an array of objects, [m]: no array of their numbers."""
    found = np.empty(len(lines), np.object_)
    for at, one in enumerate(lines):
        found[at] = one
    return found


def _block_limit(spec: Spec) -> PageLimit | None:
    """Return the page limit of blocks instead of rows, for the share of the budget that drift has."""
    limit = limit_of(spec.threshold.limit, budget_shares(spec).drift)
    if limit is None:
        return None
    return replace(limit, alarms_a_row=limit.alarms_a_row * BLOCK_NS / spec.interval_ns)
