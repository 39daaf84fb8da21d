"""Learn how much larger a residual usually is while the other channels change.

Letters: n rows, C channels, K knots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from detector.scoring.lasting.changes import factors, of_others

_USUAL = 0.9
_LEAST_CHANGE = 0.02
_EDGES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
_LEAST_ROWS = 30
_MOST, _LEVELLED = 3.0, 1.05


@dataclass(frozen=True, slots=True)
class Widening:
    """Hold how much larger residuals are, by the largest change of the other channels.

    usual    large but usual change of each channel, float64 [C]: its 0.9 quantile
    knots    changes of the others in units of what is usual, float64 [K, C], growing
    factors  by which residuals are larger there, float64 [K, C], at least 1, growing
    """

    usual: NDArray[np.float64]
    knots: NDArray[np.float64]
    factors: NDArray[np.float64]

    def of(self, change: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the factors of rows with these changes, float64 [n, C]."""
        return factors(of_others(change, self.usual), self.knots, self.factors)


def fit_widening(
    departures: Sequence[NDArray[np.float64]], changes: Sequence[NDArray[np.float64]]
) -> Widening:
    """Return how much larger departures are where the other channels change.

    Rows are put into groups by the change of the others, fewer and fewer rows for larger changes. The spread
    of each group is Huber's: departures count at most 3 spreads.

    Args:
        departures: One float64 [n, C] for each series, in spreads, NaN where unknown.
        changes: Of each channel from row to row, one float64 [n, C] for each series.
    """
    change, departure = np.concatenate(changes), np.concatenate(departures)
    usual = np.maximum(np.quantile(change, _USUAL, axis=0), _LEAST_CHANGE)
    others = of_others(change, usual)
    shape = (len(_EDGES) - 1, departure.shape[1])
    knots, found = np.zeros(shape), np.ones(shape)
    for channel in range(departure.shape[1]):
        known = ~np.isnan(departure[:, channel])
        order = np.argsort(others[known, channel], kind="stable")
        sizes, at = np.abs(departure[known, channel])[order], others[known, channel][order]
        for group, rows in enumerate(_groups(len(at))):
            knots[group:, channel], found[group:, channel] = at[rows].mean(), _spread(sizes[rows])
    return Widening(usual, knots, np.maximum.accumulate(np.maximum(found, 1.0), axis=0))


def _groups(num_rows: int) -> list[slice]:
    """Return groups of ordered rows; the last one has 30 rows or more, unless it is the only one."""
    edges = [edge for edge in _EDGES if edge == 0.0 or (1.0 - edge) * num_rows >= _LEAST_ROWS]
    places = [int(edge * num_rows) for edge in edges]
    return [slice(*ends) for ends in pairwise([*places, num_rows])] if num_rows else []


def _spread(sizes: NDArray[np.float64]) -> float:
    """Return the spread of departures of these sizes, float64 [n]."""
    spread = 1.4826 * float(np.median(sizes))
    for _ in range(6):
        spread = _LEVELLED * float(np.sqrt(np.square(np.minimum(sizes, _MOST * spread)).mean()))
    return spread
