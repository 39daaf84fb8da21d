"""Held-out rows that stand still say nothing of movement: the lively rows of the training join them.

A channel may become constant after a lively start. If that happens before the held-out rows begin, their
distances are about 0. Levels of these alone would make every movement of the history infinitely unusual.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from detector.scoring.ensemble_error import log_statistics

if TYPE_CHECKING:
    from trainer.calibrate import HeldOut

_STILL = math.log(0.1)
"""Distances are near 1 on rows like those of the training. Ten times less is no movement of that kind."""
_HIGH = 0.99
_LIVELIER = 1.0
"""A training row is lively if its distance is e times the high level of the held-out rows."""


def is_still(held_out: HeldOut) -> bool:
    """Return whether a statistic of the held-out rows lies far below what training rows have."""
    return bool((_highs(held_out.final) < _STILL).any())


def lively_rows(held_out: HeldOut, fitted: HeldOut) -> NDArray[np.intp]:
    """Return which training rows move in a statistic that stands still in the held-out rows, int64 [k].

    Args:
        held_out: Rows that trained no weights.
        fitted: Rows of the training.
    """
    highs = _highs(held_out.final)
    with np.errstate(invalid="ignore"):
        lively = (log_statistics(fitted.final) > highs + _LIVELIER) & (highs < _STILL)
    known = np.isfinite(fitted.final).all(axis=1)
    return np.flatnonzero(lively.any(axis=1) & known)


def _highs(statistics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of the high level of each statistic, float64 [statistics]; inf if unknown."""
    logarithms = log_statistics(statistics[np.isfinite(statistics).all(axis=1)])
    if len(logarithms) == 0:
        return np.full(statistics.shape[1], np.inf)
    highs: NDArray[np.float64] = np.quantile(logarithms, _HIGH, axis=0)
    return highs
