"""Drift: the population stability index compares the errors of the stream with those of calibration.

PSI = sum over bins of (share - expected share) * ln(share / expected share). By the usual rule of thumb,
below 0.1 nothing has changed, above 0.25 much has. The bins are quantiles of the held-out errors. Older rows
of the stream count less, so that the index describes about the last `memory` rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 10
LEAST_MEMORY_ROWS = 20_000
ENOUGH_ROWS = 2_000
"""With fewer rows the index is mostly chance. Without drift its mean is about 9 / 2,000 (10 bins)."""
_LEAST_SHARE = 1e-4


def stability_index(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Return the population stability index of two distributions, at least 0.

    A share below 1e-4 counts as 1e-4, so that an empty bin does not make the index infinite.

    >>> round(stability_index(np.array([0.5, 0.5]), np.array([30.0, 70.0])), 3)
    0.169

    Args:
        expected: Counts or shares in calibration, float64 [bins].
        found: Counts or shares in the stream over the same bins, float64 [bins].
    """
    shares = [np.maximum(counts / counts.sum(), _LEAST_SHARE) for counts in (expected, found)]
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))


class Drift:
    """The stability index of a stream of errors. Not thread-safe.

    Args:
        held_out: Errors in calibration, float64 [n], NaN where unknown. If all are equal, the index is NaN.
        memory: Number of rows after which the weight of a row has fallen by the factor e.
    """

    def __init__(self, held_out: NDArray[np.float64], memory: float = LEAST_MEMORY_ROWS) -> None:
        known = held_out[np.isfinite(held_out)]
        levels = np.linspace(0, 1, NUM_BINS + 1)[1:-1]
        self._edges = np.unique(np.quantile(known, levels)) if len(known) else np.empty(0)
        self._expected = self._counted(known)
        self._counts = np.zeros(len(self._expected))
        self.memory = memory
        self._num_rows = 0

    def add(self, errors: NDArray[np.float64]) -> None:
        """Add the next errors in order of time, float64 [n], NaN where unknown."""
        known = errors[~np.isnan(errors)]
        if len(known) == 0:
            return
        age = np.arange(len(known) - 1, -1, -1)
        self._counts *= np.exp(-len(known) / self.memory)
        self._counts += self._counted(known, np.exp(-age / self.memory))
        self._num_rows += len(known)

    @property
    def index(self) -> float:
        """The index; NaN before 2,000 rows, or if calibration has no distribution to compare with."""
        if self._num_rows < ENOUGH_ROWS or np.count_nonzero(self._expected) < 2:
            return float("nan")
        return stability_index(self._expected, self._counts)

    def _counted(
        self, errors: NDArray[np.float64], weights: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        at = np.searchsorted(self._edges, errors, side="left")
        return np.bincount(at, weights, len(self._edges) + 1).astype(np.float64)
