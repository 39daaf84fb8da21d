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
from detector.grid import Grid, GridCounters, Rows, lengths_of, starts_of
from detector.incidents import Incident, IncidentEvent, IncidentRules, Incidents
from detector.overlap import Judged, Overlap
from detector.quality import Flatline, out_of_range
from detector.residuals import OUT_OF_RANGE, STUCK, Judge, Scored
from detector.scoring import Scorer, scale_rows
from detector.slots import SlotArray, Slots
from detector.verdicts import State, Verdicts
from detector.windows import Lines, Stretch, Tails

_FLAT_ROWS_AT_ONCE = 1 << 18
_MIN_VALID_SHARE = 0.5


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
    """Final verdicts and what changed among incidents."""

    verdicts: Verdicts
    incidents: tuple[IncidentEvent, ...]


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
        num_channels = len(spec.channels)
        self.artifact = artifact
        self.options = options = options or EngineOptions()
        self._span = max(spec.scoring.delay, spec.stride - 1) + 1
        self._center, self._scale = spec.column("center"), spec.column("scale")
        self._valid_min, self._valid_max = spec.column("valid_min"), spec.column("valid_max")
        self._slots = Slots()
        self._grid = Grid(num_channels, spec.interval_ns, options.lateness_ns)
        self._lines = Lines(spec.max_gap)
        self._tails = Tails(spec.window - 1, num_channels)
        self._flatline = Flatline(spec.column("flatline_rows"))
        self._overlap = Overlap(self._span, num_channels)
        self._scorer = Scorer.on(artifact.module, spec.batch_size, options.device)
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
        parts = self._score_rows(self._grid.add(slot, readings.timestamp_ns, readings.values))
        if now_ns is not None and self.options.stale_after_ns is not None:
            self._heard_ns.data[slots] = now_ns
            parts.append(self._find_stale(now_ns, self.options.stale_after_ns))
        return self._conclude(parts)

    def tick(self, now_ns: int) -> StepResult:
        """Tell the service's time when nothing was read; see `step`."""
        return self.step(Readings.empty(len(self._center)), now_ns)

    def flush(self) -> StepResult:
        """Close every open row and finish every waiting one: the input has ended."""
        parts = self._score_rows(self._grid.flush())
        return self._conclude([*parts, self._judge.judge(self._overlap.flush())])

    def drop(self, partitions: frozenset[int]) -> None:
        """Forget the series of partitions that another member reads now."""
        known = self._slots.known()
        gone = known[np.isin(self._partition.data[known], list(partitions))]
        if len(gone) == 0:
            return
        self._incidents.drop([self._slots.names[slot] for slot in gone.tolist()])
        for part in (self._grid, self._lines, self._tails, self._flatline, self._overlap, self._judge):
            part.drop(gone)
        for array in self._arrays():
            array.reset(gone)
        self._slots.drop(gone.tolist())

    def _score_rows(self, rows: Rows) -> list[Scored]:
        """Closed rows to verdicts, some series at a time so that memory stays bounded."""
        parts = _split(rows, self.artifact.spec.window)
        return [self._judge.judge(self._score_stretch(part)) for part in parts]

    def _score_stretch(self, rows: Rows) -> Judged:
        """The hot path: rows -> stretch -> windows -> reconstruction -> judged rows."""
        spec = self.artifact.spec
        stretch = self._lines.extend(rows)
        flags = self._flags(stretch)
        scaled = scale_rows(stretch.values, self._center, self._scale)
        flat, at = self._tails.flatten(stretch, scaled)
        due = (stretch.age >= spec.window) & ((stretch.row + 1) % spec.stride == 0)
        scored = np.flatnonzero(due)
        scored = scored[_enough_values(flat, at[scored], spec.window)]
        reconstructed = self._scorer.reconstruct(flat, at[scored], spec.window, self._span)
        self._count(stretch, len(rows), len(scored))
        return self._overlap.judge(stretch, flags, scored, reconstructed)

    def _find_stale(self, now_ns: int, limit_ns: int) -> Scored:
        known = self._slots.known()
        heard = self._heard_ns.data[known]
        silent = (heard >= 0) & (now_ns - heard > limit_ns) & (self._state.data[known] != State.STALE)
        return self._judge.stale(known[silent], self._row.data[known[silent]])

    def _flags(self, stretch: Stretch) -> NDArray[np.uint8]:
        stuck = self._flatline.stuck(stretch)
        impossible = out_of_range(stretch.values, self._valid_min, self._valid_max)
        flags: NDArray[np.uint8] = stuck * STUCK | impossible * OUT_OF_RANGE
        return flags

    def _conclude(self, parts: list[Scored]) -> StepResult:
        """Name the series, remember the newest verdict of each, follow the incidents."""
        if not any(map(len, parts)):
            return StepResult(Verdicts.empty(len(self._center)), ())
        scored = Scored.joined(parts)
        starts = starts_of(scored.slot)
        lengths = lengths_of(starts, len(scored))
        last = starts + lengths - 1
        present = scored.slot[last]
        self._score.data[present] = scored.score[last]
        self._state.data[present] = scored.state[last]
        self._row.data[present] = scored.row[last]
        for state, num in enumerate(np.bincount(scored.state, minlength=len(State)).tolist()):
            self.counters.states[state] += num
        verdicts = Verdicts(
            names=tuple(self._slots.names[slot] for slot in present.tolist()),
            series=np.repeat(np.arange(len(starts), dtype=np.int32), lengths),
            timestamp_ns=scored.row * self.artifact.spec.interval_ns,
            score=scored.score,
            state=scored.state,
            actual=scored.actual,
            expected=scored.expected,
            contribution=scored.contribution,
        )
        return StepResult(verdicts, self._incidents.judge(verdicts))

    def _count(self, stretch: Stretch, num_rows: int, num_windows: int) -> None:
        self.counters.rows += num_rows
        self.counters.gap_rows += len(stretch) - num_rows
        self.counters.windows += num_windows
        self.counters.cells += stretch.values.size
        self.counters.nan_cells += int(np.count_nonzero(np.isnan(stretch.values)))

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


def _enough_values(flat: NDArray[np.float32], ends: NDArray[np.intp], window: int) -> NDArray[np.bool_]:
    """Which windows of `flat` hold values in enough of their cells to be judged, bool [N]."""
    if not np.isnan(flat.sum(dtype=np.float64)):  # one cheap pass where nothing is missing
        return np.ones(len(ends), np.bool_)
    valid = np.cumsum((~np.isnan(flat)).sum(axis=1))
    inside = valid[ends] - np.where(ends >= window, valid[ends - window], 0)
    enough: NDArray[np.bool_] = inside >= _MIN_VALID_SHARE * window * flat.shape[1]
    return enough
