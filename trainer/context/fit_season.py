"""Fit the season of a history: profiles of level and spread, and how departures from them add up.

Letters: n rows, S slots a day, C channels, F folds.
"""

from __future__ import annotations

from dataclasses import astuple
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detector.artifact.season import DAY_SECONDS, UNSEEN, Calendar, Profile, Season
from detector.artifact.spec import Spec
from detector.artifact.sum_limits import SumLimits
from detector.calibration.cumulative_threshold import of_rows, sum_tail
from detector.rows.series_arrays import lengths_of, starts_of
from detector.scoring.context.profile import WeekClock, interpolated
from detector.scoring.context.season import MOST_DEPARTURE
from trainer.context.seasons import KINDS, Seasons, find_seasons
from trainer.context.slot_means import SlotMeans, rows_of, slot_means
from trainer.data.history import History, by_series
from trainer.fitting.newest_rows import NewestRows
from trainer.fitting.reference import allowances

_SLOT_SECONDS = 900
_MOST_ALLOWANCE = 4.0
_LEAST_SUM = 8.0
_RANGE = -MOST_DEPARTURE, MOST_DEPARTURE
_KEPT_ROWS = 200_000
_LEAST_PROOF, _MOST_PROOF = 24, 1_024
_BLOCK_NS = 60 * 10**9
"""Shorter rows are taken together for the limits: a channel wanders for minutes, whatever its sampling."""


Outcome = Literal["short", "none", "no day", "found", "days"]
"""What came of a season: `no day` and `days` are `none` and `found` of a history too short for weekdays."""


