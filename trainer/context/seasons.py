"""Which season the history of each channel has: a profile fitted without some days must explain these days.

Three kinds of profile are tried. One curve for every day; one for working days, one for Saturdays and one for
Sundays; one for each weekday. Levels are medians over days, so that a faulty day moves none.

Letters: N days of all series, S slots a day, C channels, F folds, D curves.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.season import LEAST_DAYS, LEAST_WEEKS
from trainer.context.slot_means import SlotMeans, level_of

KINDS: tuple[tuple[int, ...], ...] = (
    (0, 0, 0, 0, 0, 0, 0),
    (0, 0, 0, 0, 0, 1, 2),
    (0, 1, 2, 3, 4, 5, 6),
)
"""Which curve each weekday has, from the simplest profile to the richest one."""
_MOST_FOLDS = 8
_LEAST_EXPLAINED, _LEAST_MORE, _SURE = 0.1, 0.03, 2.0
_FULL_DAY = 0.5
_CLIP, _FAR = 3.0, 8.0
_FEW_DAYS, _MOST_SQUARES = 4.0, 16.0
LEAST_SPREAD = 0.05


@dataclass(frozen=True, slots=True)
class Seasons:
    """Hold the seasons of all channels, and what they leave of days that they did not see.

    Attributes:
        kind: int64 [C], a place in `KINDS`, -1 where a channel has no season.
        explains: float64 [C], share of the variation of left-out days that the profile explains.
        level: float64 [7, S, C], by weekday; NaN without season, and on weekdays that the history lacks.
        without: float64 [F, 7, S, C], the same without the days of each fold.
        spread: float64 [S, C], of rows around the level; NaN without season.
        fold: int64 [N], of each day.
        offset: float64 [series, C], the level of each series.
        has_weeks: Whether the history is long enough for curves of weekdays.
    """

    kind: NDArray[np.int64]
    explains: NDArray[np.float64]
    level: NDArray[np.float64]
    without: NDArray[np.float64]
    spread: NDArray[np.float64]
    fold: NDArray[np.int64]
    offset: NDArray[np.float64]
    has_weeks: bool


def num_full_days(means: SlotMeans) -> int:
    """Return how many different days have values in half of their slots or more."""
    known = (~np.isnan(means.mean)).any(axis=2).mean(axis=1) >= _FULL_DAY
    return len(np.unique(means.day[known]))


def find_seasons(means: SlotMeans) -> Seasons | None:
    """Return the seasons that the history shows; None where it is too short for any."""
    if num_full_days(means) < LEAST_DAYS:
        return None
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # slots without any value
        return _found(means)


def _found(means: SlotMeans) -> Seasons:
    fold = _folds(means.day)
    offset = _offsets(means)
    values = means.mean - offset[means.number][:, None, :]
    plain = values - np.nan_to_num(np.nanmedian(values, axis=(0, 1)))
    scale = np.maximum(
        1.4826 * np.nanmedian(np.abs(plain), axis=(0, 1)),
        0.5 * np.nanstd(np.clip(plain, -_FAR, _FAR), axis=(0, 1)),
    )
    scale = np.maximum(np.nan_to_num(scale), 1e-6)
    has_weeks = _enough_weeks(means)
    kinds = [at for at in range(len(KINDS)) if at == 0 or has_weeks]
    num_channels = values.shape[2]
    kind, explains = np.full(num_channels, -1), np.zeros(num_channels)
    without = np.full((fold.max() + 1, 7, *values.shape[1:]), np.nan)
    for at in kinds:
        curves = np.stack([_levels(values, means, fold != one, at) for one in range(fold.max() + 1)])
        left = values - curves[fold, means.weekday]
        share, is_sure = _strength(plain / scale, left / scale, means.day)
        better = is_sure & (share >= np.maximum(explains + _LEAST_MORE * (kind >= 0), _LEAST_EXPLAINED))
        kind[better], explains[better] = at, share[better]
        without[..., better] = curves[..., better]
    level = np.full((7, *values.shape[1:]), np.nan)
    for at in kinds:
        level[..., kind == at] = _levels(values, means, np.ones(len(fold), np.bool_), at)[..., kind == at]
    level[[weekday for weekday in range(7) if not (means.weekday == weekday).any()]] = np.nan
    spread = _spreads(values - without[fold, means.weekday], means.variance)
    spread[:, kind < 0] = np.nan
    return Seasons(kind, explains, level, without, spread, fold, offset, has_weeks)


def _folds(day: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the fold of each day, int64 [N]: contiguous weeks where there are three, else days."""
    weeks = (day + 3) // 7
    unit = weeks if len(np.unique(weeks)) > LEAST_WEEKS else day
    found, place = np.unique(unit, return_inverse=True)
    folds: NDArray[np.int64] = place * min(len(found), _MOST_FOLDS) // len(found)
    return folds


