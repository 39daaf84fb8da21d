"""Learn how far the series of a history are from each other at the same time.

The history is cut into blocks of time. A level is the mean of a block, less the median of its series. A
residual is a level less what the levels of the other channels say, by ridge regression (Hoerl and Kennard,
1970). Both are compared with the median of the other series in the same block, so weather that all share is
gone. The unit of a distance is the median of the differences. The limit lies well above the largest distance
that lasted in the history. One series does not count there, which may have had a fault.

Letters: B blocks, S series, C channels, F features (2 C).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.artifact.peers.peers import LEAST_BLOCKS, LEAST_OTHERS, RUN, Peers
from detector.artifact.spec import Spec
from detector.peers.blocks import Block, Blocks
from detector.peers.crowd import least_rows
from detector.peers.distance import NORMAL, differences, distances, features, lasting
from trainer.data.history import History, Segment, by_series

_LENGTHS = tuple(round(minutes * 60e9) for minutes in (360, 180, 60, 30, 10, 5, 1))
"""Lengths of a block in nanoseconds; the longest is used of which the history has enough."""
_LEAST_ROWS, _ENOUGH_BLOCKS, _MOST_BLOCKS = 16, 2 * LEAST_BLOCKS, 400
_READ_ROWS = 1 << 16
_LEAST_SHARE, _LEAST_UNIT = 0.5, 0.05
_LEAST_LIMIT, _MARGIN = 3.5, 1.5
_RIDGE, _LEAST_WEIGHT = 0.05, 0.02


def fit_peers(spec: Spec, history: History) -> Peers | None:
    """Return how far the series of a history are from each other; None where there is too little of it.

    Args:
        spec: The model; its scales, intervals and laws are used.
        history: The cleaned rows that the model learnt from, without what is not judged.
    """
    segments = by_series(history.segments)
    block_ns = _block_ns(spec, segments) if len(segments) > LEAST_OTHERS else None
    if block_ns is None:
        return None
    names, numbers = _used(spec, segments, block_ns)
    if len(names) <= LEAST_OTHERS or len(numbers) < LEAST_BLOCKS:
        return None
    blocks = Blocks(block_ns, len(spec.channels))
    for name in names:
        _add(blocks, spec, history, name, _from_block(segments[name], int(numbers[0]), block_ns, spec))
    blocks.finish()
    rows = np.array([block_ns / spec.interval_of(name) for name in names])
    level, share = _levels(blocks.ended, names, numbers, rows)
    moves = np.array([channel.law != "constant" for channel in spec.channels])
    found = _fitted(level, moves)
    if found is None:
        return None
    weights, limits, levels, units = found
    return Peers(
        block_ns,
        tuple(share.tolist()),
        tuple(map(tuple, weights.tolist())),
        tuple(limits.tolist()),
        dict(zip(names, map(tuple, levels.tolist()), strict=True)),
        dict(zip(names, map(tuple, units.tolist()), strict=True)),
    )


def _block_ns(spec: Spec, segments: dict[str, list[Segment]]) -> int | None:
    """Return the length of a block in nanoseconds; None where the history is too short for any."""
    slowest = max(spec.interval_of(series) for series in segments)
    span = max(
        (own[-1].row + own[-1].length - own[0].row) * spec.interval_of(series)
        for series, own in segments.items()
    )
    possible = [one for one in _LENGTHS if one >= _LEAST_ROWS * slowest and one * LEAST_BLOCKS <= span]
    enough = [one for one in possible if one * _ENOUGH_BLOCKS <= span]
    return next(iter(enough or possible[-1:]), None)


def _used(
    spec: Spec, segments: dict[str, list[Segment]], block_ns: int
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the series with enough blocks, and the numbers of their newest blocks, int64, ascending."""
    names, newest = [], np.empty(0, np.int64)
    for series, own in segments.items():
        interval_ns = spec.interval_of(series)
        ranges = [
            np.arange(
                one.row * interval_ns // block_ns, (one.row + one.length - 1) * interval_ns // block_ns + 1
            )
            for one in own
        ]
        numbers = np.unique(np.concatenate(ranges))
        if len(numbers) >= LEAST_BLOCKS:
            names.append(series)
            newest = np.unique(np.concatenate([newest, numbers[-_MOST_BLOCKS:]]))[-_MOST_BLOCKS:]
    return names, newest


