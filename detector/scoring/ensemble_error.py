"""The statistics of all members of the ensemble for a row become one error.

Each statistic is a distance near 1 on normal rows, whatever its family and window. Its logarithm is put on
a common scale: high quantile 0 and spread 1 on held-out rows. Members of one window length are averaged,
which reduces their random differences. Of different window lengths the worst counts. A spike that only a
short window shows therefore raises an alarm. A change of pattern that only a long window shows does too
(docs/decisions/0008).

A memory is no further window but another kind of evidence. Its mean with that worst counts: what both find
unusual ranks before what one of them does (docs/decisions/0043).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Level, Member
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
    """

    def __init__(self, members: Sequence[Member], levels: Sequence[tuple[Level, ...]]) -> None:
        flat = [level for member in levels for level in member]
        self._high = np.array([level.high for level in flat])
        self._spread = np.array([level.spread for level in flat])
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
        worst = np.full(len(scaled), np.nan)
        for group in self._groups:
            worst = np.fmax(worst, scaled[:, group].mean(axis=1))
        if len(self._beside):
            worst = _mean_of_known(worst, scaled[:, self._beside].mean(axis=1))
        errors: NDArray[np.float64] = np.exp(np.minimum(self._unit * worst, 300.0))
        return errors


def _mean_of_known(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of two numbers of each row, or the one that is known, float64 [n]."""
    return np.where(np.isnan(one), other, np.where(np.isnan(other), one, (one + other) / 2.0))
