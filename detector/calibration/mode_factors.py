"""Give each mode of operation its own factor on the threshold, so that the alarm budget holds in each.

A mode has two groups of rows: those whose window may hold rows from before the change, and the others. In
each group with enough held-out rows the threshold is calibrated alone. Its factor is its ratio to the common
one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detector.artifact.modes import Mode, Modes

_LEAST_ROWS = 300
_FEW_ROWS = 20
_ABOVE_LARGEST = 1.25
_LEAST, _MOST = 0.02, 1_000.0

ThresholdOf = Callable[[NDArray[np.float64], NDArray[np.int64]], float]
"""Return the threshold that meets the alarm budget on errors [n] of segments [n]."""


def group_of(mode: NDArray[np.int32], is_steady: NDArray[np.bool_], num_modes: int) -> NDArray[np.int64]:
    """Return the group of each row, int64 [n]: twice its mode, and one more if it is steady.

    Args:
        mode: int32 [n]; an unknown mode counts as the last one.
        is_steady: bool [n], no window holds rows from before the change.
        num_modes: How many there are, `other` included.
    """
    groups: NDArray[np.int64] = 2 * np.where(mode < 0, num_modes - 1, mode).astype(np.int64)
    groups += is_steady
    return groups


def with_factors(
    modes: Modes,
    errors: NDArray[np.float64],
    segment: NDArray[np.int64],
    group: NDArray[np.int64],
    threshold_of: ThresholdOf,
) -> Modes:
    """Return the modes with the factors of their groups.

    A group of few rows has a factor that keeps its largest error below the threshold, and none below 1. A
    group without rows has the factor of the other group of its mode.

    Args:
        modes: What the training knows of the modes.
        errors: Of the held-out rows, float64 [n], NaN where unknown.
        segment: Number of the uninterrupted segment of each, int64 [n].
        group: Of each row (`group_of`), int64 [n].
        threshold_of: Calibrates a threshold.
    """
    known = np.isfinite(errors)
    if not known.any():
        return modes
    common = threshold_of(errors[known], segment[known])
    factors: list[float | None] = []
    for number in range(2 * len(modes.all)):
        mine = known & (group == number)
        num = int(np.count_nonzero(mine))
        if num >= _LEAST_ROWS:
            visit = np.cumsum(np.diff(np.flatnonzero(mine), prepend=-1) > 1, dtype=np.int64)
            factor = threshold_of(errors[mine], visit) / common
        elif num >= _FEW_ROWS:
            factor = max(1.0, _ABOVE_LARGEST * float(errors[mine].max()) / common)
        else:
            factors.append(None)
            continue
        factors.append(float(np.clip(factor, _LEAST, _MOST)))
    every = [_with(mode, factors[2 * at], factors[2 * at + 1]) for at, mode in enumerate(modes.all)]
    return replace(modes, modes=tuple(every[:-1]), other=every[-1])


def factor_of(modes: Modes, group: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the factor of each row, float64 [n]."""
    factors = np.array([[mode.fresh, mode.steady] for mode in modes.all]).ravel()
    found: NDArray[np.float64] = factors[group]
    return found


def _with(mode: Mode, fresh: float | None, steady: float | None) -> Mode:
    """Return the mode with these factors; one that is unknown is as the other one, and not below 1."""
    if fresh is None:
        fresh = 1.0 if steady is None else max(1.0, steady)
    if steady is None:
        steady = max(1.0, fresh)
    return replace(mode, fresh=fresh, steady=steady)
