"""Learn the slow level of every channel, and how much the means of blocks wander about it.

A block is a quarter of a day. The season is taken out, then what each quarter usually has, and the mean of
the series. What is not judged in its mode is unknown. A machine that runs part of the time has blocks of
fewer rows.
The unit of departures covers both how much single blocks scatter and how much two days together wander. Few
blocks know the latter badly, so they allow more. The threshold follows from the long-run variance of the
blocks, as for a Brownian motion (`detector.calibration.cumulative_threshold`). A fault of some days in the
history must not hide wear: levels are medians, and what is far from them is cut off.

Letters: C channels, B blocks of one series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.budget_shares import SMALL
from detector.artifact.drift import BLOCK_NS, LEAST_BLOCKS, LEAST_SHARE, QUARTERS, Drift
from detector.artifact.spec import Spec
from detector.artifact.sum_limits import SumLimits
from detector.calibration.alarm_budget import rows_per_event
from detector.calibration.cumulative_threshold import diffusion_threshold
from detector.scoring.context.season_level import SeasonLevel
from detector.scoring.preprocessing import scale_rows
from trainer.data.history import History, Segment, by_series

_READ_ROWS = 1 << 16
_LIMIT = 64.0
_LONG = 8
"""Blocks of two days: their means show how much the level wanders."""
_LEAST_UNIT, _WANDER = 0.15, 1.5
_ALLOWANCE, _LEAST_THRESHOLD, _PROOF_BLOCKS = 0.75, 6.0, 4
_SPANS = (1, 4, 16)
_CLIP = 3.0
_FAR, _NORMAL = 3.0, 1.4826
_COMMON, _BEYOND_COMMON = 0.9, 1.2
"""What is in a tenth of the blocks, as week-ends are, is no fault."""


@dataclass(slots=True)
class _Blocks:
    """Hold the blocks of one series in the order of time.

    number  int64 [B]
    mean    float64 [B, C], NaN: unknown
    share   float64 [B, C], share of its rows that are known
    """

    number: NDArray[np.int64]
    mean: NDArray[np.float64]
    share: NDArray[np.float64]


def fit_drift(spec: Spec, history: History) -> Drift | None:
    """Return the slow level of a history, or None where no series has a week of blocks.

    Args:
        spec: The description of the model; its scales, intervals, laws, season and alarm budget are used.
        history: The cleaned rows that the model learns from.
    """
    found = {series: _blocks_of(spec, history, own) for series, own in by_series(history.segments).items()}
    share = _least_share(list(found.values()))
    for blocks in found.values():
        blocks.mean[blocks.share < share] = np.nan
    known = {
        series: blocks
        for series, blocks in found.items()
        if (~np.isnan(blocks.mean)).sum(axis=0).max(initial=0) >= LEAST_BLOCKS
    }
    if not known:
        return None
    levels = {series: _level(blocks.mean) for series, blocks in known.items()}
    away = {series: blocks.mean - levels[series] for series, blocks in known.items()}
    usual = _usual(known, away)
    left = [_without_usual(away[series], usual[blocks.number % QUARTERS]) for series, blocks in known.items()]
    unit = _units(left)
    moves = np.array([channel.law != "constant" for channel in spec.channels])
    moves &= ~np.isnan(list(levels.values())).all(axis=0)
    return Drift(
        tuple(tuple(map(float, one)) for one in usual),
        tuple(map(float, unit)),
        _limits(spec, [one / unit for one in left], moves),
        {
            series: tuple(None if np.isnan(number) else number for number in one.tolist())
            for series, one in levels.items()
        },
        tuple(map(float, share)),
    )


def _limits(spec: Spec, left: list[NDArray[np.float64]], moves: NDArray[np.bool_]) -> SumLimits:
    """Return the limits of the sums.

    Args:
        spec: The description of the model; its alarm budget and interval are used.
        left: What each series is away from its level, in units, float64 [blocks, C] each.
        moves: Which channels have a level that can move, bool [C].
    """
    events = SMALL * BLOCK_NS / spec.interval_ns
    events /= rows_per_event(spec.threshold.alarm_budget, spec.interval_ns) * len(spec.channels)
    variance = _long_run(left)
    threshold = [
        max(_LEAST_THRESHOLD, diffusion_threshold(one, _ALLOWANCE, events)) if used else 0.0
        for one, used in zip(variance.tolist(), moves.tolist(), strict=True)
    ]
    num = len(spec.channels)
    return SumLimits(tuple(threshold), (_ALLOWANCE,) * num, (0.0,) * num, _tails(variance), _PROOF_BLOCKS)


def _least_share(found: list[_Blocks]) -> NDArray[np.float64]:
    """Return the share of its rows that a block of each channel needs: half of what one with rows has."""
    every = np.concatenate([one.share for one in found])
    some = np.where(every > 0, every, np.nan)
    some[:, np.isnan(some).all(axis=0)] = 1.0
    share: NDArray[np.float64] = np.minimum(LEAST_SHARE, LEAST_SHARE * np.nanmedian(some, axis=0))
    return share


def _tails(variance: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    """Return what thresholds for another budget are made from, as `SumTail` of each channel."""
    nothing = (0.0,) * len(variance)
    return nothing, nothing, nothing, (_LEAST_THRESHOLD,) * len(variance), tuple(map(float, variance))


def _blocks_of(spec: Spec, history: History, segments: tuple[Segment, ...] | list[Segment]) -> _Blocks:
    """Return the means of the blocks of one series, without the season."""
    series = segments[0].series
    center, scale = spec.scales_of(series)
    interval_ns = spec.interval_of(series)
    season = SeasonLevel(spec.season, len(spec.channels))
    total: dict[int, NDArray[np.float64]] = {}
    for segment in segments:
        for start in range(segment.position, segment.stop, _READ_ROWS):
            values = scale_rows(
                history.read(start, min(segment.stop, start + _READ_ROWS)), center, scale
            ).astype(np.float64)
            row = segment.row + start - segment.position + np.arange(len(values))
            values -= season.at(row * interval_ns)
            block = row * interval_ns // BLOCK_NS
            first = np.flatnonzero(np.diff(block, prepend=block[0] - 1))
            known = ~np.isnan(values)
            inside = np.clip(np.where(known, values, 0.0), -_LIMIT, _LIMIT)
            sums = np.add.reduceat(inside, first), np.add.reduceat(known.astype(np.float64), first)
            for at, number in enumerate(block[first].tolist()):
                one = np.stack([part[at] for part in sums])
                total[number] = total[number] + one if number in total else one
    numbers = np.array(sorted(total), np.int64)
    both = np.stack([total[number] for number in numbers.tolist()])
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = both[:, 0] / both[:, 1]
    return _Blocks(numbers, mean, np.minimum(1.0, both[:, 1] * interval_ns / BLOCK_NS))


def _within_reach(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return blocks [n, C] cut off where they are rare and beyond three robust deviations."""
    known = ~np.isnan(values).all(axis=0)
    with_zeros = np.where(known, values, 0.0)
    center = np.nanmedian(with_zeros, axis=0) if len(values) else np.zeros(values.shape[1])
    spread, common = (
        np.nanquantile(np.abs(with_zeros - center), share, axis=0) if len(values) else center
        for share in (0.5, _COMMON)
    )
    reach = np.maximum(_LEAST_UNIT, np.maximum(_FAR * _NORMAL * spread, _BEYOND_COMMON * common))
    within: NDArray[np.float64] = np.clip(values, center - reach, center + reach)
    return within


