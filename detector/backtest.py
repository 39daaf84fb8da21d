"""Replays through the engine: the same loop as the daemon's over a finite source, into tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectors.records import Batch, Position, Source
from detector.engine import Engine, StepResult
from detector.incidents import Incident
from detector.loop import run
from detector.verdicts import Verdicts


class Collector:
    """A sink that keeps everything in memory, for libraries, notebooks and reports."""

    def __init__(self) -> None:
        self.results: list[StepResult] = []

    def write(self, result: StepResult, batch: Batch) -> None:
        if len(result.verdicts) or result.incidents:
            self.results.append(result)

    def commit(self, position: Position | None) -> None:
        """Nothing outlives the process: nothing to commit."""

    def close(self) -> None:
        """Nothing to release."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a replay found. `incidents` hold each incident's last state, by time of opening."""

    verdicts: tuple[Verdicts, ...]
    incidents: tuple[Incident, ...]

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """All verdicts as flat columns: series, timestamp_ns, score, state, and one a channel each."""
        series = [np.array(v.names, dtype=object)[v.series] for v in self.verdicts]
        return {
            "series": _joined(series, np.empty(0, object)),
            "timestamp_ns": _joined([v.timestamp_ns for v in self.verdicts], np.empty(0, np.int64)),
            "score": _joined([v.score for v in self.verdicts], np.empty(0)),
            "state": _joined([v.state for v in self.verdicts], np.empty(0, np.uint8)),
        }


def replay(source: Source, engine: Engine) -> Report:
    """Everything that `source` holds, through `engine`, to its end."""
    sink = Collector()
    run(source, engine, sink)
    return Report(
        tuple(result.verdicts for result in sink.results),
        tuple(_last_states(sink.results)),
    )


def _last_states(results: list[StepResult]) -> Iterator[Incident]:
    newest: dict[str, Incident] = {}
    for result in results:
        for event in result.incidents:
            newest[event.incident.id] = event.incident
    yield from sorted(newest.values(), key=lambda incident: (incident.opened_ns, incident.series))


def _joined(parts: list[NDArray[np.generic]], empty: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.concatenate(parts) if parts else empty