def _from_block(own: list[Segment], number: int, block_ns: int, spec: Spec) -> list[Segment]:
    """Return the parts of segments of one series from the start of a block on."""
    first = [-(-number * block_ns // spec.interval_of(one.series)) for one in own]
    parts = [one.cut(one.position + row - one.row, one.stop) for one, row in zip(own, first, strict=True)]
    return [one for one in parts if one is not None]


def _add(blocks: Blocks, spec: Spec, history: History, series: str, own: list[Segment]) -> None:
    """Add the rows of one series."""
    center, scale = spec.scales_of(series)
    for segment in own:
        for start in range(segment.position, segment.stop, _READ_ROWS):
            values = history.read(start, min(segment.stop, start + _READ_ROWS))
            row = segment.row + start - segment.position + np.arange(len(values))
            scaled = (values - center) / scale
            nothing = np.zeros(len(row), np.int32)
            blocks.add([series], nothing, row * spec.interval_of(series), scaled)


def _levels(
    ended: dict[str, dict[int, Block]],
    names: list[str],
    numbers: NDArray[np.int64],
    rows: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of each block, float64 [B, S, C], and the share of its rows that it needs, float64 [C].

    A machine that runs part of the time has blocks of fewer rows: half of what one with rows usually has.
    """
    num_channels = len(next(iter(next(iter(ended.values())).values())).mean)
    level = np.full((len(numbers), len(names), num_channels), np.nan)
    num = np.zeros(level.shape)
    at_of = {number: at for at, number in enumerate(numbers.tolist())}
    for place, name in enumerate(names):
        for number, block in ended.get(name, {}).items():
            level[at_of[number], place], num[at_of[number], place] = block
    full = np.where(num > 0, np.minimum(1.0, num / rows[:, None]), np.nan)
    full[:, :, np.isnan(full).all(axis=(0, 1))] = 1.0
    share: NDArray[np.float64] = _LEAST_SHARE * np.nanmedian(full, axis=(0, 1))
    level[num < least_rows(rows, tuple(share.tolist()))] = np.nan
    return level, share


_Found = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _fitted(level: NDArray[np.float64], moves: NDArray[np.bool_]) -> _Found | None:
    """Return weights [C, C], limits [F], and levels and units of series [S, F]; None where none compares.

    Args:
        level: Means of blocks, float64 [B, S, C], NaN where unknown.
        moves: Which channels are not constant, bool [C].
    """
    usual = _median(level)
    weights = _weights((level - usual).reshape(-1, level.shape[2]), moves)
    every = np.stack([features(one, weights) for one in level - usual])
    usual_residual = _median(every[:, :, level.shape[2] :])
    every[:, :, level.shape[2] :] -= usual_residual
    difference = np.stack([differences(one) for one in every])
    away = np.abs(difference)
    known = ~np.isnan(away)
    compares = (known.sum(axis=(0, 1)) >= LEAST_BLOCKS) & np.concatenate([moves, moves])
    if not compares.any():
        return None
    common = NORMAL * _median(away.reshape(-1, 1, away.shape[2]))
    units = np.maximum(_LEAST_UNIT, np.maximum(common, NORMAL * _median(away)))
    distance = np.stack([distances(one, units) for one in difference])
    limits = np.where(compares, _limits(distance), 0.0)
    return weights, limits, np.concatenate([usual, usual_residual], axis=1), units


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median over the blocks of each series, float64 [S, .]; 0 where nothing is known."""
    values = np.where(np.isnan(values).all(axis=0), 0.0, values)
    median: NDArray[np.float64] = np.nanmedian(values, axis=0)
    return median


def _weights(level: NDArray[np.float64], moves: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return what each channel gives to the expected level of each other one, float64 [C, C].

    The inverse of the covariance has the coefficients of all regressions. Small ones are left out.
    """
    scale = np.sqrt(np.nanmean(np.where(np.isnan(level).all(axis=0), 0.0, np.square(level)), axis=0))
    used = moves & (scale > 0)
    safe = np.where(used, scale, 1.0)
    scaled = np.clip(np.nan_to_num(np.where(used, level / safe, 0.0), nan=0.0), -3.0, 3.0)
    inverse = np.linalg.inv(scaled.T @ scaled / len(scaled) + _RIDGE * np.eye(len(safe)))
    weights = -inverse / np.diag(inverse)
    weights[np.abs(weights) < _LEAST_WEIGHT] = 0.0
    np.fill_diagonal(weights, 0.0)
    found: NDArray[np.float64] = np.where(np.outer(used, used), weights / safe[:, None] * safe, 0.0)
    return found


def _limits(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the limit of each feature, float64 [F], from distances of the history, float64 [B, S, F]."""
    largest = np.zeros(distance.shape[1:])
    for series in range(distance.shape[1]):
        known = distance[:, series]
        known = known[~np.isnan(known).all(axis=1)]
        num_runs = len(known) - RUN + 1
        if num_runs > 0:
            lasts = lasting(np.stack([known[at : at + num_runs] for at in range(RUN)]))
            largest[series] = np.abs(np.nan_to_num(lasts, nan=0.0)).max(axis=0)
    limits: NDArray[np.float64] = np.maximum(_LEAST_LIMIT, _MARGIN * np.sort(largest, axis=0)[-2])
    return limits
