"""The engine: readings in, verdicts and incidents out. The daemon, the backtest, the calibration and
the evaluation drive this same object.

It is a deterministic function of its state and of what it is given: no clock, no input or output, no
thread. Time arrives as a value (`tick`). However the readings are cut into batches, and in whatever
order they come within `lateness`, the same verdicts and incidents result.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from connectors.records import Readings
from detector.artifact import Artifact
from detector.evidence import Evidence
from detector.grid import Grid, GridCounters, Rows, lengths_of, starts_of
from detector.incidents import Incident, IncidentEvent, IncidentRules, Incidents
from detector.judge import Judge, Scored
from detector.slots import SlotArray, Slots
from detector.verdicts import State, Verdicts

_FLAT_ROWS_AT_ONCE = 1 << 18


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What the artifact leaves open.

    lateness_ns     how long a row waits for readings that come out of order
    stale_after_ns  silence, by the clock of `tick`, after which a series is stale; None: never
    device          "auto", "cpu" or "cuda"
    """

    lateness_ns: int = 0
    stale_after_ns: int | None = None
    device: str = "cpu"
    rules: IncidentRules = field(default_factory=IncidentRules)


@dataclass(slots=True)
class Counters:
    """Totals since the start; `readings` are the accepted and the dropped ones together."""

    readings: int = 0
    rows: int = 0
    gap_rows: int = 0
    windows: int = 0
    cells: int = 0
    nan_cells: int = 0
    states: list[int] = field(default_factory=lambda: [0] * len(State))
    grid: GridCounters = field(default_factory=GridCounters)


@dataclass(frozen=True, slots=True)
class StepResult:
    """Final verdicts, what changed among incidents, and provisional verdicts of rows that are not final
    yet and at which a window ends (none where nothing is delayed)."""

    verdicts: Verdicts
    incidents: tuple[IncidentEvent, ...]
    provisional: Verdicts


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest verdict of every series known, as arrays over series (for metrics)."""

    names: tuple[str, ...]
    score: NDArray[np.float64]
    state: NDArray[np.uint8]
    timestamp_ns: NDArray[np.int64]


class Engine:
    """Scores readings of any number of series with one artifact. Not thread-safe."""

    def __init__(self, artifact: Artifact, options: EngineOptions | None = None) -> None:
        spec = artifact.spec
        self.artifact = artifact
        self.options = options = options or EngineOptions()
        self._num_channels = len(spec.channels)
        self._slots = Slots()
        self._grid = Grid(self._num_channels, spec.interval_ns, options.lateness_ns)
        self._evidence = Evidence(artifact, options.device)
        self._judge = Judge(spec)
        self._incidents = Incidents(
            options.rules, spec.name, artifact.version, spec.channel_names, spec.column("band")
        )
        self._partition = SlotArray((), np.int32, -1)
        self._heard_ns = SlotArray((), np.int64, -1)
        self._score = SlotArray((), np.float64, np.nan)
        self._state = SlotArray((), np.uint8, int(State.WARMING))
        self._row = SlotArray((), np.int64, -1)
        self.counters = Counters(grid=self._grid.counters)

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
        )

    def step(self, readings: Readings, now_ns: int | None = None) -> StepResult:
        """Take readings in order of arrival; return the verdicts that became final.

        `now_ns` is the service's time: series not heard of for too long by it become stale, once each.
        """
        self.counters.readings += len(readings)
        slots = self._slots.of(readings.names)
        self._reserve()
        slot = slots[readings.series]
        self._partition.data[slot] = readings.partition
        parts, fresh = self._score_rows(self._grid.add(slot, readings.timestamp_ns, readings.values))
        if now_ns is not None and self.options.stale_after_ns is not None:
            self._heard_ns.data[slots] = now_ns
            parts.append(self._find_stale(now_ns, self.options.stale_after_ns))
        return self._conclude(parts, fresh)

    def tick(self, now_ns: int) -> StepResult:
        """Tell the service's time when nothing was read; see `step`."""
        return self.step(Readings.empty(self._num_channels), now_ns)

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
        self._incidents.drop([self._slots.names[slot] for slot in gone.tolist()])
        for part in (self._grid, self._evidence, self._judge):
            part.drop(gone)
        for array in self._arrays():
            array.reset(gone)
        self._slots.drop(gone.tolist())

    def _score_rows(self, rows: Rows) -> tuple[list[Scored], list[Scored]]:
        """Closed rows to final and provisional verdicts, some series at a time: memory stays bounded."""
        final, provisional = [], []
        for part in _split(rows, self.artifact.spec.window):
            said = self._evidence.add(part)
            final.append(self._judge.judge(said.settled))
            if said.fresh is not None:
                provisional.append(self._judge.judge_fresh(said.fresh))
        self._count()
        return final, provisional

    def _find_stale(self, now_ns: int, limit_ns: int) -> Scored:
        known = self._slots.known()
        heard = self._heard_ns.data[known]
        silent = (heard >= 0) & (now_ns - heard > limit_ns) & (self._state.data[known] != State.STALE)
        return self._judge.stale(known[silent], self._row.data[known[silent]])

    def _conclude(self, parts: list[Scored], fresh: list[Scored]) -> StepResult:
        """Name the series, remember the newest verdict of each, follow the incidents."""
        provisional = self._named(fresh)
        verdicts = self._named(parts)
        for newest in (verdicts, provisional):
            self._remember(newest)
        for state, num in enumerate(np.bincount(verdicts.state, minlength=len(State)).tolist()):
            self.counters.states[state] += num
        return StepResult(verdicts, self._incidents.judge(verdicts), provisional)

    def _named(self, parts: list[Scored]) -> Verdicts:
        if not any(map(len, parts)):
            return Verdicts.empty(self._num_channels)
        scored = Scored.joined(parts)
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

    def _count(self) -> None:
        """Take over what the evidence counted."""
        seen = self._evidence.counters
        counters = self.counters
        counters.rows, counters.gap_rows, counters.windows = seen.rows, seen.gap_rows, seen.windows
        counters.cells, counters.nan_cells = seen.cells, seen.nan_cells

    def _arrays(self) -> tuple[SlotArray, ...]:
        return (self._partition, self._heard_ns, self._score, self._state, self._row)

    def _reserve(self) -> None:
        for array in self._arrays():
            array.reserve(self._slots.size)


def _split(rows: Rows, window: int) -> list[Rows]:
    """Rows in parts of whole series; each part and its windows' history stay within a bound."""
    if len(rows) == 0:
        return []
    starts = starts_of(rows.slot)
    ends = starts + lengths_of(starts, len(rows))
    part = (ends + np.arange(1, len(starts) + 1) * window) // _FLAT_ROWS_AT_ONCE
    cuts = ends[:-1][np.diff(part) > 0].tolist()
    bounds = zip([0, *cuts], [*cuts, len(rows)], strict=True)
    return [Rows(rows.slot[a:b], rows.row[a:b], rows.values[a:b]) for a, b in bounds]
