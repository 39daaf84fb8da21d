"""Replays through the engine: the daemon's loop over a finite source, into memory or into tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectors.parquet.dataset import Dataset
from connectors.parquet.reader import read_chunks
from connectors.parquet.replay_source import ParquetSource
from connectors.parquet.writer import TableWriter
from connectors.records import Batch, Position, Source
from detector.artifact.spec import Artifact, Spec
from detector.calibration.p_values import PValues
from detector.delivery.messages import fold_json, incident_json, iso
from detector.delivery.routing.tally import Unassigned
from detector.delivery.unassigned import Admission
from detector.engine.engine import Engine, EngineOptions, StepResult, knows
from detector.engine.loop import run
from detector.errors import DetectorError
from detector.incidents.decision import Applied, Decision
from detector.incidents.grouping import IncidentGroup, group_all
from detector.incidents.incident import Incident
from detector.incidents.rules import Suppression
from detector.incidents.shapes.sentence import Wording, sentence
from detector.offline.history_files import history_for
from detector.offline.measuring.backtest_measures import (
    JudgedRows,
    LabelledSeries,
    labelled_series,
    measures_from,
)
from detector.offline.measuring.coverage import Coverage
from detector.offline.measuring.events import Event, events_of
from detector.offline.parts.found import FailedPart, Found, counted_of
from detector.peers.crowd import Apart, blocks_of, compared, words
from detector.scoring.kinds import Kind
from detector.scoring.verdicts import State, Verdicts

Follow = Callable[[Batch | None], None]
_LABELS = np.array([state.label for state in State], dtype=object)
_KINDS = np.array([kind.label for kind in Kind], dtype=object)


@dataclass(frozen=True, slots=True)
class Report:
    """Hold what a replay returned.

    verdicts   final verdicts, in the order in which the engine emitted them: one `Verdicts` per step with
               rows, each sorted by series and time
    incidents  the last state of each incident, in the order of opening
    coverage   how much was judged, and why the rest was not
    applied    what people decided and took effect, or was ignored
    """

    verdicts: tuple[Verdicts, ...]
    incidents: tuple[Incident, ...]
    coverage: Coverage
    applied: tuple[Applied, ...] = ()


@dataclass(frozen=True, slots=True)
class BacktestOutcome:
    """Hold what `backtest_parquet` found.

    rows        rows scored, with those that the grid adds in short gaps
    incidents   the last state of each incident, in the order of opening
    measures    as `detector.offline.measuring.backtest_measures.measures_of` returns them
    coverage    how much was judged, and why the rest was not
    folds       incidents grouped into one notification
    suppressed  bad rows that opened no incident, by the rule that suppressed them
    common_scale_rows  rows of series that the model does not know, while it has own scales of others
    cumulative_channels  in how many channels small departures added up at the end, and how many there are
    sentences  what is wrong, one for each incident
    events     runs of rows that labels mark; None where the data has no labels
    applied    what people decided and took effect, or was ignored
    counted    readings and cells as the engine counted them (`detector.offline.parts.found.counted_of`)
    unassigned  series of the data that this model must not judge, and their rows
    apart       series that left their peers, in the order in which that was known
    failed      parts of a cluster's backtest whose series could not be judged, with the reason
    """

    rows: int
    incidents: tuple[Incident, ...]
    measures: dict[str, float | int]
    coverage: Coverage
    folds: tuple[IncidentGroup, ...] = ()
    suppressed: dict[Suppression, int] = field(default_factory=dict)
    common_scale_rows: int = 0
    cumulative_channels: tuple[int, int] = (0, 0)
    sentences: tuple[str, ...] = ()
    events: tuple[Event, ...] | None = None
    applied: tuple[Applied, ...] = ()
    counted: dict[str, int] = field(default_factory=dict)
    unassigned: Unassigned = field(default_factory=Unassigned)
    apart: tuple[Apart, ...] = ()
    failed: tuple[FailedPart, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values, None where a measure is unknown."""
        measures = {name: None if value != value else value for name, value in self.measures.items()}
        said = self.sentences or (None,) * len(self.incidents)
        incidents = [
            incident_json(incident) | {"sentence": one}
            for incident, one in zip(self.incidents, said, strict=True)
        ]
        found = {"rows": self.rows, "incidents": incidents, "measures": measures}
        found["coverage"] = self.coverage.as_json()
        return (
            found
            | {
                "folds": [fold_json(fold) for fold in self.folds],
                "common_scale_rows": self.common_scale_rows,
                "cumulative_channels": list(self.cumulative_channels),
                "suppressed_rows": {reason: num for reason, num in self.suppressed.items() if num},
                "counted": self.counted,
                "unassigned_rows": dict(self.unassigned.messages),
                "apart": [_apart_json(one) for one in self.apart],
            }
            | ({"failed": [asdict(one) for one in self.failed]} if self.failed else {})
        )


