"""The probability that a normal row has at least a given error: the p-value of a row.

It is the share of the held-out errors at or above the error, as long as these are many enough to count.
Above that, a generalised Pareto tail continues it. The tail is fitted to all errors above a high quantile,
since a p-value is about one row and not about an event of many. It is meant for rows of the same law as the
history; where the law has changed, p-values are too small.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Artifact
from detector.calibration.peaks_over_threshold import ParetoTail, fit_tail

_LEAST = 1e-300
_MOST_KEPT = 20_000
"""Errors that are kept: more would not change the digits that are shown."""
_BEYOND = 30
"""Errors at or above one that are enough to count: their number varies by about a fifth."""


class PValues:
    """Turns errors and scores into p-values. It never changes, so that threads may share it.

    Args:
        errors: Errors of the held-out rows, float64 [n]; NaN is left out. Without any, nothing is known.
        value: The error at which the score is 1.
        sharpness: Exponent of the score.
    """

    def __init__(self, errors: NDArray[np.float64], value: float, sharpness: float) -> None:
        known = np.sort(errors[np.isfinite(errors)])
        self._value, self._sharpness = value, sharpness
        self._tail = _tail_of(known)
        self._from = np.inf if self._tail is None else max(self._tail.level, known[-_BEYOND:][0])
        beyond = len(known) - int(np.searchsorted(known, self._from, side="right"))
        self._share_beyond = (1 + beyond) / (1 + len(known))
        self._errors = known
        shares = (1.0 + len(known) - np.arange(len(known) + 1)) / (1.0 + len(known))
        self._shares: NDArray[np.float64] = shares.astype(np.float64)
        if len(known) > _MOST_KEPT:
            kept = np.unique(np.linspace(0, len(known) - 1, _MOST_KEPT).astype(np.intp))
            self._errors, self._shares = known[kept], self._shares[np.append(kept, len(known))]

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """Return the p-values of a model. They are all unknown if it keeps no held-out errors."""
        threshold = artifact.spec.threshold
        return cls(artifact.held_out.get("error", np.empty(0)), threshold.value, threshold.sharpness)

    def of_scores(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the p-values of scores, float64 [n], above 0 and at most 1; NaN where unknown.

        Args:
            scores: Final scores, float64 [n], NaN where unknown.
        """
        return self.of_errors(self._value * scores ** (1.0 / self._sharpness))

    def of_errors(self, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the p-values of errors, float64 [n], above 0 and at most 1; NaN where unknown.

        A greater error never has a greater p-value.
        """
        if len(self._errors) == 0:
            return np.full(len(errors), np.nan)
        found = self._shares[np.searchsorted(self._errors, errors)]
        if self._tail is not None:
            beyond = np.flatnonzero(errors > self._from)
            first = _survival(self._tail, np.array([self._from]))
            np.maximum(found, self._share_beyond, out=found)
            found[beyond] = self._share_beyond * _survival(self._tail, errors[beyond]) / first
        found[np.isnan(errors)] = np.nan
        least: NDArray[np.float64] = np.maximum(found, _LEAST)
        return least


def _tail_of(ordered: NDArray[np.float64]) -> ParetoTail | None:
    """Return the tail of all errors above a high quantile; None if there are too few, or all are equal."""
    if len(ordered) == 0 or ordered[0] == ordered[-1]:
        return None
    return fit_tail(ordered, np.zeros(len(ordered), np.int64), run_rows=0)


def _survival(tail: ParetoTail, errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of the tail above errors that lie in it, float64 [n].

    A tail with an end has no share beyond it. From where about one fitted error was expected, an exponential
    tail with the same hazard therefore continues it.
    """
    excess = errors - tail.level
    if abs(tail.shape) < 1e-6:
        return np.exp(-excess / tail.scale)
    if tail.shape > 0:
        return _pareto(tail, excess)
    last = 1.0 / tail.num_peaks
    switch = tail.scale / tail.shape * (last**-tail.shape - 1.0)
    beyond = np.maximum(0.0, excess - switch) / (tail.scale + tail.shape * switch)
    return np.where(excess <= switch, _pareto(tail, np.minimum(excess, switch)), last * np.exp(-beyond))


def _pareto(tail: ParetoTail, excess: NDArray[np.float64]) -> NDArray[np.float64]:
    share: NDArray[np.float64] = (1.0 + tail.shape * excess / tail.scale) ** (-1.0 / tail.shape)
    return share
