"""Whether what is judged still looks like what was calibrated: the population stability index of errors.

PSI = sum over bins of (share - expected share) * ln(share / expected share). By the usual rule of thumb,
below 0.1 nothing has changed, above 0.25 much has. The bins are quantiles of the held-out errors; the counts
of the stream fade, so that the index speaks of about the last `memory` rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 10
LEAST_MEMORY_ROWS = 20_000
ENOUGH_ROWS = 2_000
"""Rows below which the index would tell of chance: with 10 bins its mean is then about 9 / 2,000."""
_LEAST_SHARE = 1e-4


def stability_index(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Of two distributions over the same bins, as counts or shares, float64 [bins]; at least 0.

    A share below 1e-4 counts as that, so that an empty bin is not infinitely far.
    """
    shares = [np.maximum(counts / counts.sum(), _LEAST_SHARE) for counts in (expected, found)]
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))


class Drift:
    """The index of a stream of errors. Not thread-safe."""

    def __init__(self, held_out: NDArray[np.float64], memory: float = LEAST_MEMORY_ROWS) -> None:
        """`held_out` float64 [n], NaN where unknown; where all are equal nothing can be said."""
        known = held_out[np.isfinite(held_out)]
        levels = np.linspace(0, 1, NUM_BINS + 1)[1:-1]
        self._edges = np.unique(np.quantile(known, levels)) if len(known) else np.empty(0)
        self._expected = self._counted(known)
        self._counts = np.zeros(len(self._expected))
        self.memory = memory
        """Rows after which a row counts e times less."""
        self._num_rows = 0

    def add(self, errors: NDArray[np.float64]) -> None:
        """The next errors in the order of time, NaN where unknown."""
        known = errors[~np.isnan(errors)]
        if len(known) == 0:
            return
        age = np.arange(len(known) - 1, -1, -1)
        self._counts *= np.exp(-len(known) / self.memory)
        self._counts += self._counted(known, np.exp(-age / self.memory))
        self._num_rows += len(known)

    @property
    def index(self) -> float:
        """NaN until enough rows were judged, and where calibration left nothing to compare with."""
        if self._num_rows < ENOUGH_ROWS or np.count_nonzero(self._expected) < 2:
            return float("nan")
        return stability_index(self._expected, self._counts)

    def _counted(
        self, errors: NDArray[np.float64], weights: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        at = np.searchsorted(self._edges, errors, side="left")
        return np.bincount(at, weights, len(self._edges) + 1).astype(np.float64)