def _enough_weeks(means: SlotMeans) -> bool:
    """Return whether every weekday occurs on three days or more."""
    counts = [len(np.unique(means.day[means.weekday == weekday])) for weekday in range(7)]
    return min(counts) >= LEAST_WEEKS


def _offsets(means: SlotMeans) -> NDArray[np.float64]:
    """Return the level of each series, float64 [series, C]: its median over all slots."""
    return np.stack([level_of(means.mean[means.number == one]) for one in range(len(means.series))])


def _levels(
    values: NDArray[np.float64], means: SlotMeans, chosen: NDArray[np.bool_], kind: int
) -> NDArray[np.float64]:
    """Return the level of these days by weekday, float64 [7, S, C]; NaN where its curve has no day."""
    level = np.full((7, *values.shape[1:]), np.nan)
    for curve in range(max(KINDS[kind]) + 1):
        days = [weekday for weekday in range(7) if KINDS[kind][weekday] == curve]
        mine = chosen & np.isin(means.weekday, days)
        if mine.any():
            level[days] = _filled(np.nanmedian(values[mine], axis=0).astype(np.float64))
    return level


def _filled(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a curve [S, C] in which slots without a value have what lies between their neighbours."""
    at = np.arange(len(curve))
    for channel in range(curve.shape[1]):
        known = np.flatnonzero(~np.isnan(curve[:, channel]))
        if 0 < len(known) < len(curve):
            curve[:, channel] = np.interp(at, known, curve[known, channel], period=len(curve))
    return curve


def _strength(
    plain: NDArray[np.float64], left: NDArray[np.float64], day: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return which share of left-out days a profile explains, float64 [C], and whether that is sure.

    Args:
        plain: Slots less their median, in spreads, float64 [N, S, C].
        left: Slots less the profile that did not see them, likewise.
        day: The day of each, int64 [N]; series of one day count as one.
    """
    known = ~np.isnan(plain) & ~np.isnan(left)
    before, after = (np.where(known, np.square(np.clip(one, -_CLIP, _CLIP)), 0.0) for one in (plain, left))
    total = before.sum(axis=(0, 1))
    share = 1.0 - after.sum(axis=(0, 1)) / np.maximum(total, 1e-12)
    gain = (before - after).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    days, place = np.unique(day, return_inverse=True)
    by_day = np.stack([np.bincount(place, one, len(days)) for one in gain.T], axis=1)
    error = by_day.std(axis=0, ddof=1) / np.sqrt(len(days))
    is_sure: NDArray[np.bool_] = (by_day.mean(axis=0) > _SURE * error) & (total > 0)
    return share, is_sure


def _spreads(left: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the usual size of what a row differs from its level, float64 [S, C].

    Few days know it badly, so the spread of all slots counts as much as four days. Slots in which a level
    jumps count little in it.

    Args:
        left: Slots less the profile that did not see them, float64 [N, S, C].
        variance: Of the rows of each slot, likewise.
    """
    size = np.abs(left)
    between = np.maximum(1.4826 * np.nanmedian(size, axis=0), np.nanquantile(size, 0.9, axis=0) / 1.645)
    square = np.nan_to_num(np.square(between)) + np.nan_to_num(np.nanmedian(variance, axis=0))
    num = (~np.isnan(left)).sum(axis=0)
    usual = np.minimum(square, _MOST_SQUARES * np.median(square, axis=0)).mean(axis=0)
    square = (num * square + _FEW_DAYS * usual) / (num + _FEW_DAYS)
    smooth = 0.25 * np.roll(square, 1, axis=0) + 0.5 * square + 0.25 * np.roll(square, -1, axis=0)
    spread: NDArray[np.float64] = np.maximum(np.sqrt(np.maximum(smooth, square)), LEAST_SPREAD)
    return spread
