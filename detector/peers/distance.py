"""How far each series of a block is from the others at the same time.

Letters: S series, C channels, F features (2 C).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.artifact.peers.peers import LEAST_OTHERS

NORMAL = 1.4826
"""The standard deviation of normal numbers, in units of the median of their absolute values."""


def features(level: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the levels, and the residuals of each channel given the others, float64 [S, F].

    Args:
        level: Means of a block less those of the series in the history, float64 [S, C], NaN where unknown.
        weights: What each channel gives to each residual, float64 [C, C], 0 on the diagonal.
    """
    known = ~np.isnan(level)
    expected = np.where(known, level, 0.0) @ weights
    needs = (weights != 0.0).astype(np.float64)
    lacks = (~known).astype(np.float64) @ needs > 0
    return np.concatenate([level, np.where(lacks, np.nan, level - expected)], axis=1)


def differences(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each value less the median of the others, float64 [S, F].

    It is NaN where the value is unknown, or fewer than three others are known.

    Args:
        values: Features of a block, float64 [S, F], NaN where unknown.

    >>> differences(np.array([[0.0], [1.0], [2.0], [9.0]]))[:, 0].tolist()
    [-2.0, -1.0, 1.0, 8.0]
    """
    order = np.argsort(values, axis=0, kind="stable")  # NaN at the end
    ordered = np.take_along_axis(values, order, axis=0)
    rank = np.argsort(order, axis=0, kind="stable")
    others = np.maximum((~np.isnan(values)).sum(axis=0) - 1, 0)
    last = max(len(values) - 1, 0)

    def without_own(place: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the value at a place of the ordered others."""
        at = np.minimum(np.where(rank <= place, place + 1, place), last)
        taken: NDArray[np.float64] = np.take_along_axis(ordered, at, axis=0)
        return taken

    median = (without_own(np.maximum(others - 1, 0) // 2) + without_own(others // 2)) / 2
    return np.where(others >= LEAST_OTHERS, values - median, np.nan)


def distances(difference: NDArray[np.float64], units: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return differences in units of what is usual, float64 [S, F].

    Where all series are farther apart than usual at this time, that is the unit: weather has many sizes.

    Args:
        difference: What `differences` returns, float64 [S, F].
        units: Usual differences of each series, float64 [S, F].
    """
    away = np.abs(difference)
    away[:, np.isnan(away).all(axis=0)] = 0.0
    distance: NDArray[np.float64] = difference / np.maximum(units, NORMAL * np.nanmedian(away, axis=0))
    return distance


def lasting(run: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the least distance of blocks in sequence, with its sign, float64 [F]; 0 where signs differ.

    Args:
        run: Distances of a series, float64 [blocks, F]; it is NaN where one of them is.
    """
    least, most = run.min(axis=0), run.max(axis=0)
    lasts: NDArray[np.float64] = np.where(least > 0, least, np.where(most < 0, most, 0.0 * least))
    return lasts
