"""Replays through the engine: the same loop as the daemon's over a finite source, into tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectors.parquet.dataset import Dataset, discover
from connectors.parquet.reader import read_chunks
from connectors.parquet.replay_source import ParquetSource
from connectors.parquet.writer import TableWriter
from connectors.records import Batch, Position, Source
from detector.artifact.spec import Artifact
from detector.calibration.alarm_budget import parse_budget
from detector.delivery.messages import fold_json, incident_json
from detector.engine.engine import Engine, EngineOptions, StepResult
from detector.engine.loop import run
from detector.errors import DetectorError
from detector.incidents.grouping import IncidentGroup, group_all
from detector.incidents.incident import Incident
from detector.incidents.rules import Suppression
from detector.offline.measures import (
    NO_ALARMS,
    auc_pr,
    auc_roc,
    autocorrelation_period,
    count_alarms,
    vus_pr,
)
from detector.scoring.verdicts import State, Verdicts

_LABELS = np.array([state.label for state in State], dtype=object)


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


class TableSink:
    """A sink that writes verdicts to a Parquet file as they come and keeps incidents and scores."""

    def __init__(self, writer: TableWriter | None, channels: tuple[str, ...]) -> None:
        self._writer = writer
        self._channels = channels
        self.rows = 0
        self.incidents: dict[str, Incident] = {}
        self.scores: list[Verdicts] = []

    def write(self, result: StepResult, batch: Batch) -> None:
        verdicts = result.verdicts
        self.incidents |= {event.incident.id: event.incident for event in result.incidents}
        if len(verdicts) == 0:
            return
        self.rows += len(verdicts)
        self.scores.append(verdicts)
        if self._writer is not None:
            self._writer.write(verdict_columns(verdicts, self._channels))

    def commit(self, position: Position | None) -> None:
        """The file appears when it is complete: nothing to commit on the way."""

    def close(self) -> None:
        """The writer belongs to whoever made it."""


def verdict_columns(verdicts: Verdicts, channels: tuple[str, ...]) -> dict[str, Any]:
    """Verdicts as flat columns: series, timestamp, score, state, and three for each channel."""
    columns: dict[str, Any] = {
        "series": np.array(verdicts.names, dtype=object)[verdicts.series],
        "timestamp": verdicts.timestamp_ns,
        "score": verdicts.score,
        "state": _LABELS[verdicts.state],
    }
    blocks = (
        ("actual", verdicts.actual),
        ("expected", verdicts.expected),
        ("contribution", verdicts.contribution),
    )
    for kind, block in blocks:
        columns |= {f"{kind}_{name}": block[:, at] for at, name in enumerate(channels)}
    return columns


@dataclass(frozen=True, slots=True)
class BacktestOutcome:
    """What a backtest found; `measures` against labels only where the data has them, and always against the
    alarm budget. `suppressed`: bad rows by the rule that kept them from opening an incident."""

    rows: int
    incidents: tuple[Incident, ...]
    measures: dict[str, float | int]
    folds: tuple[IncidentGroup, ...] = ()
    suppressed: dict[Suppression, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        measures = {name: None if value != value else value for name, value in self.measures.items()}
        incidents = [incident_json(incident) for incident in self.incidents]
        found = {"rows": self.rows, "incidents": incidents, "measures": measures}
        return found | {
            "folds": [fold_json(fold) for fold in self.folds],
            "suppressed_rows": {reason: num for reason, num in self.suppressed.items() if num},
        }


def backtest_parquet(
    artifact: Artifact, data: Path, options: EngineOptions, out: Path | None = None
) -> BacktestOutcome:
    """Replay Parquet through the engine; with `out`, write scores.parquet and incidents.json there.

    Raises ParquetError or DetectorError that names the file and what is wrong with it.
    """
    dataset = discover(data, artifact.spec.channel_names)
    writer = TableWriter(out / "scores.parquet") if out is not None else None
    sink = TableSink(writer, artifact.spec.channel_names)
    try:
        engine = Engine(artifact, options)
        run(ParquetSource(dataset), engine, sink)
    finally:
        if writer is not None:
            writer.close()
    incidents = tuple(sorted(sink.incidents.values(), key=lambda one: (one.opened_ns, one.series)))
    measures = _measure(dataset, sink, artifact.spec.interval_ns) if dataset.has_label else {}
    measures |= _against_budget(artifact, sink.rows, measures.get("false_alarms", len(incidents)))
    folds = group_all(options.rules.fold, incidents)
    outcome = BacktestOutcome(sink.rows, incidents, measures, folds, engine.counters.suppressed)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            (out / "incidents.json").write_text(json.dumps(outcome.as_json(), indent=2) + "\n")
        except OSError as error:
            raise DetectorError(f"{out}: cannot be written: {error.strerror}") from error
    return outcome


def _against_budget(artifact: Artifact, rows: int, alarms: float) -> dict[str, float | int]:
    """The alarms that the budget allows in the time of `rows`, and how many came for each of them: the false
    ones where there are labels, else all."""
    seconds = rows * artifact.spec.interval_ns / 1e9
    budgeted = seconds * parse_budget(artifact.spec.threshold.alarm_budget)
    ratio = alarms / budgeted if budgeted else float("nan")
    return {"budgeted_alarms": budgeted, "realised_to_budgeted": ratio}


def _measure(dataset: Dataset, sink: TableSink, interval_ns: int) -> dict[str, float | int]:
    """Measures over all labelled rows; unknown scores rank as 0, alarms are counted series by series."""
    found = _scores_by_series(sink)
    labels, scores, alarms = [], [], NO_ALARMS
    truth = sorted(_labels_by_series(dataset).items())
    for name, (times, label, _) in truth:
        score = _at_rows(times // interval_ns * interval_ns, *found[name])
        labels.append(label)
        scores.append(score)
        alarms += count_alarms(label, score > 1.0)
    label, score = np.concatenate(labels), np.concatenate(scores)
    stated = dataset.metadata.get("vus_window", "")
    buffer = int(stated) if stated.isdecimal() else autocorrelation_period(truth[0][1][2])
    return {
        "vus_pr": vus_pr(label, score, buffer),
        "auc_pr": auc_pr(label, score),
        "auc_roc": auc_roc(label, score),
        "precision": alarms.precision,
        "recall": alarms.recall,
        "f1": alarms.f1,
        "events": alarms.events,
        "event_recall": alarms.event_recall,
        "median_delay_rows": alarms.median_delay_rows,
        "false_alarms": alarms.false_alarms,
    }


def _at_rows(
    wanted_ns: NDArray[np.int64], times_ns: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The score of the row that starts at each wanted time; 0 where it has none or it is unknown."""
    at = np.minimum(np.searchsorted(times_ns, wanted_ns), len(times_ns) - 1)
    return np.where(times_ns[at] == wanted_ns, np.nan_to_num(scores[at], nan=0.0), 0.0)


