"""Held-out rows that stand still say nothing of movement: the lively rows of the training join them.

A channel may become constant after a lively start. If that happens before the held-out rows begin, their
distances are about 0. Levels of these alone would make every movement of the history infinitely unusual.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from detector.scoring.ensemble_error import log_statistics

_STILL = math.log(0.1)
"""Distances are near 1 on rows like those of the training. Ten times less is no movement of that kind."""
_HIGH = 0.99
_LIVELIER = 1.0
"""A training row is lively if its distance is e times the high level of the held-out rows."""


def is_still(held_out: NDArray[np.float64]) -> bool:
    """Return whether a statistic of held-out rows, float64 [n, k], lies far below the training."""
    return bool((_highs(held_out) < _STILL).any())


def lively_rows(held_out: NDArray[np.float64], fitted: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return which training rows move in a statistic that stands still in the held-out rows, int64 [k].

    Args:
        held_out: Statistics of rows that trained no weights, float64 [n, statistics].
        fitted: Statistics of rows of the training, float64 [m, statistics].
    """
    highs = _highs(held_out)
    with np.errstate(invalid="ignore"):
        lively = (log_statistics(fitted) > highs + _LIVELIER) & (highs < _STILL)
    known = np.isfinite(fitted).all(axis=1)
    return np.flatnonzero(lively.any(axis=1) & known)


def _highs(statistics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of the high level of each statistic, float64 [statistics]; inf if unknown."""
    logarithms = log_statistics(statistics[np.isfinite(statistics).all(axis=1)])
    if len(logarithms) == 0:
        return np.full(statistics.shape[1], np.inf)
    highs: NDArray[np.float64] = np.quantile(logarithms, _HIGH, axis=0)
    return highs
