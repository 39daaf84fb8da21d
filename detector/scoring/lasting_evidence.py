"""What the reference adds to the verdicts of rows: cumulative evidence, checked blame, credible values.

Blame and expected values are worked out only for the rows that are anomalous, which are few.

Letters: n rows, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detector.artifact.reference import BUDGET_SHARE, Reference
from detector.artifact.spec import PageLimit
from detector.rows.series_arrays import SeriesArray
from detector.scoring.blame import CredibleValues, checked_blame
from detector.scoring.cumulative import CumulativeEvidence, Evidence
from detector.scoring.overlap import RowOutput
from detector.scoring.page_level import PageLevel
from detector.scoring.reference import ReferenceResiduals
from detector.scoring.series_scales import SeriesScales


@dataclass(frozen=True, slots=True)
class RowEvidence:
    """Hold the evidence of n rows.

    departure  float64 [n, C], in spreads, NaN where unknown
    added      what has added up after each row
    paged      bool [n], it counts for incidents
    """

    departure: NDArray[np.float64]
    added: Evidence
    paged: NDArray[np.bool_]


class LastingEvidence:
    """Keeps the cumulative evidence of every series. Not thread-safe.

    Args:
        reference: what the training learnt.
        residuals: the departures of rows, shared with the `WindowScorer`.
        scales: the scales of each series, shared with it too.
        limit: how alarms raise the page level of each series; None if nothing does.
    """

    def __init__(
        self,
        reference: Reference,
        residuals: ReferenceResiduals,
        scales: SeriesScales,
        limit: PageLimit | None,
    ) -> None:
        self._residuals, self._scales = residuals, scales
        self._page_level: PageLevel | None = None
        if limit is not None:
            share = replace(limit, alarms_a_row=BUDGET_SHARE * limit.alarms_a_row)
            self._page_level = PageLevel(share)
        self._cumulative = CumulativeEvidence(reference)
        self._credible = CredibleValues(reference)

    def add(self, rows: RowOutput) -> RowEvidence:
        """Return the evidence of the next final rows, which must be sorted by slot and row."""
        departure = rows.means[-1]
        added = self._cumulative.add(rows.slot, departure, self._residuals.are_unknown(rows.slot))
        logarithm = np.log(np.maximum(added.cumulative, 1e-300))
        level = np.zeros(len(rows))
        if self._page_level is not None:
            level = self._page_level.levels(rows.slot, rows.row, logarithm)
        return RowEvidence(departure, added, logarithm > level)

    def check(
        self,
        rows: RowOutput,
        evidence: RowEvidence,
        chosen: NDArray[np.intp],
        blame: NDArray[np.float64],
        expected: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the checked blame and the credible values of some rows, float64 [m, C] each.

        Args:
            rows: the outputs of all n rows.
            evidence: of all rows.
            chosen: which rows to work out, intp [m].
            blame: of these rows by the windows, float64 [m, C].
            expected: of these rows by the window model, in its units, float64 [m, C].
        """
        departure, added, slot = evidence.departure[chosen], evidence.added, rows.slot[chosen]
        some = Evidence(added.cumulative[chosen], added.lasting[chosen], added.energy[chosen])
        actual = self._scales.to_model(rows.actual[chosen], slot).astype(np.float64)
        return checked_blame(blame, departure, some), self._credible.expected(actual, expected, departure)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._cumulative.drop(slots)
        if self._page_level is not None:
            self._page_level.drop(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        arrays = self._cumulative.arrays()
        return arrays if self._page_level is None else [*arrays, *self._page_level.arrays()]
