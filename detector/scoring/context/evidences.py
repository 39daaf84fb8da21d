"""All evidence beside the score: small departures that last, and what a window cannot see.

Each kind is a part of its own. A model that learnt nothing of a kind has no such part, so that it costs
nothing. A kind that is switched off goes on, but says nothing.

Letters: n rows, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from detector.artifact.budget_shares import budget_shares, limit_of
from detector.artifact.season import Calendar
from detector.artifact.spec import Spec
from detector.rows.series_arrays import SeriesArray
from detector.scoring.context.drift import DriftEvidence
from detector.scoring.context.modes import ModeRules, RowModes
from detector.scoring.context.season import SeasonEvidence
from detector.scoring.context.spoken import ScaledRows, Spoken
from detector.scoring.context.usual_error import UsualErrors
from detector.scoring.kinds import SWITCHES, Kind
from detector.scoring.lasting.evidence import LastingEvidence, RowEvidence
from detector.scoring.outputs.overlap import RowOutput
from detector.scoring.recurring.jobs import JobEvidence
from detector.scoring.series_scales import SeriesScales


class ContextEvidence(Protocol):
    """One kind of evidence that a window cannot see."""

    def add(self, rows: ScaledRows) -> Spoken:
        """Add the next final rows, and return what this kind finds in them."""

    def name(self, slots: NDArray[np.int32], names: Sequence[str]) -> None:
        """Look up what training learnt about new series, by their numbers, int32 [n], and names."""

    def accept(self, slot: int) -> None:
        """Begin again with a series whose level was accepted."""

    def stand(self, slots: NDArray[np.int32], within_fault: NDArray[np.bool_]) -> None:
        """Say of these series whether small departures hold a fault, bool [len(slots)]."""

    def restart(self, slots: NDArray[np.int32]) -> None:
        """Continue these series with other row numbers; sums of evidence stay."""

    def use_other_reference(self, slots: NDArray[np.int32]) -> None:
        """Continue these series, whose evidence was measured against another history; sums stay."""

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series, in the order of the snapshot's cells."""


@dataclass(frozen=True, slots=True)
class RowsSpoken:
    """Hold what every kind finds in n rows; `level` checks blame, None without a reference."""

    spoken: tuple[Spoken, ...] = ()
    level: RowEvidence | None = None