def slot_seconds_of(interval_ns: int) -> int:
    """Return the length of a slot for rows of this length: it divides a day, and holds a row.

    >>> [slot_seconds_of(seconds * 10**9) for seconds in (1, 300, 1000, 3600, 7 * 3600)]
    [900, 900, 1080, 3600, 28800]
    """
    lengths = [DAY_SECONDS // num for num in range(96, 0, -1) if DAY_SECONDS % num == 0]
    return next((one for one in lengths if one >= max(_SLOT_SECONDS, interval_ns / 1e9)), DAY_SECONDS)


def fit_season(spec: Spec, history: History, calendar: Calendar) -> tuple[Season | None, Outcome]:
    """Return the season of a history, None where it is too short or shows none, and which of these it is.

    The thresholds of its sums are not calibrated yet.

    Args:
        spec: The description of the model; its scales are used.
        history: The cleaned rows that the model learns from.
        calendar: The zone whose clock counts, and special days.
    """
    length = slot_seconds_of(max([history.interval_ns, *history.intervals.values()]))
    means = slot_means(spec, history, calendar, length)
    found = find_seasons(means)
    if found is None or (found.kind < 0).all():
        return None, "short" if found is None else "none" if found.has_weeks else "no day"
    residuals = _residuals(spec, history, calendar, length, means, found)
    baseline = np.median(found.offset, axis=0)
    offsets = dict(zip(means.series, found.offset, strict=True)) | means.others
    baselines = {series: _list(offsets[series]) for series in by_series(history.segments)}
    seasonal = found.kind >= 0
    between = np.zeros(len(spec.channels))
    between[seasonal] = np.std(found.offset, axis=0)[seasonal] / np.nanmean(found.spread[:, seasonal], axis=0)
    season = Season(
        calendar=calendar,
        slot_seconds=length,
        profiles=tuple(_profile(found, channel) for channel in range(len(spec.channels))),
        baseline=_list(baseline),
        baselines=baselines,
        sums=_limits(residuals, seasonal, 2.0 * between, spec.interval_ns),
    )
    return season, "found" if found.has_weeks else "days"


def _profile(found: Seasons, channel: int) -> Profile:
    """Return the profile of a channel; curves of several weekdays are kept once."""
    if found.kind[channel] < 0:
        return Profile()
    level = found.level[:, :, channel]
    seen = [weekday for weekday in range(7) if not np.isnan(level[weekday]).any()]
    curves = KINDS[int(found.kind[channel])]
    kept = sorted({curves[weekday] for weekday in seen})
    of = tuple(kept.index(curves[weekday]) if weekday in seen else UNSEEN for weekday in range(7))
    spread = _list(found.spread[:, channel])
    return Profile(
        curve_of=of,
        level=tuple(_list(level[of.index(curve)]) for curve in range(len(kept))),
        spread=(spread,) * len(kept),
        explains=float(found.explains[channel]),
    )


def _residuals(
    spec: Spec, history: History, calendar: Calendar, length: int, means: SlotMeans, found: Seasons
) -> list[NDArray[np.float64]]:
    """Return the newest departures of each series from profiles that did not see their days, [n, C] each.

    They are those of the series that were fitted: means over a minute where rows are shorter. Of each only
    the newest are in memory.
    """
    clock = WeekClock(calendar, length)
    muted = np.full((1, *found.spread.shape), np.nan)
    tables = [np.concatenate([level, muted]) for level in found.without]
    spread = np.repeat(found.spread[None], 8, axis=0)
    fold_of = dict(zip(means.day.tolist(), found.fold.tolist(), strict=True))
    offset = dict(zip(means.series, found.offset, strict=True))
    most = max(_MOST_PROOF, _KEPT_ROWS // len(offset))
    kept = {series: NewestRows(most) for series in offset}
    for series, start_ns, scaled in rows_of(spec, history, offset):
        days = clock.slots(start_ns)[0]
        edges = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
        for first, last in pairwise(edges):
            where = clock.between(start_ns[first:last])
            fold = fold_of.get(int(days[first]), 0)
            expected = interpolated(tables[fold], where) + offset[series]
            part = np.clip((scaled[first:last] - expected) / interpolated(spread, where), *_RANGE)
            if rows_a_block(spec.interval_ns) > 1:
                part = _means(part, start_ns[first:last] // _BLOCK_NS)
            kept[series].add(part)
    return [one.rows() for one in kept.values()]


def rows_a_block(interval_ns: int) -> int:
    """Return how many rows of this length are taken together for the limits of the sums.

    >>> [rows_a_block(seconds * 10**9) for seconds in (1, 10, 45, 60, 600)]
    [60, 6, 1, 1, 1]
    """
    return max(1, _BLOCK_NS // interval_ns)


def _means(departures: NDArray[np.float64], block: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean of each run of rows of one block, float64 [b, C]; NaN where half of it is unknown."""
    groups = starts_of(block)
    known = ~np.isnan(departures)
    total = np.add.reduceat(np.where(known, departures, 0.0), groups)
    count = np.add.reduceat(known, groups, dtype=np.int64)
    enough = 2 * count >= lengths_of(groups, len(block))[:, None]
    return np.where(enough, total / np.maximum(count, 1), np.nan)


def _limits(
    departures: list[NDArray[np.float64]],
    has_season: NDArray[np.bool_],
    unknown: NDArray[np.float64],
    interval_ns: int,
) -> SumLimits:
    """Return allowances and tails; a threshold of 1 stands for one that is calibrated later, 0 for none."""
    allowance = np.where(has_season, allowances([np.where(has_season, one, 0.0) for one in departures]), 1.0)
    rows = rows_a_block(interval_ns)
    tails = [
        of_rows(sum_tail([one[:, channel] for one in departures], allowed, _LEAST_SUM / rows), rows)
        for channel, allowed in enumerate(allowance.tolist())
    ]
    used = has_season & (allowance <= _MOST_ALLOWANCE)
    rows_a_day = int(DAY_SECONDS * 1e9 / interval_ns)
    return SumLimits(
        threshold=_list(used.astype(np.float64)),
        allowance=_list(allowance),
        unknown=_list(np.where(has_season, unknown, 0.0)),
        tails=tuple(zip(*map(astuple, tails), strict=True)),
        proof_rows=min(max(rows_a_day, _LEAST_PROOF), _MOST_PROOF),
    )


def _list(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values.tolist())
