"""What the scraping thread sees of the engine: made by the loop's thread after each turn, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Artifact
from detector.engine.engine import Counters, Engine, Latest
from detector.incidents.incident import Incident
from detector.metrics.series_selection import Selection

SEVERITIES = ("warning", "critical")


@dataclass(frozen=True, slots=True)
class Selections:
    """Which series have gauges, and which have gauges a channel."""

    series: Selection
    channels: Selection


@dataclass(frozen=True, slots=True)
class SeriesView:
    """The newest of every series.

    latest    of all of them
    shown     intp [n], those with gauges of their own, as indices into `latest`
    detailed  intp [m], those with gauges a channel, likewise
    channels  float64 [m, 3, channels]: actual, expected, contribution (see `Engine.channels_at`)
    """

    latest: Latest
    shown: NDArray[np.intp]
    detailed: NDArray[np.intp]
    channels: NDArray[np.float64]

    @classmethod
    def of(cls, engine: Engine, selections: Selections) -> SeriesView:
        """Copies of the engine's arrays."""
        latest = engine.latest
        known = latest.names, latest.slot, latest.score
        shown, detailed = selections.series.choose(*known), selections.channels.choose(*known)
        return cls(latest, shown, detailed, engine.channels_at(latest.slot[detailed]))


@dataclass(frozen=True, slots=True)
class EngineView:
    """Replaced as a whole after each turn."""

    artifact: Artifact
    series: SeriesView
    totals: Mapping[str, float]
    states: tuple[int, ...]
    suppressed: Mapping[str, int]
    open_incidents: tuple[Incident, ...]
    turned_at: float | None = None
    psi: float = float("nan")

    @property
    def latest(self) -> Latest:
        """The newest verdict of every series."""
        return self.series.latest

    @property
    def open_by_severity(self) -> Mapping[str, int]:
        """Incidents firing."""
        severities: list[str] = [incident.severity for incident in self.open_incidents]
        return {name: severities.count(name) for name in SEVERITIES}

    @classmethod
    def of(
        cls, engine: Engine, series: SeriesView, turned_at: float | None = None, psi: float = float("nan")
    ) -> EngineView:
        """The engine as it is now; called between turns by the loop's thread."""
        counters = engine.counters
        return cls(
            engine.artifact,
            series,
            _totals(counters),
            tuple(counters.states),
            {str(name): num for name, num in counters.suppressed.items()},
            engine.open_incidents,
            turned_at,
            psi,
        )


def _totals(counters: Counters) -> dict[str, float]:
    """By the names of the metrics."""
    return {
        "readings": counters.readings,
        "rows": counters.rows,
        "gap_rows": counters.gap_rows,
        "windows": counters.windows,
        "late_readings": counters.grid.late,
        "duplicate_readings": counters.grid.duplicate,
        "out_of_order_readings": counters.grid.out_of_order,
        "cells": counters.cells,
        "missing_cells": counters.nan_cells,
    }
