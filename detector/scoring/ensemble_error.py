"""The statistics of all members of the ensemble for a row become one error.

Each statistic is a distance near 1 on normal rows, whatever its family and window. Its logarithm is put on
a common scale: high quantile 0 and spread 1 on held-out rows. Members of one window length are averaged,
which reduces their random differences. Of different window lengths the worst counts. A spike that only a
short window shows therefore raises an alarm. A change of pattern that only a long window shows does too
(docs/decisions/0008).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Level, Member

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
        self._groups = [np.flatnonzero(windows == window) for window in np.unique(windows)]

    def errors(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the error of each row, float64 [n]; NaN where no member has a statistic.

        Args:
            statistics: float64 [n, statistics of all members], NaN where a member has no window.
        """
        scaled = (log_statistics(statistics) - self._high) / self._spread
        by_window = [scaled[:, group].mean(axis=1) for group in self._groups]
        worst = by_window[0]
        for other in by_window[1:]:
            worst = np.fmax(worst, other)
        errors: NDArray[np.float64] = np.exp(np.minimum(self._unit * worst, 300.0))
        return errors
