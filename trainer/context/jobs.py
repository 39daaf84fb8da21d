"""Find short events that recur at a fixed time of the week, such as a job of ten minutes on Wednesdays.

An event shows in the range of a channel in three slots of a day, from the lowest to the highest value. It
recurs where the range there is far wider than before and after it, on nearly all days. These are days of one
weekday, or all days of a history below four weeks.

Letters: N days, S slots a day, C channels.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detector.artifact.budget_shares import SMALL
from detector.artifact.season import DAY_SECONDS, Calendar, Job
from detector.artifact.spec import Spec
from detector.calibration.alarm_budget import rows_per_event
from detector.calibration.few_sizes import lowest_expected
from detector.rows.series_arrays import lengths_of, starts_of
from detector.scoring.context.profile import WeekClock
from trainer.context.slot_means import rows_of
from trainer.data.history import History, by_series

_KEPT_DAYS = 70
_LEAST_DAYS, _MISSED_OF = 4, 10
"""An event needs four days; of ten or more, it may be missing on one."""
_WIDER, _USUAL = 2.5, 0.95
_FULL = 0.9
_AROUND = (-5, -4, -3, 3, 4, 5)
"""Slots whose ranges show what is usual around an event; they share no row with it."""
_APART = 4
_WEEK_NS = 7 * DAY_SECONDS * 10**9
_MOST_CHANCE = 0.05
"""That a job which came is not seen; a budget may allow more."""


@dataclass(frozen=True, slots=True)
class _Found:
    """Hold an event that recurs.

    wider  how many times its smallest range is the usual one
    usual  range of its channel before and after it
    sizes  its ranges, float64 [n]
    job    what is watched
    """

    wider: float
    usual: float
    sizes: NDArray[np.float64]
    job: Job


def find_jobs(spec: Spec, history: History, calendar: Calendar, slot_seconds: int) -> tuple[Job, ...]:
    """Return the short events that recur in each series, by series and time; none share rows.

    Args:
        spec: The description of the model; its scales are used.
        history: The cleaned rows that the model learns from.
        calendar: The zone whose clock counts, and special days.
        slot_seconds: Length of a slot.
    """
    clock, jobs = WeekClock(calendar, slot_seconds), list[Job]()
    for series in by_series(history.segments):
        found = list[_Found]()
        days, width = _widths(spec, history, clock, series, slot_seconds)
        weekday = clock.weekdays(days)
        groups = [np.flatnonzero(weekday == one) for one in range(7)]
        if not any(len(one) >= _LEAST_DAYS for one in groups):
            groups = [np.flatnonzero(weekday >= 0)] * 7
        for number, chosen in enumerate(groups):
            if len(chosen) >= _LEAST_DAYS:
                found += _jobs_of(series, number, width[chosen])
        jobs += _within_budget(found, spec)
    return tuple(jobs)


def _within_budget(found: list[_Found], spec: Spec) -> list[Job]:
    """Return the jobs of a series with limits that keep all of them to their share of the alarm budget.

    A job whose size varies so much that its absence would be no surprise is left out.

    Args:
        found: With limits by their smallest size.
        spec: Its alarm budget counts.
    """
    a_week = _WEEK_NS / spec.interval_ns / rows_per_event(spec.threshold.alarm_budget, spec.interval_ns)
    chance = min(SMALL * a_week / max(len(found), 1), _MOST_CHANCE)
    kept = []
    for one in found:
        limit = min(one.job.limit, lowest_expected(one.sizes, chance))
        if limit >= one.usual:
            kept.append(replace(one.job, limit=limit))
    return kept


def _widths(
    spec: Spec, history: History, clock: WeekClock, series: str, slot_seconds: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the newest days, int64 [N], and the range of the three slots around each, float32 [N, S, C].

    It is NaN where values are missing, and at both ends of a day.
    """
    slots, rows_a_slot = DAY_SECONDS // slot_seconds, slot_seconds * 1e9 / spec.interval_of(series)
    low: dict[int, NDArray[np.float32]] = {}
    high: dict[int, NDArray[np.float32]] = {}
    num: dict[int, NDArray[np.int64]] = {}
    shape = (slots, len(spec.channels))
    for _, start_ns, scaled in rows_of(spec, history, (series,)):
        day, at = clock.slots(start_ns)
        groups = starts_of(day, at)
        known = ~np.isnan(scaled)
        parts = zip(
            day[groups].tolist(),
            at[groups].tolist(),
            np.fmin.reduceat(scaled, groups),
            np.fmax.reduceat(scaled, groups),
            np.add.reduceat(known, groups, dtype=np.int64),
            strict=True,
        )
        for one, slot, lowest, highest, count in parts:
            if one not in low:
                low[one], high[one] = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
                num[one] = np.zeros(shape, np.int64)
            low[one][slot] = np.fmin(low[one][slot], lowest)
            high[one][slot] = np.fmax(high[one][slot], highest)
            num[one][slot] += count
        for one in sorted(low)[:-_KEPT_DAYS]:
            del low[one], high[one], num[one]
    days = sorted(low)
    width = np.full((len(days), *shape), np.nan, np.float32)
    for place, one in enumerate(days):
        width[place, 1:-1] = _three(high[one], np.fmax) - _three(low[one], np.fmin)
        few = _three(num[one], np.add) < 3 * _FULL * rows_a_slot
        width[place, 1:-1][few] = np.nan
    return np.array(days, np.int64), width


def _three(values: NDArray[np.generic], join: np.ufunc) -> NDArray[np.float32]:
    """Return what each slot [S, C] has together with its two neighbours, [S - 2, C]."""
    joined: NDArray[np.float32] = join(join(values[:-2], values[1:-1]), values[2:])
    return joined


def _jobs_of(series: str, weekday: int, width: NDArray[np.float32]) -> list[_Found]:
    """Return the events of one weekday by time, from the ranges of its days, float32 [N, S, C]."""
    num, slots, _ = width.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # slots without values
        around = np.stack([np.roll(width, -by, axis=1) for by in _AROUND])
        usual = np.nanquantile(around, _USUAL, axis=(0, 1))
    first = 1 if num >= _MISSED_OF else 0
    ordered = np.sort(width, axis=0)[first:].astype(np.float64)
    smallest = ordered[0].copy()
    smallest[np.isnan(width).sum(axis=0) > num - _LEAST_DAYS] = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        wider = np.nan_to_num(smallest / usual, nan=0.0, posinf=0.0)
    wider[:1], wider[slots - 3 :] = 0.0, 0.0
    found = [
        _Found(
            wider=wider[slot, channel],
            usual=float(usual[slot, channel]),
            sizes=ordered[~np.isnan(ordered[:, slot, channel]), slot, channel],
            job=Job(series, weekday, slot, channel, limit),
        )
        for first, last, channel in _runs(wider >= _WIDER)
        for slot in [first + int(wider[first : last + 1, channel].argmax())]
        for limit in [float(np.sqrt(smallest[slot, channel] * usual[slot, channel]))]
    ]
    kept: list[_Found] = []
    for one in sorted(found, key=lambda one: -one.wider):
        if all(abs(one.job.slot - other.job.slot) >= _APART for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda one: one.job.slot)


def _runs(found: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Return the first and last slot and the channel of each run of true values of a table [S, C]."""
    runs = []
    for channel in range(found.shape[1]):
        starts = starts_of(found[:, channel])
        lengths = lengths_of(starts, len(found))
        runs += [
            (first, first + length - 1, channel)
            for first, length in zip(starts.tolist(), lengths.tolist(), strict=True)
            if found[first, channel]
        ]
    return runs
