"""Which channels are to blame for a row, and what values they should have had.

The window model compares each channel with its own reconstruction. Near a fault in one channel, it also
reconstructs the others badly, so that a healthy channel may look worst. The check: replace one channel by
what the others expect of it, and see how far the evidence falls. For residuals of a regression on all
other channels this needs no second pass. The square of a channel's residual, in spreads, is just the fall
of the Mahalanobis distance of the row (Lauritzen, Graphical Models, 1996, section 5.1). A fault of one
channel makes that channel's fall the largest, by the inequality of Cauchy and Schwarz.

Letters: n rows, C channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.artifact.reference import Reference
from detector.scoring.cumulative import Evidence

_USUAL_ROW = 9.0
_MOST_ROW = 400.0
_WINDOW_USUAL, _MOST_WINDOW = 2.0, 60.0


def checked_blame(
    blame: NDArray[np.float64], departure: NDArray[np.float64], evidence: Evidence
) -> NDArray[np.float64]:
    """Return how much each channel is to blame, float64 [n, C], at least 0.

    It adds what the check finds, in this row and in the rows that have added up, and what the windows alone
    see beyond the usual, such as a wrong rhythm of a channel that depends on no other.

    Args:
        blame: Blame by the windows: mean squared residuals in usual units, float64 [n, C], NaN where unknown.
        departure: From what the others say, in spreads, float64 [n, C], NaN where unknown.
        evidence: What has added up after these rows.
    """
    row = np.clip(np.square(np.nan_to_num(departure, nan=0.0)) - _USUAL_ROW, 0.0, _MOST_ROW)
    added = evidence.energy + evidence.lasting
    window = np.clip(np.nan_to_num(blame, nan=0.0) - _WINDOW_USUAL, 0.0, _MOST_WINDOW)
    total: NDArray[np.float64] = row + added + window
    return total


class CredibleValues:
    """Choose what a channel should have been, as a value that the machine could have. Thread-safe.

    Args:
        reference: Spreads, and the range of each channel in the history.
    """

    def __init__(self, reference: Reference) -> None:
        self._spread = np.array(reference.spread)
        self._lowest, self._highest = np.array(reference.lowest), np.array(reference.highest)

    def expected(
        self, actual: NDArray[np.float64], expected: NDArray[np.float64], departure: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return expected values in the units of the model, float64 [n, C], within the range of the history.

        The reference replaces the window model where that left the range, or follows the fault: its residual
        is less than half of what the reference finds.

        Args:
            actual: The rows, float64 [n, C], NaN where unknown.
            expected: What the window model expects, float64 [n, C], NaN where unknown.
            departure: From the reference, in spreads, float64 [n, C], NaN where unknown.
        """
        by_others = actual - departure * self._spread
        with np.errstate(invalid="ignore"):
            left = (expected < self._lowest) | (expected > self._highest)
            follows = 2.0 * np.abs(actual - expected) < np.abs(actual - by_others)
        chosen = np.where((left | follows) & ~np.isnan(by_others), by_others, expected)
        credible: NDArray[np.float64] = np.clip(chosen, self._lowest, self._highest)
        return credible
