"""What the reference adds to the verdicts of rows: cumulative evidence, checked blame, credible values.

Blame and expected values are worked out only for the rows that are anomalous, which are few.

Letters: n rows, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.reference import Reference
from detector.artifact.spec import PageLimit
from detector.rows.series_arrays import SeriesArray
from detector.scoring.lasting.blame import CredibleValues, HeldBlame
from detector.scoring.lasting.changes import LocalSpread
from detector.scoring.lasting.paged_sums import Paged, PagedSums
from detector.scoring.lasting.reference import ReferenceResiduals, RunningMeans
from detector.scoring.outputs.overlap import RowOutput
from detector.scoring.series_scales import SeriesScales

_MOST_DEPARTURE = 1_000.0
_MOST_USUAL = 1.0


@dataclass(frozen=True, slots=True)
class RowEvidence:
    """Hold the evidence of n rows.

    scaled     float64 [n, C], the rows in the units of the model, NaN where unknown
    departure  float64 [n, C], in spreads, NaN where unknown
    wider      float64 [n, C], by this factor the spread is larger while other channels change
    means      float64 [n, 4, C], running means of the values (2), and of the departures (2)
    added      what has added up after each row, and whether it counts for incidents
    """

    scaled: NDArray[np.float64]
    departure: NDArray[np.float64]
    wider: NDArray[np.float64]
    means: NDArray[np.float64]
    added: Paged


class LastingEvidence:
    """Keeps the cumulative evidence of every series. Not thread-safe.

    Args:
        reference: what the training learnt.
        scales: the scales of each series, shared with the `WindowScorer`.
        limit: how alarms raise the page level of each series; None if nothing does.
    """

    def __init__(self, reference: Reference, scales: SeriesScales, limit: PageLimit | None) -> None:
        self._scales = scales
        self._residuals, self._sums = ReferenceResiduals(reference), PagedSums(reference, limit)
        self._spread, self._local = np.array(reference.spread), LocalSpread(reference)
        self._means = RunningMeans(len(reference.spread), _MOST_DEPARTURE)
        self._blame, self._credible = HeldBlame(reference), CredibleValues(reference)

    def name(self, slots: NDArray[np.int32], names: Sequence[str]) -> None:
        """Look up the baselines of new series, by their numbers, int32 [n], and names."""
        self._residuals.name(slots, names)

    def add(
        self,
        rows: RowOutput,
        scaled: NDArray[np.float32],
        alarm: NDArray[np.bool_],
        factor: NDArray[np.float64] | None = None,
    ) -> RowEvidence:
        """Return the evidence of the next final rows, which must be sorted by slot and row.

        Args:
            rows: the outputs of the rows.
            scaled: their values in the units of the model, float32 [n, C], NaN where no credible one came.
            alarm: which rows alarm by their score, bool [n].
            factor: by how much departures count less at times of usual errors, float64 [n]; None: nowhere.
        """
        departure, means = self._residuals.add(rows.slot, rows.row, scaled)
        wider = self._local.follow(rows.slot, scaled)
        unknown = self._residuals.are_unknown(rows.slot)
        counted = departure / (wider if factor is None else wider * factor[:, None])
        added = self._sums.add(rows.slot, rows.row, counted, unknown, alarm)
        of_departures = self._means.follow(rows.slot, rows.row, departure)
        both = np.concatenate([means, of_departures], axis=1)
        return RowEvidence(scaled.astype(np.float64), departure, wider, both, added)

    def check(
        self,
        slot: NDArray[np.int32],
        evidence: RowEvidence,
        chosen: NDArray[np.intp],
        blame: NDArray[np.float64],
        expected: NDArray[np.float64],
        departs: NDArray[np.bool_],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Return the checked blame and the credible values of some rows, float64 [m, C] each.

        The third array tells where the range of the history limits the value, bool [m, C].

        Args:
            slot: the series of all n rows, int32 [n]; all final rows must pass here, in order.
            evidence: of all rows.
            chosen: which rows to work out, intp [m].
            blame: of these rows by the windows, float64 [m, C].
            expected: of these rows by the window model, in its units, float64 [m, C].
            departs: which cells of these rows are known to depart, bool [m, C].
        """
        departure, means = evidence.departure[chosen], evidence.means[chosen]
        fall = np.zeros(evidence.departure.shape)
        if len(chosen):
            scaled = evidence.scaled[chosen]
            wider = evidence.wider[chosen]
            found = (scaled, means[:, :2], departure, means[:, 2:], wider)
            left = self._residuals.left_without(slot[chosen], found)
            known = ~np.isnan(departure).all(axis=1)
            fall[chosen[known]] = (np.nansum(np.square(departure / wider), axis=1)[:, None] - left)[known]
        held = self._blame.hold(slot, fall)[chosen]
        credible, limited = self._credible.expected(evidence.scaled[chosen], expected, departure, departs)
        without = self._residuals.mean_without(slot[chosen], means[:, :2], means[:, 2:])
        return self._blame.blame(blame, means[:, 3], without, held), credible, limited

    def num_counting(self, slots: NDArray[np.int32]) -> int:
        """Return in how many channels of these series small departures add up to evidence."""
        return self._sums.num_counting(slots)

    def departed(self, slot: int) -> NDArray[np.float64]:
        """Return how far each channel of a series departs from what the others say, float64 [C].

        It is the mean of the last 65 to 80 rows, in the units of the channels; NaN where unknown.
        """
        scale = self._scales.trained_at(np.array([slot], np.int32))[1][0]
        departed: NDArray[np.float64] = self._means.latest(slot) * self._spread * scale
        return departed

    def usual_departures(self, slot: int, start_row: int) -> NDArray[np.float64]:
        """Return the mean departures of the last rows before one, in spreads, float64 [C]; at most 1."""
        means = self._means.before(slot, start_row)
        usual: NDArray[np.float64] = np.clip(np.nan_to_num(means, nan=0.0), -_MOST_USUAL, _MOST_USUAL)
        return usual

    def running_means(self, slot: int) -> NDArray[np.float64]:
        """Return the running means of a series, whose last row ends a block, float64 [2, C]."""
        return self._residuals.running_means(slot)

    def in_alarm(self, slot: int) -> NDArray[np.bool_]:
        """Return in which channels of a series small departures have added up to an alarm, bool [C]."""
        return self._sums.in_alarm(slot)

    @property
    def spread(self) -> NDArray[np.float64]:
        """The usual size of a departure of each channel, in the units of the model, float64 [C]."""
        return self._spread

    def departures(
        self, slot: NDArray[np.int32], scaled: NDArray[np.floating], means: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the departures of rows with these running means; see `ReferenceResiduals.departures`."""
        return self._residuals.departures(slot, scaled, means)

    def accept(self, slot: int) -> None:
        """Begin again with a series whose level was accepted: nothing of the old one adds up."""
        self._residuals.accept(slot)
        one = np.array([slot], np.int32)
        self._sums.reset(one)
        for part in (self._means, self._blame):
            part.drop(one)

    def restart(self, slots: NDArray[np.int32]) -> None:
        """Continue these series with other row numbers. Sums stand still until there are running means."""
        self._residuals.restart(slots)
        for part in (self._means, self._blame, self._local):
            part.drop(slots)
        self._sums.restart(slots)

    def use_other_reference(self, slots: NDArray[np.int32]) -> None:
        """Continue these series under another reference: their next rows decide whether a fault goes on."""
        self.restart(slots)
        self._residuals.drop(slots)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for part in (self._residuals, self._sums, self._means, self._blame, self._local):
            part.drop(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        parts = (self._residuals, self._sums, self._means, self._blame, self._local)
        return [array for part in parts for array in part.arrays()]
