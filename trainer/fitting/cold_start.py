"""How many rows of a machine show its centres and scales: the warm-up of a series that the history lacks.

Stretches of each series are compared with the whole series. A stretch is long enough if mean and deviation of
each channel are near those of the series. The warm-up is the least length, by doubling, at which nine tenths
of the stretches are. A slow cycle needs more rows than a fast one.

Letters: n rows, C channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.artifact.cold.cold_start import LEAST_WARMUP, ColdStart
from detector.artifact.spec import Spec
from trainer.data.history import History, Segment, by_series

_MOST_ROWS = 4096
_LEAST_STRETCHES = 4
"""The longest stretch is such a part of the longest series."""
_READ_ROWS, _READ_SERIES = 1 << 15, 20
_AWAY, _NARROW = 0.5, 0.5
"""A stretch is as its series if its mean is within so many deviations, and its own is at least this share."""
_ENOUGH = 0.9


def fit_cold(spec: Spec, history: History) -> ColdStart:
    """Return the series that the model knows, and the rows that another one needs.

    Args:
        spec: The model.
        history: The rows that it learnt from.
    """
    of_series = by_series(history.segments)
    longest = max(of_series.values(), key=lambda own: sum(one.length for one in own))
    most = min(_MOST_ROWS, sum(one.length for one in longest) // _LEAST_STRETCHES)
    step = max(1, len(of_series) // _READ_SERIES)
    some = [_rows_of(history, own) for own in list(of_series.values())[::step][:_READ_SERIES]]
    still = np.array([channel.law == "constant" for channel in spec.channels])
    rows = max(LEAST_WARMUP, 2 * spec.window)
    while 2 * rows <= most and _share_alike(some, rows, still) < _ENOUGH:
        rows *= 2
    return ColdStart(tuple(of_series), rows)


def _rows_of(history: History, own: list[Segment]) -> NDArray[np.float64]:
    """Return the first rows of a series, float64 [n, C]."""
    blocks, left = [], _READ_ROWS
    for one in own:
        blocks.append(history.read(one.position, min(one.stop, one.position + left)))
        left -= len(blocks[-1])
        if left <= 0:
            break
    return np.concatenate(blocks)


def _share_alike(some: list[NDArray[np.float64]], length: int, still: NDArray[np.bool_]) -> float:
    """Return the share of stretches and channels that are as their series; 1 where there are none."""
    alike, known = 0, 0
    for rows in some:
        mean, deviation = _moments(rows[None])
        moves = (deviation[0] > 0) & ~still
        cut = rows[: len(rows) // length * length].reshape(-1, length, rows.shape[1])
        if not moves.any() or len(cut) < 2:
            continue
        means, deviations = _moments(cut)
        away = np.abs(means - mean)[:, moves] / deviation[0, moves]
        narrow = (deviations / np.maximum(deviation, np.finfo(np.float64).tiny))[:, moves]
        seen = ~np.isnan(away)
        alike += int(np.count_nonzero(seen & (away <= _AWAY) & (narrow >= _NARROW)))
        known += int(np.count_nonzero(seen))
    return alike / known if known else 1.0


def _moments(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation over the middle axis, float64 [., C] each; NaN and 0 where no value came."""
    known = ~np.isnan(rows)
    num = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, rows, 0.0).sum(axis=1) / num
    away = np.where(known, rows - mean[:, None], 0.0)
    return mean, np.sqrt(np.square(away).sum(axis=1) / np.maximum(num, 1))
