"""The statistics of all members of the ensemble for a row become one error.

Each statistic is a distance near 1 on normal rows, whatever its family and window. Its logarithm is put on
a common scale: high quantile 0 on held-out rows. Members of one window length are averaged, which reduces
their random differences. They are one kind of evidence. A memory is another kind (docs/decisions/0043).

mean   Half of the error is the worst of the windows, and half the mean of all kinds: what several find
       unusual ranks before what one of them does. The logarithms keep their spread. A kind without a whole
       window counts as its high level (docs/decisions/0045).
worst  The logarithms also get spread 1. Of different window lengths the worst counts, and its mean with a
       memory if there is one (docs/decisions/0008).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Combine, Level, Member
from detector.models.listing import BESIDE

SPREAD_FLOOR = 0.3
"""Added to every spread, because a few held-out rows may vary less than later ones."""
_TINY = 1e-2


def log_statistics(statistics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of distances of any shape; that of 0 (a constant series) stays finite."""
    logarithm: NDArray[np.float64] = np.log(statistics + _TINY)
    return logarithm


def from_logarithm(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances of these logarithms, at least 0: the inverse of `log_statistics`."""
    statistics: NDArray[np.float64] = np.maximum(np.exp(logarithms) - _TINY, 0.0)
    return statistics


def level_of(logarithms: NDArray[np.float64]) -> Level:
    """Return the level of one statistic on held-out rows, float64 [n].

    Rows with NaN are left out. At least one row must be known.
    """
    known = logarithms[np.isfinite(logarithms)]
    return Level(float(np.quantile(known, 0.99)), float(known.std()) + SPREAD_FLOOR)


class EnsembleError:
    """Combines the statistics of a row into its error.

    Args:
        members: the members of the ensemble.
        levels: the levels of each member's statistics on held-out rows.
        combine: the rule by which kinds of evidence become one error.
    """

    def __init__(
        self, members: Sequence[Member], levels: Sequence[tuple[Level, ...]], combine: Combine = "worst"
    ) -> None:
        flat = [level for member in levels for level in member]
        self._is_mean = combine == "mean"
        self._high = np.array([level.high for level in flat])
        self._spread = np.array([1.0 if self._is_mean else level.spread for level in flat])
        # Half: statistics are squares, and an error is in units of a residual.
        self._unit = float(self._spread.mean()) / 2.0
        windows = np.repeat([member.window for member in members], [len(one) for one in levels])
        beside = np.repeat([member.family in BESIDE for member in members], [len(one) for one in levels])
        self._groups = [
            np.flatnonzero((windows == window) & ~beside) for window in np.unique(windows[~beside])
        ]
        # Of a memory, the first statistic alone: the others do not depend on its cores.
        first = np.cumsum([0, *(len(one) for one in levels)])[:-1]
        self._beside = np.array([at for at in first if beside[at]], np.intp)

    def errors(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the error of each row, float64 [n]; NaN where no member has a statistic.

        Args:
            statistics: float64 [n, statistics of all members], NaN where a member has no window.
        """
        scaled = (log_statistics(statistics) - self._high) / self._spread
        windows = [scaled[:, group].mean(axis=1) for group in self._groups]
        memories = [scaled[:, self._beside].mean(axis=1)] if len(self._beside) else []
        worst = [functools.reduce(np.fmax, windows)] if windows else []
        if self._is_mean:
            of_all = _mean_with_high([*windows, *memories])
            combined = _mean_of_known([*worst, of_all])
        else:
            combined = _mean_of_known([*worst, *memories])
        errors: NDArray[np.float64] = np.exp(np.minimum(self._unit * combined, 300.0))
        return errors


def _mean_with_high(kinds: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the mean of several numbers of each row, float64 [n]; NaN where none is known.

    An unknown number counts as 0, the high level. So one kind alone is no louder than beside the others.
    """
    each = np.stack(kinds)
    mean: NDArray[np.float64] = np.nan_to_num(each, nan=0.0).mean(axis=0)
    return np.where(np.isnan(each).all(axis=0), np.nan, mean)


def _mean_of_known(kinds: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the mean of the known numbers of each row, float64 [n]; NaN where none is."""
    each = np.stack(kinds)
    is_known = ~np.isnan(each)
    count = np.where(is_known.any(axis=0), is_known.sum(axis=0), np.nan)
    mean: NDArray[np.float64] = np.where(is_known, each, 0.0).sum(axis=0) / count
    return mean