def _robust_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the known values of each channel without those far from the median, float64 [C]."""
    within = _within_reach(values)
    return _mean(np.where(np.abs(values - within) > 0, np.nan, values))


def _level(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the level of each channel, float64 [C]; NaN where too few blocks are known."""
    known = (~np.isnan(blocks)).sum(axis=0)
    level: NDArray[np.float64] = np.where(known >= LEAST_BLOCKS, _robust_mean(blocks), np.nan)
    return level


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the known values of each channel, float64 [C]; 0 where there is none."""
    known = ~np.isnan(values)
    mean: NDArray[np.float64] = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return mean


def _usual(known: dict[str, _Blocks], away: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return what each quarter of the day has beyond the mean of its series, float64 [4, C]."""
    number = np.concatenate([blocks.number for blocks in known.values()]) % QUARTERS
    every = np.concatenate(list(away.values()))
    return np.stack([_robust_mean(every[number == quarter]) for quarter in range(QUARTERS)])


def _without_usual(away: NDArray[np.float64], usual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is left of blocks, enlarged by what their own part in the usual takes away."""
    known = np.maximum((~np.isnan(away)).sum(axis=0), QUARTERS + 1)
    left: NDArray[np.float64] = (away - usual) * np.sqrt(known / (known - QUARTERS))
    return left


def _units(left: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the unit of departures of each channel, float64 [C]."""
    every = _within_reach(np.concatenate(left))
    scatter = np.nan_to_num(np.sqrt(_mean(np.square(every))))
    long = _within_reach(np.concatenate([_means(one, _LONG) for one in left]))
    few = 1.0 + 4.0 * len(left) / max(1, len(long))  # the mean of a series takes a part of the wander away
    wander = _WANDER * few * np.sqrt(_mean(np.square(long)))
    unit: NDArray[np.float64] = np.maximum(_LEAST_UNIT, np.maximum(scatter, wander))
    return unit


def _means(values: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """Return the means of groups of so many blocks, float64 [n, C]; NaN where half of one is unknown."""
    groups = values[: len(values) // rows * rows].reshape(-1, rows, values.shape[1])
    known = (~np.isnan(groups)).sum(axis=1)
    total = np.where(np.isnan(groups), 0.0, groups).sum(axis=1)
    return np.where(2 * known >= rows, total / np.maximum(known, 1), np.nan)


def _long_run(departures: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return an upper estimate of the variance of sums of departures for each block, float64 [C]."""
    largest = np.full(departures[0].shape[1], 0.1)
    for rows in _SPANS:
        means = np.concatenate([_means(np.clip(one, -_CLIP, _CLIP), rows) for one in departures])
        if len(means) >= 2:
            margin = 1.0 + 2.0 * (2.0 / len(means)) ** 0.5
            largest = np.maximum(largest, margin * rows * _mean(np.square(means)))
    return largest