def _apart_json(one: Apart) -> dict[str, Any]:
    """Return a stay away from the peers as JSON values, with times in UTC."""
    found = asdict(one) | {"words": words(one)}
    return found | {name: iso(found.pop(f"{name}_ns")) for name in ("start", "found", "until")}


class ReplaySink:
    """A sink that keeps verdicts and incidents in memory, and writes verdicts to a table if it has one."""

    def __init__(
        self,
        artifact: Artifact,
        writer: TableWriter | None = None,
        follow: Follow | None = None,
    ) -> None:
        """Use the writer, which stays the caller's: `close` does not close it.

        `follow` gets each batch that has readings.
        """
        self._spec = artifact.spec
        self._p_values = PValues.of(artifact)
        self._writer, self._follow = writer, follow
        self._verdicts: list[Verdicts] = []
        self._incidents: dict[str, Incident] = {}
        self._applied: list[Applied] = []

    def write(self, result: StepResult, batch: Batch) -> None:
        """Keep what one step of the engine returned."""
        self._incidents |= {event.incident.id: event.incident for event in result.incidents}
        self._applied += result.decisions
        if len(result.verdicts):
            self._verdicts.append(result.verdicts)
            if self._writer is not None:
                self._writer.write(verdict_columns(result.verdicts, self._spec, self._p_values))
        if self._follow is not None and len(batch.readings):
            self._follow(batch)

    def commit(self, position: Position | None) -> None:
        """Do nothing: the file appears when it is complete, and memory needs no commit."""

    def close(self) -> None:
        """Do nothing: there is nothing of its own to release."""

    def report(self, dropped_readings: int, still_open: Sequence[Incident] = ()) -> Report:
        """Return what was kept so far; `dropped_readings` were dropped.

        Incidents that are `still_open` have changed since their last event.
        """
        found = self._incidents | {one.id: one for one in still_open if one.id in self._incidents}
        incidents = sorted(found.values(), key=lambda one: (one.opened_ns, one.series))
        coverage = Coverage.of(self._verdicts, dropped_readings)
        applied = sorted(self._applied, key=lambda one: one.order)
        return Report(tuple(self._verdicts), tuple(incidents), coverage, tuple(applied))


def replay(source: Source, engine: Engine) -> Report:
    """Run everything that `source` holds through `engine`, to the end of the source."""
    sink = ReplaySink(engine.artifact)
    run(source, engine, sink)
    return sink.report(engine.counters.grid.dropped, engine.open_incidents)


@dataclass(frozen=True, slots=True)
class Given:
    """Hold what a backtest gets beside its model and data.

    decisions  what people decided; each takes effect at the first row of its series from its time on
    wording    units and zone of the sentences; None: the zone of the model
    follow     is called with each batch once the engine has judged it, and with None at the end
    series     patterns of the series to judge, as the daemon has them; none: all
    least_channels  channels of the model that a row of a new series must have
    """

    decisions: Sequence[Decision] = ()
    wording: Wording | None = None
    follow: Follow | None = None
    series: tuple[str, ...] = ()
    least_channels: int = 1


def backtest_parquet(
    artifact: Artifact,
    data: Path,
    options: EngineOptions,
    out: Path | None = None,
    given: Given | None = None,
) -> BacktestOutcome:
    """Replay Parquet through the engine.

    Args:
        artifact: the model.
        data: a Parquet file or directory. With a column `label`, scores are measured against it.
        options: incident rules, lateness and threads of the engine.
        out: directory for scores.parquet (`verdict_columns`) and incidents.json; None: write nothing.
        given: decisions, wording, and who follows; None: none of them.

    Raises:
        ParquetError, DetectorError: the message names the file and what is wrong with it.
    """
    given = given or Given()
    dataset = history_for(artifact.spec, data)
    engine = Engine(artifact, options)
    engine.decide(list(enumerate(given.decisions)))
    admission = Admission(given.series, given.least_channels, most_logged=0)
    scores = None if out is None else out / "scores.parquet"
    found = found_in(dataset, engine, admission, scores, given.follow)
    outcome = outcome_of(found, artifact.spec, options, given.wording, vus_buffer_of(dataset))
    if out is not None:
        write_outcome(outcome, out)
    return outcome


def found_in(
    dataset: Dataset,
    engine: Engine,
    admission: Admission,
    scores: Path | None,
    follow: Follow | None = None,
) -> Found:
    """Replay a data set through a new engine; return what it found, and write its verdicts to `scores`.

    Raises:
        ParquetError, DetectorError: the message names the file and what is wrong with it.
    """
    report = _replayed(dataset, engine, admission, scores, follow)
    labels, spec = labels_of_dataset(dataset), engine.artifact.spec
    if labels is not None:
        labels = {name: one for name, one in labels.items() if knows(engine, name)} or None
    return Found(
        report.incidents,
        report.coverage,
        report.applied,
        engine.counters,
        engine.cumulative_channels,
        admission.unassigned,
        JudgedRows.of(report.verdicts, labels is not None),
        labels,
        blocks_of(spec, report.verdicts),
        max((int(one.timestamp_ns.max()) for one in report.verdicts), default=0),
    )


