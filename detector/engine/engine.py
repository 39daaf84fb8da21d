"""The engine: readings in, verdicts and incidents out. The daemon, the backtest, the calibration and
the evaluation drive this same object.

It is a deterministic function of its state and of what it is given: no clock, no input or output, no
thread. Time arrives as a value (`tick`). However the readings are cut into batches, and in whatever
order they come within `lateness`, the same verdicts and incidents result.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from connectors.records import Readings
from detector.artifact.spec import Artifact, Spec
from detector.engine.snapshot import Origin, SeriesState, gather, scatter
from detector.engine.values import Changed, Counters, EngineOptions, Latest, StepResult
from detector.incidents.lifecycle import Incident, IncidentEvent, Incidents
from detector.incidents.rows_since_gap import RowsSinceGap
from detector.incidents.rules import ChannelRule, IncidentRules
from detector.incidents.silence import SilenceWatch
from detector.rows.grid import Grid, Rows, split_rows
from detector.rows.series_arrays import SeriesArray, SeriesIndex, lengths_of, starts_of
from detector.scoring.row_scorer import RowScorer, RowVerdicts
from detector.scoring.verdicts import State, Verdicts
from detector.scoring.window_scorer import WindowScorer

__all__ = ["Changed", "Counters", "Engine", "EngineOptions", "Latest", "StepResult"]

_SAVED = -1


class Engine:
    """Scores readings of any number of series with one artifact. Not thread-safe."""

    def __init__(self, artifact: Artifact, options: EngineOptions | None = None) -> None:
        spec = artifact.spec
        self.artifact = artifact
        self.options = options = options or EngineOptions()
        self._num_channels = len(spec.channels)
        self._slots = SeriesIndex()
        self._grid = Grid(self._num_channels, spec.interval_ns, options.lateness_ns)
        self._evidence = WindowScorer(artifact, options.device, options.threads)
        self._judge = RowScorer(spec)
        self._incidents = Incidents(
            options.rules, spec.name, artifact.version, spec.channel_names, spec.column("band")
        )
        self._settling = RowsSinceGap()
        self._watchdog = SilenceWatch(options.rules, self._incidents, self._slots.names)
        self._evidence.use_ranges(*_ranges(spec, options.rules))
        self._partition = SeriesArray((), np.int32, -1)
        self._score = SeriesArray((), np.float64, np.nan)
        self._state = SeriesArray((), np.uint8, int(State.WARMING))
        self._row = SeriesArray((), np.int64, -1)
        self._threshold = SeriesArray((), np.float64, np.nan)
        self._channels = SeriesArray((3, self._num_channels), np.float64, np.nan)
        self._since = SeriesArray((), np.int64, _SAVED)
        self._urgent = SeriesArray((), np.bool_, False)
        self._inherited: set[str] = set()
        self._is_silent = False
        self._origin: Origin | None = None
        self.counters = Counters(grid=self._grid.counters, suppressed=self._incidents.suppressed)

    @property
    def open_incidents(self) -> tuple[Incident, ...]:
        """The incidents that are firing."""
        return self._incidents.open

    @property
    def latest(self) -> Latest:
        """The newest verdict of every series known."""
        known = self._slots.known()
        names = tuple(self._slots.names[slot] for slot in known.tolist())
        return Latest(
            names,
            self._score.data[known],
            self._state.data[known],
            self._row.data[known] * self.artifact.spec.interval_ns,
            self._threshold.data[known],
            self._evidence.ages(known) >= self.artifact.spec.window,
            known,
        )

    def channels_at(self, slots: NDArray[np.int32]) -> NDArray[np.float64]:
        """Of the newest verdict of these series the actual values, expected values (both physical units) and
        contributions, [n, 3, channels]; NaN where unknown."""
        found: NDArray[np.float64] = self._channels.data[slots]
        return found

    def slots_of(self, names: Sequence[str]) -> NDArray[np.int32]:
        """The numbers of known series, int32 [len(names)]."""
        return self._slots.of(names)

    def step(self, readings: Readings, now_ns: int | None = None) -> StepResult:
        """Take readings in order of arrival; return the verdicts that became final.

        `now_ns` is the service's time: series not heard of for too long by it become stale, once each.
        """
        self.counters.readings += len(readings)
        slots = self._slots.of(readings.names)
        self._reserve()
        slot = slots[readings.series]
        self._partition.data[slot] = readings.partition
        self._note_changes(slot, readings.offset)
        parts, fresh = self._score_rows(self._grid.add(slot, readings.timestamp_ns, readings.values))
        if now_ns is None:
            return self._conclude(parts, fresh)
        noticed = self._watch(slots, readings, now_ns)
        if self.options.stale_after_ns is not None:
            parts.append(self._find_stale(now_ns, self.options.stale_after_ns))
        return self._conclude(parts, fresh, noticed)

    def tick(self, now_ns: int) -> StepResult:
        """Tell the service's time when nothing was read; see `step`."""
        return self.step(Readings.empty(self._num_channels), now_ns)

    def step_in_silence(self, readings: Readings) -> None:
        """Take readings that were judged before, by this or another engine: nothing is said or counted.

        Of series whose state another model or other rules left, the incidents stay as they were left: what
        that one said of them is known, what this one would have said never was."""
        kept = copy.deepcopy(self.counters), copy.deepcopy(self._evidence.counters)
        self._is_silent = True
        self.step(readings)
        self._is_silent = False
        self.counters, self._evidence.counters = kept
        self._grid.counters = self.counters.grid
        self._incidents.suppressed = self.counters.suppressed

    def use_rules(self, rules: IncidentRules) -> None:
        """Judge by other rules from the next row on; what is open stays. All series are to be saved at once,
        so that nothing is replayed by rules that it was not judged by.

        Raises ValueError for rules of channels that the model does not know; the old rules are kept then.
        """
        self._incidents.use_rules(rules)
        self.options = replace(self.options, rules=rules)
        self._origin = None
        self._watchdog.use_rules(rules)
        self._evidence.use_ranges(*_ranges(self.artifact.spec, rules))
        self._urgent.data[self._slots.known()] = True

    def flush(self) -> StepResult:
        """Close every open row and finish every waiting one: the input has ended."""
        parts, _ = self._score_rows(self._grid.flush())
        return self._conclude([*parts, self._judge.judge(self._evidence.flush())], [])

    def drop(self, partitions: frozenset[int]) -> None:
        """Forget the series of partitions that another member reads now."""
        known = self._slots.known()
        gone = known[np.isin(self._partition.data[known], list(partitions))]
        if len(gone) == 0:
            return
        names = [self._slots.names[slot] for slot in gone.tolist()]
        self._incidents.drop(names)
        self._inherited -= set(names)
        for part in (self._grid, self._evidence, self._judge, self._settling, self._watchdog):
            part.drop(gone)
        for array in self._arrays():
            array.reset(gone)
        self._slots.drop(gone.tolist())

    def changed(self) -> Changed:
        """The series that have changed since they were saved."""
        known = self._slots.known()
        urgent = self._urgent.data[known]
        slot = known[urgent | (self._since.data[known] != _SAVED)]
        return Changed(slot, self._partition.data[slot], self._since.data[slot], self._urgent.data[slot])

    def save(self, slots: NDArray[np.int32]) -> list[SeriesState]:
        """The state of these series as it is now; they count as unchanged from here on."""
        if len(slots) == 0:
            return []
        slots = np.sort(slots)
        cells = gather(self._kept(), slots)
        self._since.data[slots] = _SAVED
        self._urgent.data[slots] = False
        names = [self._slots.names[slot] for slot in slots.tolist()]
        return [
            SeriesState(name, self.origin, row.tobytes(), times, values, self._incidents.track(name))
            for name, row, (times, values) in zip(names, cells, self._grid.open_readings(slots), strict=True)
        ]

    def restore(self, states: Sequence[SeriesState], partition: int, now_ns: int | None) -> None:
        """Take up series of a partition where another member left them; none of them may be known here.

        Those of another layout bring their open incident and, on the same grid, the readings of open rows.
        Those that another model or other rules left are to be saved at once. Raises ValueError for cells
        that are not those of their layout."""
        if not states:
            return
        slots = self._slots.of([state.name for state in states])
        self._reserve()
        self._partition.data[slots] = partition
        for slot, state in zip(slots.tolist(), states, strict=True):
            if state.track is not None:
                self._incidents.take_up(state.name, state.track)
            if not state.origin.judges_like(self.origin):
                self._inherited.add(state.name)
                self._urgent.data[slot] = True
        self._watchdog.begin(slots, now_ns)
        whole = [state for state in states if state.origin.layout == self.origin.layout]
        self._restore_cells(whole)
        others = [state for state in states if state.origin.layout != self.origin.layout]
        self._restore_open(whole + [state for state in others if state.origin.grid == self.origin.grid])

    def settle(self) -> StepResult:
        """Finish every waiting row as it stands: who comes next cannot go on with them."""
        judged = self._evidence.flush()
        self._urgent.data[judged.slot] = True
        return self._conclude([self._judge.judge(judged)], [])

    def become(self, other: Engine) -> None:
        """Go on with another artifact: everything of the fresh engine `other`, and all series as they are.

        All of them are to be saved at once: from readings judged before, the new model would make another
        state than the one that it takes over here."""
        known = self._slots.known()
        partition, since = (array.data[known] for array in (self._partition, self._since))
        names = [self._slots.names[slot] for slot in known.tolist()]
        states = self.save(known)
        for number in np.unique(partition).tolist():
            other.restore([states[at] for at in np.flatnonzero(partition == number).tolist()], number, None)
        slots = other._slots.of(names)
        other._watchdog.go_on(self._watchdog, known, slots)
        other._since.data[slots], other._urgent.data[slots] = since, True
        other._inherited.clear()
        other.counters = self.counters
        other._grid.counters, other._evidence.counters = self.counters.grid, self._evidence.counters
        other._incidents.suppressed = self.counters.suppressed
        vars(self).update(vars(other))  # whoever holds this engine goes on with the new one

    @property
    def origin(self) -> Origin:
        """As whom this engine leaves states."""
        if self._origin is None:
            self._origin = Origin.of(self.artifact, self.options.lateness_ns, self.options.rules)
        return self._origin

    def _restore_cells(self, states: list[SeriesState]) -> None:
        if not states:
            return
        slots = self._slots.of([state.name for state in states])
        scatter(self._kept(), slots, np.stack([np.frombuffer(state.cells, np.uint8) for state in states]))
        for origin in {state.origin for state in states} - {self.origin}:
            theirs = slots[[state.origin == origin for state in states]]
            self._evidence.rescale(theirs, *origin.scaling())
            if origin.model != self.origin.model:
                self._evidence.unsay(theirs)

    def _restore_open(self, states: list[SeriesState]) -> None:
        if not states:
            return
        channels = self.artifact.spec.channel_names
        slots = self._slots.of([state.name for state in states])
        self._grid.reopen(
            np.repeat(slots, [len(state.timestamp_ns) for state in states]),
            np.concatenate([state.timestamp_ns for state in states]),
            np.concatenate([state.values_of(channels) for state in states]),
        )
        self._grid.resume(slots, np.array([state.watermark_ns for state in states], np.int64))

    def _note_changes(self, slot: NDArray[np.int32], offset: NDArray[np.int64]) -> None:
        """Remember the first reading of each series that no saved state holds."""
        first = np.flatnonzero(self._since.data[slot] == _SAVED)[::-1]
        self._since.data[slot[first]] = offset[first]

    def _kept(self) -> list[SeriesArray]:
        """Everything that is remembered of a series in arrays, but for where and when it was heard."""
        own = [self._score, self._state, self._row, *self._settling.arrays()]
        return [*self._grid.arrays(), *self._evidence.arrays(), *self._judge.arrays(), *own]

    def _score_rows(self, rows: Rows) -> tuple[list[RowVerdicts], list[RowVerdicts]]:
        """Closed rows to final and provisional verdicts, some series at a time: memory stays bounded."""
        final, provisional = [], []
        for part in split_rows(rows, self.artifact.spec.window):
            said = self._evidence.add(part)
            final.append(self._judge.judge(said.settled))
            if said.fresh is not None:
                provisional.append(self._judge.judge_fresh(said.fresh))
        self._count()
        return final, provisional

    def _watch(self, slots: NDArray[np.int32], readings: Readings, now_ns: int) -> tuple[IncidentEvent, ...]:
        """What the watchdog says; no reading will make it say so again, so it is to be saved at once."""
        back = self._watchdog.hear(slots, readings, now_ns)
        known = self._slots.known() if self._watchdog.is_on else np.empty(0, np.int32)
        gone = self._watchdog.watch(known, self._grid.newest(known), now_ns)
        self._urgent.data[[*back.changed, *gone.changed]] = True
        return back.events + gone.events

    def _find_stale(self, now_ns: int, limit_ns: int) -> RowVerdicts:
        late = self._watchdog.stale(self._slots.known(), now_ns, limit_ns)
        stale = late[self._state.data[late] != State.STALE]
        self._urgent.data[stale] = True
        return self._judge.stale(stale, self._row.data[stale])

    def _conclude(
        self, parts: list[RowVerdicts], fresh: list[RowVerdicts], noticed: tuple[IncidentEvent, ...] = ()
    ) -> StepResult:
        """Name the series, remember the newest verdict of each, follow the incidents."""
        provisional = self._named(fresh)
        verdicts = self._named(parts)
        for newest in (verdicts, provisional):
            self._remember(newest)
        for state, num in enumerate(np.bincount(verdicts.state, minlength=len(State)).tolist()):
            self.counters.states[state] += num
        since_gap = self._settling.since_gap(verdicts, self._slots.of(verdicts.names))
        but = self._inherited if self._is_silent else ()
        events = self._incidents.judge(verdicts, since_gap, but)
        self._urgent.data[self._slots.of([event.incident.series for event in events])] = True
        return StepResult(verdicts, noticed + events, provisional)

    def _named(self, parts: list[RowVerdicts]) -> Verdicts:
        if not any(map(len, parts)):
            return Verdicts.empty(self._num_channels)
        scored = RowVerdicts.joined(parts)
        starts = starts_of(scored.slot)
        return Verdicts(
            names=tuple(self._slots.names[slot] for slot in scored.slot[starts].tolist()),
            series=np.repeat(np.arange(len(starts), dtype=np.int32), lengths_of(starts, len(scored))),
            timestamp_ns=scored.row * self.artifact.spec.interval_ns,
            score=scored.score,
            state=scored.state,
            actual=scored.actual,
            expected=scored.expected,
            contribution=scored.contribution,
            threshold=scored.threshold,
        )

    def _remember(self, verdicts: Verdicts) -> None:
        """The newest verdict of each series, provisional ones too."""
        if len(verdicts) == 0:
            return
        present = self._slots.of(verdicts.names)
        starts = starts_of(verdicts.series)
        last = starts + lengths_of(starts, len(verdicts)) - 1
        row = verdicts.timestamp_ns[last] // self.artifact.spec.interval_ns
        newest = row >= self._row.data[present]
        present, last = present[newest], last[newest]
        self._score.data[present] = verdicts.score[last]
        self._state.data[present] = verdicts.state[last]
        self._row.data[present] = row[newest]
        self._threshold.data[present] = verdicts.threshold[last]
        columns = (verdicts.actual[last], verdicts.expected[last], verdicts.contribution[last])
        self._channels.data[present] = np.stack(columns, axis=1)

    def _count(self) -> None:
        """Take over what the evidence counted."""
        seen = self._evidence.counters
        counters = self.counters
        counters.rows, counters.gap_rows, counters.windows = seen.rows, seen.gap_rows, seen.windows
        counters.cells, counters.nan_cells = seen.cells, seen.nan_cells

    def _arrays(self) -> tuple[SeriesArray, ...]:
        return (
            self._partition,
            *self._watchdog.arrays(),
            self._score,
            self._state,
            self._row,
            self._threshold,
            self._channels,
            self._since,
            self._urgent,
        )

    def _reserve(self) -> None:
        for array in self._arrays():
            array.reserve(self._slots.size)


def _ranges(spec: Spec, rules: IncidentRules) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least and greatest possible value of each channel, by the rules or else the model."""
    known = [(rules.channels.get(c.name, ChannelRule()), c) for c in spec.channels]
    least = [c.valid_min if rule.valid_min is None else rule.valid_min for rule, c in known]
    greatest = [c.valid_max if rule.valid_max is None else rule.valid_max for rule, c in known]
    return np.array(least, np.float64), np.array(greatest, np.float64)
