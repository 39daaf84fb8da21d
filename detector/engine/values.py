"""Values that go into the engine and come out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detector.incidents.incident import IncidentEvent
from detector.incidents.rules import SUPPRESSIONS, IncidentRules, Suppression
from detector.rows.grid import GridCounters
from detector.scoring.verdicts import State, Verdicts


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options that the artifact leaves open.

    lateness_ns     how long a row waits for readings that come out of order
    stale_after_ns  silence, by the clock of `tick`, after which a series is stale; None: never
    device          "auto", "cpu" or "cuda"
    threads         batches of windows scored at once; scores do not depend on it
    """

    lateness_ns: int = 0
    stale_after_ns: int | None = None
    device: str = "cpu"
    threads: int = 1
    rules: IncidentRules = field(default_factory=IncidentRules)


@dataclass(slots=True)
class Counters:
    """Totals since the start.

    readings    accepted and dropped ones together
    cells       channel values expected in the rows; nan_cells: those without a value
    states      final verdicts by `State`
    suppressed  bad rows by the rule that kept them from opening an incident
    common_scale_rows  rows of series with only common scales, although other series have their own
    """

    readings: int = 0
    rows: int = 0
    gap_rows: int = 0
    windows: int = 0
    cells: int = 0
    nan_cells: int = 0
    states: list[int] = field(default_factory=lambda: [0] * len(State))
    grid: GridCounters = field(default_factory=GridCounters)
    suppressed: dict[Suppression, int] = field(default_factory=lambda: dict.fromkeys(SUPPRESSIONS, 0))
    common_scale_rows: int = 0

    def add(self, more: Counters) -> None:
        """Add the counts of one step to these totals, in place."""
        self.readings += more.readings
        self.rows += more.rows
        self.gap_rows += more.gap_rows
        self.windows += more.windows
        self.cells += more.cells
        self.nan_cells += more.nan_cells
        self.common_scale_rows += more.common_scale_rows
        self.states = [total + num for total, num in zip(self.states, more.states, strict=True)]
        self.grid.late += more.grid.late
        self.grid.duplicate += more.grid.duplicate
        self.grid.out_of_order += more.grid.out_of_order
        for reason, num in more.suppressed.items():
            self.suppressed[reason] += num


@dataclass(frozen=True, slots=True)
class StepResult:
    """The output of one step of the engine.

    verdicts     final verdicts
    incidents    what changed among incidents
    provisional  verdicts of new rows at which a window ends; none if the model has no delay
    """

    verdicts: Verdicts
    incidents: tuple[IncidentEvent, ...]
    provisional: Verdicts


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest verdict of every known series, as arrays over series (for metrics).

    threshold  float64 [n], in units of the calibrated one; NaN where unknown
    is_full    bool [n], whether the window is full
    slot       int32 [n], the series' number, for `Engine.channels_at`
    missing    bool [n, channels], the channel has stopped sending while others of the series go on
    """

    names: tuple[str, ...]
    score: NDArray[np.float64]
    state: NDArray[np.uint8]
    timestamp_ns: NDArray[np.int64]
    threshold: NDArray[np.float64]
    is_full: NDArray[np.bool_]
    slot: NDArray[np.int32]
    missing: NDArray[np.bool_]


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