class Evidences:
    """Keep the evidence of every kind and series. Not thread-safe.

    Args:
        spec: The model.
        scales: The scales of each series, shared with the `WindowScorer`.
        intervals: Length of a row of each series in nanoseconds, int64; read at each call.
    """

    def __init__(self, spec: Spec, scales: SeriesScales, intervals: SeriesArray) -> None:
        self._scales, self._intervals, self._num_channels = scales, intervals, len(spec.channels)
        self.level: LastingEvidence | None = None
        if spec.reference is not None:
            limit = limit_of(spec.threshold.limit, budget_shares(spec).sums)
            self.level = LastingEvidence(spec.reference, scales, limit)
        self._context, self._season = context_of(spec, scales), spec.season
        has_usual = spec.season is not None and len(spec.season.usual_error.slots) > 0
        self._usual = UsualErrors(spec.season) if has_usual and spec.season is not None else None
        self._modes = ModeRules.of(spec)
        self._without: frozenset[Kind] = frozenset()

    def use_kinds(self, without: Iterable[str]) -> None:
        """Let these kinds, keys of `SWITCHES`, say nothing from the next row on, and all others speak."""
        self._without = frozenset(SWITCHES[name] for name in without)

    def use_days(self, days: Iterable[tuple[str, int]]) -> None:
        """Follow the model's calendar with these special days from the next row on."""
        if self._season is None:
            return
        calendar = self._season.calendar
        calendar = Calendar(calendar.zone, calendar.days | dict(days))
        for part in (*self._context, self._usual):
            if isinstance(part, SeasonEvidence | DriftEvidence | JobEvidence | UsualErrors):
                part.use_calendar(calendar)

    def factor(self, start_ns: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Return by how much the threshold of rows that start then is higher, float64 [n]; None: nowhere."""
        is_off = self._usual is None or Kind.SEASON in self._without
        return None if is_off or self._usual is None else self._usual.factor(start_ns)

    def add(self, rows: RowOutput, impossible: NDArray[np.bool_], alarm: NDArray[np.bool_]) -> RowsSpoken:
        """Return what every kind finds in the next final rows, which must be sorted by slot and row.

        Args:
            rows: The outputs of the rows.
            impossible: Cells without a credible value, bool [n, C].
            alarm: Which rows alarm by their score, bool [n].
        """
        spoken = [] if self._modes is None else [self._modes.speak(RowModes.of(rows.context))]
        if self.level is None and not self._context:
            return RowsSpoken(self._heard(spoken, rows.slot))
        scaled = self._scales.to_model(np.where(impossible, np.nan, rows.actual), rows.slot)
        start_ns = rows.row * self._intervals.data[rows.slot]
        factor = self.factor(start_ns)
        level = None if self.level is None else self.level.add(rows, scaled, alarm, factor)
        if level is not None:
            spoken.append(Spoken(Kind.LEVEL, level.added.cumulative, level.added.paged))
        if self._context:
            seen = ScaledRows(rows.slot, rows.row, start_ns, scaled, alarm)
            spoken += [one.add(seen) for one in self._context]
        return RowsSpoken(self._heard(spoken, rows.slot), level)

    def name(self, slots: NDArray[np.int32], names: Sequence[str]) -> None:
        """Look up what training learnt about new series, by their numbers, int32 [n], and names."""
        for part in self._parts():
            part.name(slots, names)

    def num_counting(self, slots: NDArray[np.int32]) -> int:
        """Return in how many channels of these series small departures add up to evidence."""
        return 0 if self.level is None else self.level.num_counting(slots)

    def departed(self, slot: int) -> NDArray[np.float64]:
        """Return how far each channel of a series departs from what the others say, float64 [C], or NaN."""
        unknown = np.full(self._num_channels, np.nan)
        if self.level is None:
            return unknown
        return np.where(self._scales.still, unknown, self.level.departed(slot))

    def use_other_reference(self, slots: NDArray[np.int32], names: Sequence[str]) -> None:
        """Continue these series, whose evidence was measured against another reference; sums stay."""
        for part in self._parts():
            part.use_other_reference(slots)
        self.name(slots, names)

    def stand(self, slots: NDArray[np.int32], within_fault: NDArray[np.bool_]) -> None:
        """Say of these series whether small departures hold a fault, bool [len(slots)]."""
        for part in self._context:
            part.stand(slots, within_fault)

    def restart(self, slots: NDArray[np.int32]) -> None:
        """Continue these series with other row numbers; sums of evidence stay."""
        for part in self._parts():
            part.restart(slots)

    def begin(self, slots: NDArray[np.int32], names: Sequence[str]) -> None:
        """Begin again with series whose scales are others from now on; what is usual is learnt again."""
        self.drop(slots)
        self.name(slots, names)
        for slot in slots.tolist():
            self.accept(slot)

    def accept(self, slot: int) -> None:
        """Begin the evidence that adds up again for a series whose level was accepted."""
        for part in self._parts():
            part.accept(slot)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for part in self._parts():
            part.drop(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [array for part in self._parts() for array in part.arrays()]

    def _heard(self, spoken: list[Spoken], slot: NDArray[np.int32]) -> tuple[Spoken, ...]:
        """Return what counts: no kind that is switched off, and none of a series that is cold."""
        heard = [one for one in spoken if one.kind not in self._without]
        cold = self._scales.learnt.are_cold(slot)
        return tuple(_without_rows(one, cold) for one in heard) if cold.any() else tuple(heard)

    def _parts(self) -> list[LastingEvidence | ContextEvidence]:
        return [*([] if self.level is None else [self.level]), *self._context]


def _without_rows(spoken: Spoken, silent: NDArray[np.bool_]) -> Spoken:
    """Return what a kind finds in rows, and nothing in those of a mask, bool [n]."""
    cumulative = np.where(silent, np.nan, spoken.cumulative)
    return replace(spoken, cumulative=cumulative, paged=spoken.paged & ~silent)


def context_of(spec: Spec, scales: SeriesScales) -> tuple[ContextEvidence, ...]:
    """Return a part for each kind of context that the model learnt, in the order of the kinds."""
    found: list[ContextEvidence] = []
    if spec.season is not None and spec.season.sums is not None:
        limit = limit_of(spec.threshold.limit, budget_shares(spec).sums)
        found.append(SeasonEvidence(spec.season, limit))
    if spec.season is not None and spec.season.jobs:
        found.append(JobEvidence(spec.season, spec))
    if spec.drift is not None:
        found.append(DriftEvidence(spec.drift, spec, scales))
    return tuple(found)
