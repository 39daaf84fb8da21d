"""Values that go into the engine and come out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from detector.incidents.decision import Applied
from detector.incidents.incident import IncidentEvent
from detector.incidents.rules import SUPPRESSIONS, IncidentRules, Suppression
from detector.rows.grid import GridCounters
from detector.rows.series_arrays import SeriesArray
from detector.scoring.cold.learnt_scales import ColdOptions
from detector.scoring.kinds import Kind
from detector.scoring.verdicts import State, Verdicts, is_judged


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options that the artifact leaves open.

    lateness_ns     how long a row waits for readings that come out of order
    stale_after_ns  silence, by the clock of `tick`, after which a series is stale; None: never
    forget_after_ns  time without a reading after which a series is forgotten; 0: never
    device          "auto", "cpu" or "cuda"
    threads         batches of windows scored at once; scores do not depend on it
    rules           the incident rules
    cold            how series begin that the model does not know
    """

    lateness_ns: int = 0
    stale_after_ns: int | None = None
    forget_after_ns: int = 0
    device: str = "cpu"
    threads: int = 1
    rules: IncidentRules = field(default_factory=IncidentRules)
    cold: ColdOptions = field(default_factory=ColdOptions)


@dataclass(slots=True)
class Counters:
    """Totals since the start.

    readings    accepted and dropped ones together
    cells       channel values expected in the rows; nan_cells: those without a value
    states      final verdicts by `State`
    judged      rows that were judged; masked: those of them without one of their values
    unjudged    rows that were not, by `State`
    evidence    anomalous rows by the `Kind` of evidence that spoke loudest
    modes       rows by the name of their mode of operation; none where the model has no modes
    suppressed  bad rows by the rule that kept them from opening an incident
    forgotten   series that were forgotten because they sent nothing
    common_scale_rows  rows of series with only common scales, although other series have their own
    """

    readings: int = 0
    rows: int = 0
    gap_rows: int = 0
    windows: int = 0
    cells: int = 0
    nan_cells: int = 0
    states: list[int] = field(default_factory=lambda: [0] * len(State))
    judged: int = 0
    masked: int = 0
    unjudged: list[int] = field(default_factory=lambda: [0] * len(State))
    evidence: list[int] = field(default_factory=lambda: [0] * len(Kind))
    modes: dict[str, int] = field(default_factory=dict)
    grid: GridCounters = field(default_factory=GridCounters)
    suppressed: dict[Suppression, int] = field(default_factory=lambda: dict.fromkeys(SUPPRESSIONS, 0))
    common_scale_rows: int = 0
    forgotten: int = 0

    def count(self, verdicts: Verdicts, modes: Sequence[str] = ()) -> None:
        """Set the counts of final verdicts. A stale series has a verdict, but that is no row.

        Args:
            verdicts: final verdicts.
            modes: names of the modes of operation, by number.
        """
        judged = verdicts.is_judged
        unjudged = verdicts.state[~judged & (verdicts.state != State.STALE)]
        self.states = np.bincount(verdicts.state, minlength=len(State)).tolist()
        self.judged = int(np.count_nonzero(judged))
        self.masked = int(np.count_nonzero(verdicts.is_masked))
        self.unjudged = np.bincount(unjudged, minlength=len(State)).tolist()
        spoke = verdicts.kind[verdicts.state == State.ANOMALOUS]
        self.evidence = np.bincount(spoke, minlength=len(Kind)).tolist()
        if modes:
            known = verdicts.mode[verdicts.mode >= 0]
            self.modes = dict(zip(modes, np.bincount(known, minlength=len(modes)).tolist(), strict=True))

    def add(self, more: Counters) -> None:
        """Add the counts of one step to these totals, in place."""
        self.readings += more.readings
        self.rows += more.rows
        self.gap_rows += more.gap_rows
        self.windows += more.windows
        self.cells += more.cells
        self.nan_cells += more.nan_cells
        self.common_scale_rows += more.common_scale_rows
        self.forgotten += more.forgotten
        self.states = [total + num for total, num in zip(self.states, more.states, strict=True)]
        self.judged += more.judged
        self.masked += more.masked
        self.unjudged = [total + num for total, num in zip(self.unjudged, more.unjudged, strict=True)]
        self.evidence = [total + num for total, num in zip(self.evidence, more.evidence, strict=True)]
        for mode, num in more.modes.items():
            self.modes[mode] = self.modes.get(mode, 0) + num
        self.grid.add(more.grid)
        for reason, num in more.suppressed.items():
            self.suppressed[reason] += num


