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
from detector.rows.series_arrays import SeriesArray, lengths_of, run_lengths, starts_of
from detector.scoring.lasting.blame import CredibleValues, HeldBlame
from detector.scoring.lasting.cumulative import CumulativeEvidence, Evidence
from detector.scoring.lasting.reference import ReferenceResiduals, RunningMeans
from detector.scoring.overlap import RowOutput
from detector.scoring.page_level import PageLevel
from detector.scoring.series_scales import SeriesScales

_MOST_DEPARTURE = 1_000.0
_CLEAR_ROWS = 100.0
_MOST_USUAL = 1.0


@dataclass(frozen=True, slots=True)
class RowEvidence:
    """Hold the evidence of n rows.

    scaled     float64 [n, C], the rows in the units of the model, NaN where unknown
    departure  float64 [n, C], in spreads, NaN where unknown
    means      float64 [n, 4, C], running means of the values (2), and of the departures (2)
    added      what has added up after each row
    paged      bool [n], it counts for incidents
    """

    scaled: NDArray[np.float64]
    departure: NDArray[np.float64]
    means: NDArray[np.float64]
    added: Evidence
    paged: NDArray[np.bool_]


class LastingEvidence:
    """Keeps the cumulative evidence of every series. Not thread-safe.

    Args:
        reference: what the training learnt.
        scales: the scales of each series, shared with the `WindowScorer`.
        limit: how alarms raise the page level of each series; None if nothing does.
    """

    def __init__(self, reference: Reference, scales: SeriesScales, limit: PageLimit | None) -> None:
        self._scales = scales
        self._residuals, self._cumulative = ReferenceResiduals(reference), CumulativeEvidence(reference)
        self._spread = np.array(reference.spread)
        self._means = RunningMeans(len(reference.spread), _MOST_DEPARTURE)
        self._blame, self._credible = HeldBlame(reference), CredibleValues(reference)
        self._run = SeriesArray((), np.int64, 0)
        self._page_level: PageLevel | None = None
        if limit is not None:
            self._page_level = PageLevel(limit)

    def name(self, slots: NDArray[np.int32], names: Sequence[str]) -> None:
        """Look up the baselines of new series, by their numbers, int32 [n], and names."""
        self._residuals.name(slots, names)

    def add(self, rows: RowOutput, impossible: NDArray[np.bool_], alarm: NDArray[np.bool_]) -> RowEvidence:
        """Return the evidence of the next final rows, which must be sorted by slot and row.

        Args:
            rows: the outputs of the rows.
            impossible: cells without a credible value, bool [n, C].
            alarm: which rows alarm by their score, bool [n].
        """
        scaled = self._scales.to_model(np.where(impossible, np.nan, rows.actual), rows.slot)
        departure, means = self._residuals.add(rows.slot, rows.row, scaled)
        added = self._cumulative.add(rows.slot, departure, self._residuals.are_unknown(rows.slot), alarm)
        of_departures = self._means.follow(rows.slot, rows.row, departure)
        both = np.concatenate([means, of_departures], axis=1)
        paged = self._paged(rows, added.cumulative)
        return RowEvidence(scaled.astype(np.float64), departure, both, added, paged)

    def _paged(self, rows: RowOutput, cumulative: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which rows count for incidents, bool [n].

        The sums have an upper limit, so their height says little. What lasts is clear: each 100 rows in alarm
        count as much as e times the threshold. So no page level keeps a fault that lasts from being found.
        """
        if len(rows) == 0:
            return np.zeros(0, np.bool_)
        self._run.reserve(int(rows.slot.max()) + 1)
        starts = starts_of(rows.slot)
        present = rows.slot[starts]
        run = run_lengths(cumulative >= 1.0, starts, self._run.data[present])
        self._run.data[present] = run[starts + lengths_of(starts, len(rows)) - 1]
        logarithm = np.log(np.maximum(cumulative, 1e-300)) + run / _CLEAR_ROWS
        if self._page_level is None:
            return logarithm > 0.0
        return logarithm > self._page_level.levels(rows.slot, rows.row, logarithm)

    def check(
        self,
        slot: NDArray[np.int32],
        evidence: RowEvidence,
        chosen: NDArray[np.intp],
        blame: NDArray[np.float64],
        expected: NDArray[np.float64],
        departs: NDArray[np.bool_],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the checked blame and the credible values of some rows, float64 [m, C] each.

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
            left = self._residuals.left_without(slot[chosen], scaled, means[:, :2], departure, means[:, 2:])
            known = ~np.isnan(departure).all(axis=1)
            fall[chosen[known]] = (np.nansum(np.square(departure), axis=1)[:, None] - left)[known]
        held = self._blame.hold(slot, fall)[chosen]
        credible = self._credible.expected(evidence.scaled[chosen], expected, departure, departs)
        return self._blame.blame(blame, means[:, 3], held), credible

    def num_counting(self, slots: NDArray[np.int32]) -> int:
        """Return in how many channels of these series small departures add up to evidence."""
        return self._cumulative.num_counting(slots)

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
        return self._cumulative.in_alarm(slot)

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
        self._cumulative.reset(one)
        for part in (self._means, self._blame):
            part.drop(one)

    def restart(self, slots: NDArray[np.int32]) -> None:
        """Continue these series with other row numbers. Sums stand still until there are running means."""
        self._residuals.restart(slots)
        for part in (self._means, self._blame):
            part.drop(slots)
        if self._page_level is not None:
            self._page_level.drop(slots)

    def use_other_reference(self, slots: NDArray[np.int32]) -> None:
        """Continue these series under another reference: their next rows decide whether a fault goes on."""
        self.restart(slots)
        self._residuals.drop(slots)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for part in (self._residuals, self._cumulative, self._means, self._blame):
            part.drop(slots)
        self._run.reset(slots)
        if self._page_level is not None:
            self._page_level.drop(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        parts = (self._residuals, self._cumulative, self._means, self._blame)
        arrays = [array for part in parts for array in part.arrays()]
        arrays.append(self._run)
        return arrays if self._page_level is None else [*arrays, *self._page_level.arrays()]
