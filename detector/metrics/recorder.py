"""Prometheus metrics of the daemon (docs/metrics.md lists them).

The thread of the loop counts each turn and replaces a snapshot. Scraping threads read the snapshot. An
unknown value is absent, never 0. Series have their own gauges up to a bound; the others are counted.
"""

from __future__ import annotations

import platform
import threading
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import Metric

from detector.artifact.spec import Artifact
from detector.engine.engine import Engine
from detector.engine.loop import Turn
from detector.incidents.budget_used import BudgetUsed
from detector.metrics.collector import View
from detector.metrics.drift import LEAST_MEMORY_ROWS, Drift
from detector.metrics.engine_view import EngineView, Selections, SeriesView
from detector.metrics.exposition import Exposition
from detector.metrics.instruments import Instruments
from detector.metrics.peaks import Peaks
from detector.metrics.series_selection import Selection
from detector.metrics.sources import Sources
from detector.notify.stats import NotifierStats
from detector.peers.crowd import Crowd, CrowdView
from detector.rows.series_arrays import starts_of
from detector.scoring.verdicts import Verdicts

__all__ = ["Metrics", "NotifierStats", "Sources"]

_DAY_NS = 86_400 * 10**9
"""Drift remembers about one day, so that all hours of the day are in it."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """The values of one scrape.

    view      the engine after its last turn
    peaks     float64 [shown], highest score of each shown series since the last scrape
    families  those of the client library
    """

    view: View
    peaks: NDArray[np.float64]
    families: list[Metric]


class Metrics:
    """All metrics of one daemon, on a registry of its own.

    Only the thread of the loop may call `observe`, `follow` and `transaction`. Any thread may call the
    others.

    Args:
        engine: The engine whose figures are exported.
        max_series: Maximum number of series with their own gauges.
        software_version: Version of Streamgauge; None: of one model of several (`detector.metrics.plant`).
        sources: Figures that the engine does not have.
        max_channel_series: Maximum number of series with channel gauges.
        patterns: Series that match one of these come first, then those with the highest scores.
    """

    def __init__(
        self,
        engine: Engine,
        max_series: int,
        software_version: str | None,
        sources: Sources,
        max_channel_series: int = 200,
        patterns: tuple[str, ...] = (),
    ) -> None:
        self.sources = sources
        self._max_series = max_series
        self._selections = Selections(
            Selection(max_series, patterns), Selection(max_channel_series, patterns)
        )
        self._peaks = Peaks()
        self._budget = BudgetUsed(engine.artifact.spec)
        self._replayed = 0
        self._scraping = threading.Lock()
        build = None if software_version is None else build_labels(software_version)
        self._exposition = Exposition(sources, build, max_series)
        self._instruments = Instruments(self._exposition.registry)
        self._exposition.register(self._instruments.scores.family)
        self.follow(engine)

    def follow(self, engine: Engine) -> None:
        """Export this engine from now on: at the start, and after a reload of the model."""
        spec = engine.artifact.spec
        self.engine = engine
        self._loaded_at = time.time()
        self._peaks.clear()
        self._drift = Drift(_scaled(engine.artifact))
        self._rows_a_day = _DAY_NS / spec.interval_ns
        self._budget.follow(spec)
        self._crowd = None if spec.peers is None else Crowd(spec, spec.peers)
        series = SeriesView.of(engine, self._selections)
        self.snapshot = EngineView.of(engine, series, self._budget.view())

    def observe(self, turn: Turn) -> None:
        """Count one turn of the loop, and replace the snapshot."""
        self._instruments.turn(turn)
        self.take(turn)

    def take(self, turn: Turn) -> None:
        """Count the results of one turn, and replace the snapshot."""
        verdicts = turn.result.verdicts
        known = int(np.count_nonzero(~np.isnan(verdicts.score)))
        self._instruments.results(turn.result, known * self._budget.alarms_a_row)
        if turn.batch.lost:
            self._peaks.clear()
        self._peaks.forget([one.slot for one in turn.result.forgotten])
        self._update_peaks(verdicts, frozenset(one.name for one in turn.result.forgotten))
        self._drift.memory = max(LEAST_MEMORY_ROWS, self._rows_a_day * len(self.snapshot.latest.names))
        self._drift.add(verdicts.score)
        series = self._series(turn)
        newest = series.latest.timestamp_ns, series.latest.state
        self._budget.add(verdicts, turn.result.incidents, *newest)
        crowd = self._compared(turn, series)
        view = EngineView.of(self.engine, series, self._budget.view(), time.time(), self._drift.index)
        self.snapshot = replace(view, crowd=crowd)

    def refresh(self, lost: bool) -> None:
        """Replace the snapshot where series came or went without a result.

        Args:
            lost: Whether series went to another process.
        """
        if lost:
            self._peaks.clear()
        series, before = SeriesView.of(self.engine, self._selections), self.snapshot
        view = EngineView.of(self.engine, series, self._budget.view(), before.turned_at, self._drift.index)
        crowd = before.crowd
        if lost and self._crowd is not None:
            self._crowd.keep(series.latest.names)
            crowd = self._crowd.view()
        self.snapshot = replace(view, crowd=crowd)

    def transaction(self, outcome: str, seconds: float) -> None:
        """Count a Kafka transaction that took `seconds` and ended with `outcome`."""
        self._instruments.transaction(outcome, seconds)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics and their content type, in the format that the Accept header asks for.

        Each call starts new maxima "since the last scrape".
        """
        with self._scraping:
            return self._exposition.encode(accept, *self._view())

    def scrape(self) -> Scrape:
        """Return what `exposition` writes, as values. Not thread-safe."""
        view, peaks = self._view()
        return Scrape(view, peaks, self._exposition.collect(view))

    @property
    def loaded_at(self) -> float:
        """Epoch seconds at which the model was loaded."""
        return self._loaded_at

    def _view(self) -> tuple[View, NDArray[np.float64]]:
        """Return the values of a scrape, and the highest score of each shown series since the last one."""
        snapshot = self.snapshot
        highest, peaks = self._peaks.take(snapshot.latest.slot[snapshot.series.shown])
        left_out = max(0, len(snapshot.open_incidents) - self._max_series)
        return View(snapshot, highest, self._loaded_at, left_out), peaks

    def _series(self, turn: Turn) -> SeriesView:
        """Return a view of every series; the previous view if nothing can have changed.

        A replay has no results, and its last turn comes after it has ended: its readings tell of it.
        """
        num_new = len(turn.result.verdicts) + len(turn.result.provisional) + len(turn.batch.readings)
        num_new += len(turn.result.forgotten)
        replayed = self.sources.replayed()
        num_new += replayed - self._replayed
        self._replayed = replayed
        if num_new or turn.batch.lost or turn.batch.assigned:
            return SeriesView.of(self.engine, self._selections)
        return self.snapshot.series

    def _compared(self, turn: Turn, series: SeriesView) -> CrowdView:
        """Compare the series with their peers, and return what that shows."""
        if self._crowd is None:
            return CrowdView()
        self._crowd.add(turn.result.verdicts)
        self._crowd.drop([one.name for one in turn.result.forgotten])
        if turn.batch.lost:
            self._crowd.keep(series.latest.names)
        self._crowd.compare()
        return self._crowd.view()

    def _update_peaks(self, verdicts: Verdicts, forgotten: frozenset[str]) -> None:
        """Add the scores of a turn, except those of series that have no slot any more."""
        if len(verdicts) == 0:
            return
        highest = np.fmax.reduceat(verdicts.score, starts_of(verdicts.series))
        known = [at for at, name in enumerate(verdicts.names) if name not in forgotten]
        self._peaks.add(self.engine.slots_of([verdicts.names[at] for at in known]), highest[known])


def build_labels(software_version: str) -> dict[str, str]:
    """Return the labels of the build."""
    return {"version": software_version, "python": platform.python_version()}


def _scaled(artifact: Artifact) -> NDArray[np.float64]:
    """Return the held-out errors, float64 [n], on the scale of the score of a verdict.

    Empty if the artifact has none.
    """
    threshold = artifact.spec.threshold
    errors = artifact.held_out.get("error", np.empty(0))
    scaled: NDArray[np.float64] = (errors / threshold.value) ** threshold.sharpness
    return scaled
