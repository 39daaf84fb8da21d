"""An immutable snapshot of the engine, made after each turn by the loop's thread for scraping threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Artifact
from detector.engine.engine import Counters, Engine, Latest
from detector.incidents.budget_used import BudgetView
from detector.incidents.incident import Incident
from detector.metrics.series_selection import Selection
from detector.peers.crowd import CrowdView

SEVERITIES = ("warning", "critical")


@dataclass(frozen=True, slots=True)
class Selections:
    """Choose the series with their own gauges, and those with channel gauges."""

    series: Selection
    channels: Selection


@dataclass(frozen=True, slots=True)
class SeriesView:
    """The newest verdict of every series.

    latest    the newest verdicts of all series
    shown     intp [n], series with their own gauges, as indices into `latest`
    detailed  intp [m], series with channel gauges, as indices into `latest`
    channels  float64 [m, 4, channels]: what `Engine.channels_at` returns
    """

    latest: Latest
    shown: NDArray[np.intp]
    detailed: NDArray[np.intp]
    channels: NDArray[np.float64]

    @classmethod
    def of(cls, engine: Engine, selections: Selections) -> SeriesView:
        """Copy what the view needs from the engine's arrays."""
        latest = engine.latest
        known = latest.names, latest.slot, latest.score
        shown, detailed = selections.series.choose(*known), selections.channels.choose(*known)
        return cls(latest, shown, detailed, engine.channels_at(latest.slot[detailed]))


@dataclass(frozen=True, slots=True)
class EngineView:
    """The engine after a turn.

    artifact        the model in use
    series          the newest verdicts
    totals          counters by the names of their metrics
    states          final verdicts by state
    unjudged        rows that were not judged, by state
    evidence        anomalous rows by kind of evidence
    modes           rows by mode of operation
    suppressed      ignored rows by incident rule
    open_incidents  incidents that fire
    budget          how much of the alarm budget was used
    cumulative      channels of the known series in which small departures add up, and all their channels
    turned_at       epoch seconds of the last turn; None before the first
    psi             drift (see `detector.metrics.drift`); NaN where unknown
    crowd           the series beside their peers
    """

    artifact: Artifact
    series: SeriesView
    totals: Mapping[str, float]
    states: tuple[int, ...]
    unjudged: tuple[int, ...]
    evidence: tuple[int, ...]
    modes: Mapping[str, int]
    suppressed: Mapping[str, int]
    open_incidents: tuple[Incident, ...]
    budget: BudgetView
    cumulative: tuple[int, int]
    turned_at: float | None = None
    psi: float = float("nan")
    crowd: CrowdView = field(default_factory=CrowdView)

    @property
    def latest(self) -> Latest:
        """The newest verdict of every series."""
        return self.series.latest

    @property
    def open_by_severity(self) -> Mapping[str, int]:
        """Number of open incidents by severity."""
        severities: list[str] = [incident.severity for incident in self.open_incidents]
        return {name: severities.count(name) for name in SEVERITIES}

    @property
    def num_lasting(self) -> int:
        """Number of open incidents that last and about which nobody has decided."""
        return sum(one.lasting_ns is not None and one.decision is None for one in self.open_incidents)

    @property
    def num_unjudged(self) -> int:
        """Number of open incidents whose evidence cannot be judged now."""
        return sum(one.unjudged is not None for one in self.open_incidents)

    @classmethod
    def of(
        cls,
        engine: Engine,
        series: SeriesView,
        budget: BudgetView,
        turned_at: float | None = None,
        psi: float = float("nan"),
    ) -> EngineView:
        """Return a view of the engine as it is now. Only the loop's thread may call this, between turns."""
        counters = engine.counters
        return cls(
            engine.artifact,
            series,
            _totals(counters),
            tuple(counters.states),
            tuple(counters.unjudged),
            tuple(counters.evidence),
            dict(counters.modes),
            {str(name): num for name, num in counters.suppressed.items()},
            engine.open_incidents,
            budget,
            engine.cumulative_channels,
            turned_at,
            psi,
        )


def _totals(counters: Counters) -> dict[str, float]:
    """Return the counters by the names of their metrics."""
    return {
        "readings": counters.readings,
        "rows": counters.rows,
        "gap_rows": counters.gap_rows,
        "windows": counters.windows,
        "judged_rows": counters.judged,
        "masked_rows": counters.masked,
        "late_readings": counters.grid.late,
        "duplicate_readings": counters.grid.duplicate,
        "out_of_order_readings": counters.grid.out_of_order,
        "overwritten_readings": counters.grid.overwritten,
        "suspect_clock_readings": counters.grid.suspect,
        "suspect_clock_dropped_readings": counters.grid.suspect_dropped,
        "clock_restarts": counters.grid.clock_restarts,
        "interval_changes": counters.grid.interval_changes,
        "cells": counters.cells,
        "missing_cells": counters.nan_cells,
        "common_scale_rows": counters.common_scale_rows,
        "forgotten_series": counters.forgotten,
    }