def outcome_of(
    found: Found, spec: Spec, options: EngineOptions, wording: Wording | None, vus_buffer: int | None
) -> BacktestOutcome:
    """Return the outcome of a backtest from what its replay found; arguments as of `backtest_parquet`."""
    words = wording or Wording.of(spec)
    return BacktestOutcome(
        sum(found.judged.num.values()),
        found.incidents,
        measures_from(found.judged, found.incidents, spec, found.labels, vus_buffer),
        found.coverage,
        group_all(options.rules.fold, found.incidents),
        found.counters.suppressed,
        found.counters.common_scale_rows,
        found.cumulative_channels,
        tuple(sentence(one, found.end_ns, words) for one in found.incidents),
        None if found.labels is None else events_of(found.labels),
        found.applied,
        counted_of(found.counters),
        found.unassigned,
        compared(spec, [found.blocks]),
    )


def labels_of_dataset(dataset: Dataset) -> dict[str, LabelledSeries] | None:
    """Return the labels of a data set by series, or None if it has none."""
    return labelled_series(read_chunks(dataset)) if dataset.has_label else None


def vus_buffer_of(dataset: Dataset) -> int | None:
    """Return the buffer of VUS-PR in rows that the files prescribe, or None."""
    stated = dataset.metadata.get("vus_window", "")
    return int(stated) if stated.isdecimal() else None


def verdict_columns(verdicts: Verdicts, spec: Spec, p_values: PValues) -> dict[str, Any]:
    """Return n verdicts as flat columns.

    They are `series`; `timestamp`, int64 nanoseconds; `score`; `p_value`, the probability that a normal row
    has at least this score; `error` and `threshold` (`error_columns`); `cumulative`; `evidence`, the
    kind that spoke loudest; `paged`; `state`; of a model with modes of operation `mode`, the name, empty
    where it is unknown; and for every channel `actual_NAME`, `expected_NAME` and `contribution_NAME`.
    """
    error, threshold = error_columns(verdicts, spec)
    columns: dict[str, Any] = {
        "series": np.array(verdicts.names, dtype=object)[verdicts.series],
        "timestamp": verdicts.timestamp_ns,
        "score": verdicts.score,
        "p_value": p_values.of_scores(verdicts.score),
        "error": error,
        "threshold": threshold,
        "cumulative": verdicts.cumulative,
        "evidence": _KINDS[verdicts.kind],
        "paged": verdicts.paged,
        "state": _LABELS[verdicts.state],
    }
    if spec.modes is not None:
        columns["mode"] = np.array([*spec.modes.names, ""], dtype=object)[verdicts.mode]  # -1: unknown
    blocks = (
        ("actual", verdicts.actual),
        ("expected", verdicts.expected),
        ("contribution", verdicts.contribution),
    )
    for kind, block in blocks:
        columns |= {f"{kind}_{name}": block[:, at] for at, name in enumerate(spec.channel_names)}
    return columns


def error_columns(verdicts: Verdicts, spec: Spec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return error and threshold of final verdicts, float64 [n] each, in units of the calibrated threshold.

    `score == error ** spec.threshold.sharpness` holds up to rounding. A row is unusual if its error is above
    1. It counts for incidents if its error is above its threshold. That is the page level: 1, or more after
    many small alarms. NaN where the score is unknown. `Verdicts.threshold` already has the power `sharpness`.
    """
    power = 1.0 / spec.threshold.sharpness
    return verdicts.score**power, verdicts.threshold**power


def _replayed(
    dataset: Dataset, engine: Engine, admission: Admission, scores: Path | None, follow: Follow | None
) -> Report:
    writer = None if scores is None else TableWriter(scores)
    sink = ReplaySink(engine.artifact, writer, follow)
    try:
        run(
            ParquetSource(dataset),
            engine,
            sink,
            prepare=lambda engine, batch: admission.admit(batch, partial(knows, engine)),
        )
    finally:
        if writer is not None:
            writer.close()
    if follow is not None:
        follow(None)
    return sink.report(engine.counters.grid.dropped, engine.open_incidents)


def write_outcome(outcome: BacktestOutcome, out: Path) -> None:
    """Write incidents.json into a directory. Raises DetectorError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "incidents.json").write_text(json.dumps(outcome.as_json(), indent=2) + "\n")
    except OSError as error:
        raise DetectorError(f"{out}: cannot be written: {error.strerror}") from error