def _scores_by_series(sink: TableSink) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Times and scores of each series, by time."""
    parts: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float64]]]] = {}
    for verdicts in sink.scores:
        for code, name in enumerate(verdicts.names):
            mine = verdicts.series == code
            parts.setdefault(name, []).append((verdicts.timestamp_ns[mine], verdicts.score[mine]))
    found = {}
    for name, pieces in parts.items():
        times = np.concatenate([piece[0] for piece in pieces])
        order = np.argsort(times, kind="stable")
        found[name] = (times[order], np.concatenate([piece[1] for piece in pieces])[order])
    return found


def _labels_by_series(
    dataset: Dataset,
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.float64]]]:
    """Times, labels and the first channel of each series, by time."""
    parts: dict[str, list[tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.float64]]]] = {}
    for chunk in read_chunks(dataset):
        assert chunk.label is not None
        for code, name in enumerate(chunk.names):
            mine = chunk.series == code
            piece = (chunk.timestamp_ns[mine], chunk.label[mine], chunk.values[mine, 0])
            parts.setdefault(name, []).append(piece)
    found = {}
    for name, pieces in parts.items():
        times, label, values = (np.concatenate(column) for column in zip(*pieces, strict=True))
        order = np.argsort(times, kind="stable")
        found[name] = (times[order], label[order], values[order])
    return found


@dataclass(frozen=True, slots=True)
class Report:
    """What a replay found. `incidents` hold each incident's last state, by time of opening."""

    verdicts: tuple[Verdicts, ...]
    incidents: tuple[Incident, ...]


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
