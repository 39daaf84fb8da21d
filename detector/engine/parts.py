"""The parts of an engine, and what they do together.

Everything that depends on the artifact or on the rules is in here. An engine therefore takes another model
over by exchanging its one `Parts` object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Artifact, Spec
from detector.engine.decided.usual_levels import UsualLevels
from detector.engine.judged_rows import JudgedRows
from detector.engine.latest import LatestVerdicts
from detector.engine.listening import Listening
from detector.engine.saved_state import SavedState
from detector.engine.snapshot import Origin, gather, scatter
from detector.engine.values import Counters, EngineOptions, Feedback, Learner
from detector.incidents.incidents import Incidents
from detector.incidents.passages import Passages
from detector.incidents.rules import IncidentRules
from detector.incidents.shapes.knowledge import Knowledge, ScalesOf
from detector.incidents.silence import SilenceWatch
from detector.rows.clock_rules import News, Turn
from detector.rows.grid import Grid, GridCounters
from detector.rows.missing_channels import LEAST_MISSING_ROWS
from detector.rows.series_arrays import SeriesArray, SeriesIndex
from detector.scoring.row_scorer import RowScorer, RowVerdicts
from detector.scoring.series_scales import SeriesScales
from detector.scoring.window_scorer import WindowScorer, slow_rows_of

_MOST_NEWS = 1000


@dataclass(slots=True)
class Parts:
    """The stages of scoring in their order, and what is kept of every series.

    series         the number (slot) of every series, shared by all parts
    grid           readings -> closed rows
    window_scorer  rows -> statistics of every row
    row_scorer     statistics -> verdicts
    incidents      verdicts -> incidents
    silence        incidents of series that send nothing
    latest         the newest verdict of every series
    judged         for how long the rows of every series were not judged
    listening      for how long every series has sent nothing
    saved          what the saved state of every series holds
    levels         the usual level of every channel of every series
    decided        which decisions of people every series has taken in: the topic, and the greatest number
    feedback       what incidents change for later rows
    cold           lets series learn that the model does not know; nothing where it does not say how
    news           what happened to the clocks of series, until somebody takes it
    """

    artifact: Artifact
    options: EngineOptions
    series: SeriesIndex
    grid: Grid
    window_scorer: WindowScorer
    row_scorer: RowScorer
    incidents: Incidents
    silence: SilenceWatch
    latest: LatestVerdicts
    judged: JudgedRows
    listening: Listening
    saved: SavedState
    levels: UsualLevels
    decided: SeriesArray = field(default_factory=lambda: SeriesArray((2,), np.int64, -1))
    feedback: tuple[Feedback, ...] = ()
    cold: tuple[Learner, ...] = ()
    news: list[tuple[str, News]] = field(default_factory=list)
    _origin: Origin | None = None

    @classmethod
    def of(cls, artifact: Artifact, options: EngineOptions) -> Self:
        """Make the parts of an engine that knows no series yet.

        Raises:
            ValueError: a rule names a channel that the model does not know.
        """
        spec, rules, series = artifact.spec, options.rules, SeriesIndex()
        slow = slow_rows_of(spec.max_gap)
        grid = Grid(len(spec.channels), spec.interval_ns, options.lateness_ns, slow, spec.hold_ns)
        window_scorer = WindowScorer(artifact, options.device, options.threads)
        window_scorer.scales.learnt.use(options.cold.begins(spec.cold))
        scales_of = _scales_of(spec, series, window_scorer.scales)
        band_of = _bands(spec, scales_of)
        incidents = Incidents(rules, spec.name, artifact.version, spec.channel_names, band_of, series)
        modes = () if spec.modes is None else spec.modes.names
        incidents.know_passages(Passages(spec.modes, spec.interval_of).of, modes)
        incidents.explain_by(Knowledge(spec.channel_names, band_of, spec, scales_of))
        parts = cls(
            artifact=artifact,
            options=options,
            series=series,
            grid=grid,
            window_scorer=window_scorer,
            row_scorer=RowScorer(spec, window_scorer.scales, grid.intervals),
            incidents=incidents,
            silence=SilenceWatch(rules, incidents, series.names),
            latest=LatestVerdicts(series, len(spec.channels)),
            judged=JudgedRows(series),
            listening=Listening(options.forget_after_ns),
            saved=SavedState(),
            levels=UsualLevels(len(spec.channels), window_scorer.scales, grid.intervals),
        )
        parts._check_by(rules)
        return parts

    @property
    def origin(self) -> Origin:
        """The model, layout and rules under which these parts save states."""
        if self._origin is None:
            options = self.options
            self._origin = Origin.of(self.artifact, options.lateness_ns, options.rules, options.cold)
        return self._origin

    def use_rules(self, rules: IncidentRules) -> None:
        """Apply other rules from the next row on. Every series becomes urgent to save.

        A restart must never replay rows under rules that did not apply to them.

        Raises:
            ValueError: a rule names a channel that the model does not know. The old rules stay in force.
        """
        self.incidents.use_rules(rules)
        self.options = replace(self.options, rules=rules)
        self._origin = None
        self.silence.use_rules(rules)
        self._check_by(rules)
        self.saved.mark_urgent(self.series.known())

    def _check_by(self, rules: IncidentRules) -> None:
        """Apply the ranges and limits of the rules to the checks of single channels."""
        spec = self.artifact.spec
        self.window_scorer.cells.use_ranges(*_valid_ranges(spec, rules))
        self.window_scorer.cells.use_missing_limits(_missing_limits(spec, rules))
        self.row_scorer.evidences.use_kinds(rules.without)
        self.row_scorer.evidences.use_days(rules.special_days)

    def saved_arrays(self) -> list[SeriesArray]:
        """Return the arrays whose entries are the saved cells of a series.

        The order is part of the snapshot format: raise `snapshot.FORMAT` when it changes.
        """
        feedback = (array for one in self.feedback for array in one.arrays())
        kept = [*self.scoring_arrays(), *self.following_arrays()]
        absent = [*self.listening.arrays(), *self.saved.saved_arrays()]
        return [*self.grid.arrays(), *kept, *feedback, *absent, *self.decided_arrays()]

    def decided_arrays(self) -> list[SeriesArray]:
        """Return the last of the saved arrays: what people decided, which holds for every model and grid."""
        return [*self.incidents.mutes.arrays(), self.decided]

    def scoring_arrays(self) -> list[SeriesArray]:
        """Return the saved arrays that scoring rows changes."""
        return [*self.window_scorer.arrays(), *self.row_scorer.arrays()]

    def following_arrays(self) -> list[SeriesArray]:
        """Return the saved arrays that following verdicts changes."""
        followers = (self.latest, self.judged, self.incidents, self.levels)
        return [array for part in followers for array in part.arrays()]

    def number(self, names: tuple[str, ...] | list[str]) -> NDArray[np.int32]:
        """Return the slots of these series, int32 [len(names)], and make room for new ones."""
        spec = self.artifact.spec
        is_described = any((spec.absent, spec.own_scales, spec.reference, spec.season, spec.drift, spec.cold))
        new = [name for name in names if name not in self.series] if is_described else []
        slots = self.series.of(names)
        self._know_intervals(slots, names)
        self._describe(new)
        for part in (self.silence, self.latest, self.judged, self.listening, self.saved):
            for array in part.arrays():
                array.reserve(self.series.size)
        self.decided.reserve(self.series.size)
        return slots

    def _know_intervals(self, slots: NDArray[np.int32], names: Sequence[str]) -> None:
        """Give new series the interval that training found for them."""
        stated = self.artifact.spec.intervals
        if stated:
            new = np.flatnonzero(self.grid.newest(slots) < 0).tolist()
            known = [at for at in new if names[at] in stated]
            self.grid.know(slots[known], np.array([stated[names[at]] for at in known], np.int64))

    def take_news(self) -> list[tuple[str, News]]:
        """Return what happened to the clocks of series since the last call."""
        refuted = self.grid.take_refuted()[: _MOST_NEWS - len(self.news)]
        news, self.news = self.news, []
        return news + [(self.series.names[slot], "wrong clock") for slot in refuted]

    def restart(self, turned: Mapping[int, Turn]) -> RowVerdicts:
        """Start series again whose rows have other numbers from now on; return their waiting rows."""
        slots = np.array(sorted(turned), np.int32)
        waiting = self.row_scorer.score(self.window_scorer.flush(slots))
        shifts = self.window_scorer.scales.shifts(slots)
        learnt = gather(_cold_arrays(self), slots) if self.cold else None
        self.window_scorer.drop(slots)
        self.row_scorer.restart(slots)
        self.window_scorer.scales.move(slots, shifts)  # what was accepted stays, whatever the clock
        self._drop_feedback(slots)
        self._describe([self.series.names[slot] for slot in slots.tolist()])
        if learnt is not None:
            scatter(_cold_arrays(self), slots, learnt)
        self.latest.restart(slots)
        named = [(self.series.names[slot], turned[slot]) for slot in slots.tolist()]
        self.news += named[: _MOST_NEWS - len(self.news)]
        self.saved.mark_urgent(slots)
        return waiting

    def _describe(self, names: list[str]) -> None:
        """Tell the parts what the model knows about new series."""
        spec = self.artifact.spec
        slots = self.series.of(names)
        self.window_scorer.scales.name(slots, names)
        self.row_scorer.evidences.name(slots, names)
        for name in names:
            absent = [spec.channel_names.index(channel) for channel in spec.absent.get(name, ())]
            if absent:
                self.window_scorer.cells.never_had(int(self.series.of([name])[0]), absent)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        scoring = (self.grid, self.window_scorer, self.row_scorer)
        followers = (self.incidents, self.silence, self.latest, self.judged, self.listening)
        for part in (*scoring, *followers, self.saved, self.levels):
            part.drop(slots)
        self.decided.reset(slots)
        self._drop_feedback(slots)
        self.series.drop(slots.tolist())

    def _drop_feedback(self, slots: NDArray[np.int32]) -> None:
        for one in self.feedback:
            one.drop(slots)


def take_counts(parts: Parts) -> Counters:
    """Return what the parts have counted since the last call, and let them count from zero again."""
    seen = parts.window_scorer.counts.take()
    counts = Counters(
        rows=seen.rows,
        gap_rows=seen.gap_rows,
        windows=seen.windows,
        cells=seen.cells,
        nan_cells=seen.nan_cells,
        common_scale_rows=seen.common_scale_rows,
        grid=parts.grid.counters,
        suppressed=parts.incidents.take_suppressed(),
    )
    parts.grid.counters = GridCounters()
    return counts


def _cold_arrays(parts: Parts) -> list[SeriesArray]:
    """Return the arrays of what series have learnt that the model does not know."""
    arrays = [array for one in parts.cold for array in one.arrays()]
    return [*parts.window_scorer.scales.learnt.arrays(), *arrays]


def _scales_of(spec: Spec, series: SeriesIndex, scales: SeriesScales) -> ScalesOf:
    """Return what gives centre and scale of each channel in a series: its own, learnt, or the common ones."""

    def scales_of(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if name not in series:
            return spec.scales_of(name)
        center, scale = scales.trained_at(series.of([name]))
        return center[0], scale[0]

    return scales_of


def _bands(spec: Spec, scales_of: ScalesOf) -> Callable[[str], NDArray[np.float64]]:
    """Return what gives half the width of the expected band of each channel in a series, float64 [C]."""

    def band_of(name: str) -> NDArray[np.float64]:
        band: NDArray[np.float64] = spec.column("band") * (scales_of(name)[1] / spec.column("scale"))
        return band

    return band_of


def channels_at(parts: Parts, slots: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return what `LatestVerdicts.channels_at` does, and half the width of the bands, float64 [n, 4, C]."""
    found, spec = parts.latest.channels_at(slots), parts.artifact.spec
    band = np.empty((len(slots), 1, len(spec.channels)))
    scale = parts.window_scorer.scales.trained_at(slots)[1]
    band[:, 0] = spec.column("band") * (scale / spec.column("scale"))
    return np.concatenate([found, band], axis=1)


def _missing_limits(spec: Spec, rules: IncidentRules) -> NDArray[np.int64]:
    """Return after how many rows without it each channel is missing, int64 [C]; 0: never.

    The rule of the channel comes first, then the rule of all channels, then what the model has learnt.
    A model that learnt nothing knows no window without the channel, so that a whole window is the limit.
    """
    limits = []
    for channel in spec.channels:
        own = rules.of_channel(channel.name).channel_after
        stated = rules.channel_after if own is None else own
        learnt = channel.missing_rows or max(LEAST_MISSING_ROWS, spec.window)
        limits.append(learnt if stated is None else stated)
    return np.array(limits, np.int64)


def _valid_ranges(spec: Spec, rules: IncidentRules) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and greatest possible value of each channel, float64 [C] each.

    A bound of the rules replaces that of the model.
    """
    pairs = [(rules.of_channel(channel.name), channel) for channel in spec.channels]
    least = [channel.valid_min if rule.valid_min is None else rule.valid_min for rule, channel in pairs]
    greatest = [channel.valid_max if rule.valid_max is None else rule.valid_max for rule, channel in pairs]
    return np.array(least, np.float64), np.array(greatest, np.float64)