class Feedback(Protocol):
    """What the incidents of a series change for its later rows.

    It acts between two parts of a series (`detector.engine.rounds`), never within one. What it decides must
    follow from the state of the series alone.
    """

    def acting(self, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which of these series it may change before their next part, bool [n]."""

    def wakes(self, event: IncidentEvent) -> bool:
        """Return whether a series for which it does not act may be one after this event."""

    def act(
        self, slots: NDArray[np.int32], finish_waiting: Callable[[NDArray[np.int32]], None]
    ) -> tuple[IncidentEvent, ...]:
        """Change these series, for which it is acting, before their next part; return what to report.

        `finish_waiting` judges the rows of series that wait for later windows.
        """

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that it keeps, in the order of the saved cells."""


class Learner(Feedback, Protocol):
    """A feedback that also learns from verdicts."""

    def remember(self, verdicts: Verdicts, slots: NDArray[np.int32]) -> None:
        """Learn from final verdicts; `slots` has the number of each series in `verdicts.names`."""

    def learnt_rows(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return from how many rows each of these series has learnt, int64 [n]."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A series that was forgotten, because it has sent nothing for too long.

    slot        its number until then
    partitions  those in which its saved state may lie, the newest first
    end         the offset behind its last reading in the first of them; 0 where it is unknown
    events      what was open of it was resolved
    """

    name: str
    slot: int
    partitions: tuple[int, ...]
    end: int
    events: tuple[IncidentEvent, ...]


@dataclass(frozen=True, slots=True)
class StepResult:
    """The output of one step of the engine.

    verdicts     final verdicts
    incidents    what changed among incidents
    provisional  verdicts of new rows at which a window ends; none if the model has no delay
    decisions    what people decided and took effect, or was ignored
    forgotten    the series that vanished; nothing of them is known any more
    """

    verdicts: Verdicts
    incidents: tuple[IncidentEvent, ...]
    provisional: Verdicts
    decisions: tuple[Applied, ...] = ()
    forgotten: tuple[Forgotten, ...] = ()

    def with_absent(self, silence: tuple[IncidentEvent, ...], forgotten: tuple[Forgotten, ...]) -> StepResult:
        """Return this result with the events of silence before its own, and those of the forgotten after."""
        retired = tuple(event for one in forgotten for event in one.events)
        return replace(self, incidents=silence + self.incidents + retired, forgotten=forgotten)


@dataclass(frozen=True, slots=True)
class Unjudged:
    """How long the rows of n series have not been judged, as arrays over series.

    num      int64 [n], rows since the last judged one, or since the first row; 0 if the newest was judged
    since_ns int64 [n], the event time of the first of these rows
    is_long  bool [n], they are more than a series needs to fill its window
    never    bool [n], no row of the series has been judged yet
    masked   bool [n], the newest row was judged without one of its values
    """

    num: NDArray[np.int64]
    since_ns: NDArray[np.int64]
    is_long: NDArray[np.bool_]
    never: NDArray[np.bool_]
    masked: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest verdict of every known series, as arrays over series (for metrics).

    threshold  float64 [n], in units of the calibrated one; NaN where unknown
    is_full    bool [n], whether the window is full
    slot       int32 [n], the series' number, for `Engine.channels_at`
    missing    bool [n, channels], the channel has stopped sending while others of the series go on
    unjudged   for how long no row was judged
    muted      bool [n], somebody muted the series at this row
    cold       bool [n], the series is new to the model, and still learns
    mode       int16 [n], the mode of operation, an index into `Modes.names`; -1 where it is unknown
    """

    names: tuple[str, ...]
    score: NDArray[np.float64]
    state: NDArray[np.uint8]
    timestamp_ns: NDArray[np.int64]
    threshold: NDArray[np.float64]
    is_full: NDArray[np.bool_]
    slot: NDArray[np.int32]
    missing: NDArray[np.bool_]
    unjudged: Unjudged
    muted: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    mode: NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))
    cold: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    @property
    def is_judged(self) -> NDArray[np.bool_]:
        """Whether the newest row of each series was judged, bool [n]."""
        return is_judged(self.score, self.state)

    @property
    def unjudged_seconds(self) -> NDArray[np.float64]:
        """Event time from the first row that was not judged to the newest, float64 [n]; NaN if judged.

        It is of series whose rows have not been judged for longer than a window takes (`Unjudged.is_long`).
        """
        seconds = np.maximum(0, self.timestamp_ns - self.unjudged.since_ns) / 1e9
        return np.where(self.unjudged.is_long, seconds, np.nan)


@dataclass(frozen=True, slots=True)
class Changed:
    """Series whose saved state is older than their state.

    slot       int32 [n]
    partition  int32 [n]
    since      int64 [n], the offset of the first reading that the saved state lacks, -1 if it lacks none
    urgent     bool [n], something was emitted for the series that no replay would emit again
    """

    slot: NDArray[np.int32]
    partition: NDArray[np.int32]
    since: NDArray[np.int64]
    urgent: NDArray[np.bool_]
