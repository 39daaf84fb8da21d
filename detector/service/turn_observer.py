"""Observe the loop: feed the metrics, log incidents, inform systemd, remember the time of the last turn."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from connectors.records import Batch, Readings
from detector import logs
from detector.engine.engine import StepResult
from detector.engine.loop import Turn
from detector.engine.values import Forgotten
from detector.metrics.recorder import Metrics
from detector.service.clock_log import ClockLog
from detector.service.incident_log import IncidentLog, log_decisions
from detector.service.loop_watch import LoopWatch
from detector.status.judged import coverage_of

_MOST_NAMED = 12


class TurnObserver:
    """Receive every completed turn, on the loop's thread; `loop.is_alive` may be read from any."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._incidents = IncidentLog(metrics.engine.options.rules.fold)
        self._clocks = ClockLog()
        self.loop = LoopWatch()
        self._has_warned = False

    def on_turn(self, turn: Turn) -> None:
        """Take in one turn."""
        self.loop.note_turn()
        self._metrics.observe(turn)
        self._warn_of_common_scales()
        self.loop.tell(self._metrics.sources.ready(), self._status())
        self._clocks.on_turn(self._metrics.engine, self._metrics.snapshot.series.latest)
        log_forgotten(turn.result.forgotten)
        self._incidents.log(turn.result.incidents, self._metrics.engine.options.rules.fold)
        log_decisions(turn.result.decisions)

    def on_results(self, result: StepResult) -> None:
        """Take in results that belong to no batch: the last ones of a model that is replaced."""
        no_readings = Batch(Readings.empty(0))
        self.on_turn(Turn(no_readings, result, 0.0, 0.0, 0.0, 0.0))

    def _warn_of_common_scales(self) -> None:
        """Log once that series are judged by the common scale although others have their own."""
        snapshot = self._metrics.snapshot
        if self._has_warned or not snapshot.totals["common_scale_rows"]:
            return
        self._has_warned = True
        unknown = [name for name in snapshot.latest.names if name not in snapshot.artifact.spec.own_scales]
        logs.event(
            "series that the model does not know are judged by the common scale; train with their history",
            logging.WARNING,
            series=unknown[:_MOST_NAMED],
            num_series=len(unknown),
        )

    def _status(self) -> str:
        if not self._metrics.sources.ready():
            return "waiting for partitions and their state"
        snapshot = self._metrics.snapshot
        num_open = sum(snapshot.open_by_severity.values())
        summary = coverage_of(snapshot).summary
        return f"{snapshot.totals['readings']:,} readings processed, {num_open} incidents open {summary}"


def log_forgotten(series: Sequence[Forgotten]) -> None:
    """Log one line for the series that a turn forgot."""
    if series:
        logs.event(
            "series sent nothing for [service] forget_after and were forgotten",
            series=[one.name for one in series[:_MOST_NAMED]],
            num_series=len(series),
        )
