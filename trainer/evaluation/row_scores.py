"""Scores of the engine for every row of one series, in the order of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connectors.parquet.writer import TableWriter
from connectors.records import Readings
from detector.artifact.spec import Artifact
from detector.engine.engine import Engine, EngineOptions, StepResult
from detector.incidents.incident import Incident
from detector.incidents.rules import IncidentRules
from detector.offline.measuring.coverage import Coverage
from detector.rows.grid import starts_of_rows
from detector.scoring.verdicts import Verdicts
from detector.scoring.window_scorer import slow_rows_of
from trainer.evaluation.labelled import Labelled

_FEED_ROWS = 1 << 14


@dataclass(frozen=True, slots=True)
class RowScores:
    """Hold the engine's results for n rows, in the order of the rows; NaN where unknown.

    Attributes:
        score: float64 [n]; above 1 is unusual.
        alarm: bool [n], True where the row lies in an incident.
        coverage: How many of the n rows were judged, and why the others were not.
        incidents: The last state of each incident.
    """

    score: NDArray[np.float64]
    alarm: NDArray[np.bool_]
    coverage: Coverage
    incidents: tuple[Incident, ...]


def score_rows(
    artifact: Artifact,
    timestamp_ns: NDArray[np.int64],
    values: NDArray[np.float64],
    name: str = "series",
    without: tuple[str, ...] = (),
) -> RowScores:
    """Score the rows of one series through the engine.

    Several rows within one interval share the result of their grid row.

    Args:
        artifact: The fitted model.
        timestamp_ns: int64 [n], event times in nanoseconds, in any order.
        values: float64 [n, channels], NaN where missing.
        name: Name of the series in the coverage.
        without: Kinds of evidence that say nothing.
    """
    engine = Engine(artifact, EngineOptions(rules=IncidentRules(without=without)))
    order = np.argsort(timestamp_ns, kind="stable")
    results = _fed(engine, order, timestamp_ns, values)
    start_ns = np.concatenate([result.verdicts.timestamp_ns for result in results])
    score = np.concatenate([result.verdicts.score for result in results])
    by_row = np.argsort(start_ns, kind="stable")
    wanted = np.empty_like(timestamp_ns)
    wanted[order] = starts_of_rows(
        timestamp_ns[order], artifact.spec.interval_of("series"), slow_rows_of(artifact.spec.max_gap)
    )
    place = by_row[np.minimum(np.searchsorted(start_ns[by_row], wanted), len(start_ns) - 1)]
    known = start_ns[place] == wanted
    newest = {event.incident.id: event.incident for result in results for event in result.incidents}
    incidents = tuple(newest.values())
    return RowScores(
        np.where(known, score[place], np.nan),
        _in_incidents(incidents, wanted),
        Coverage.of(_verdicts_at(place[known], results, name), int(np.count_nonzero(~known))),
        incidents,
    )


def _fed(
    engine: Engine, order: NDArray[np.intp], timestamp_ns: NDArray[np.int64], values: NDArray[np.float64]
) -> list[StepResult]:
    """Return the results of all rows in this order, part by part; the engine has then ended."""
    results = []
    for at in range(0, len(order), _FEED_ROWS):
        rows = order[at : at + _FEED_ROWS]
        zeros = np.zeros(len(rows), np.int32)
        readings = Readings(("series",), zeros, timestamp_ns[rows], values[rows], zeros, rows)
        results.append(engine.step(readings))
    return [*results, engine.flush()]


def _verdicts_at(place: NDArray[np.intp], results: Sequence[StepResult], name: str) -> Iterator[Verdicts]:
    """Yield the verdicts at these places among those of all steps, intp [n], part by part."""
    at = 0
    for result in results:
        part = result.verdicts
        inside = (place >= at) & (place < at + len(part))
        if inside.any():
            yield replace(part.take(place[inside] - at), names=(name,))
        at += len(part)


def _in_incidents(incidents: Sequence[Incident], timestamp_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which times lie within an incident, from its first anomalous row to its last, bool [n]."""
    alarm = np.zeros(len(timestamp_ns), np.bool_)
    for incident in incidents:
        end_ns = np.iinfo(np.int64).max if incident.end_ns is None else incident.end_ns
        alarm |= (timestamp_ns >= incident.start_ns) & (timestamp_ns <= end_ns)
    return alarm


def greatest_of_stretches(score: NDArray[np.float64], num: int = 80) -> tuple[float, ...]:
    """Return the greatest known score of each of at most `num` equally long stretches; NaN where none is.

    >>> greatest_of_stretches(np.array([1.0, 3.0, np.nan, np.nan, 2.0]), num=3)
    (3.0, nan, 2.0)
    """
    if len(score) == 0:
        return ()
    starts = np.arange(0, len(score), -(-len(score) // num))
    found: NDArray[np.float64] = np.fmax.reduceat(score, starts)
    return tuple(found.tolist())


def write_scores(path: Path, data: Labelled, scores: RowScores, alarm: NDArray[np.bool_]) -> None:
    """Write one row of scores for each row of the file, in the file's order; `alarm` is bool [n]."""
    columns = {
        "timestamp": data.timestamp_ns,
        "score": scores.score,
        "unusual": scores.score > 1.0,
        "alarm": alarm,
        "label": data.label,
        "split": data.split.astype(str),
    }
    in_file = np.argsort(data.place)
    with TableWriter(path.with_suffix(".parquet")) as writer:
        writer.write({name: column[in_file] for name, column in columns.items()})
