"""What a backtest measures: scores against labels, where there are some, and alarms against the budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectors.parquet.reader import Chunk
from detector.artifact.spec import Spec
from detector.calibration.alarm_budget import parse_budget
from detector.incidents.incident import MODEL_REASONS, Incident
from detector.offline.measuring.measures import (
    NO_ALARMS,
    auc_pr,
    auc_roc,
    autocorrelation_period,
    count_alarms,
    vus_pr,
)
from detector.rows.grid import starts_of_rows
from detector.scoring.verdicts import Verdicts
from detector.scoring.window_scorer import slow_rows_of

Measures = dict[str, float | int]
Scores = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Times and scores of the rows of one series, in the order of time, [n] each."""


@dataclass(frozen=True, slots=True)
class LabelledSeries:
    """The n rows of one series, in the order of time.

    timestamp_ns  int64 [n]
    label         int8 [n], 1 anomalous
    first         float64 [n], the first channel: its period sets the buffer of VUS-PR
    """

    timestamp_ns: NDArray[np.int64]
    label: NDArray[np.int8]
    first: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """Hold what the measures need of verdicts; several parts without a common series can be put together.

    num     rows with a verdict, by series
    scores  by series, if they were wanted
    """

    num: Mapping[str, int]
    scores: Mapping[str, Scores]

    @classmethod
    def of(cls, verdicts: Sequence[Verdicts], wants_scores: bool) -> JudgedRows:
        """Return the judged rows of final verdicts."""
        num: dict[str, int] = {}
        for part in verdicts:
            counts = np.bincount(part.series, minlength=len(part.names)).tolist()
            for name, count in zip(part.names, counts, strict=True):
                num[name] = num.get(name, 0) + count
        return cls(num, _scores_by_series(verdicts) if wants_scores else {})


def labelled_series(chunks: Iterable[Chunk]) -> dict[str, LabelledSeries]:
    """Return the labels of each series, sorted by its name. Every chunk must have labels."""
    parts: dict[str, list[tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.float64]]]] = {}
    for chunk in chunks:
        assert chunk.label is not None
        for code, name in enumerate(chunk.names):
            mine = chunk.series == code
            piece = (chunk.timestamp_ns[mine], chunk.label[mine], chunk.values[mine, 0])
            parts.setdefault(name, []).append(piece)
    found = {}
    for name, pieces in sorted(parts.items()):
        times, label, values = (np.concatenate(column) for column in zip(*pieces, strict=True))
        order = np.argsort(times, kind="stable")
        found[name] = LabelledSeries(times[order], label[order], values[order])
    return found


def measures_of(
    verdicts: Sequence[Verdicts],
    incidents: Sequence[Incident],
    spec: Spec,
    labels: dict[str, LabelledSeries] | None = None,
    vus_buffer: int | None = None,
) -> Measures:
    """Return the measures of a backtest by name.

    Args:
        verdicts: the final verdicts of all rows.
        incidents: those that opened. The budget counts those of a score or of evidence that adds up, and not
            stuck or impossible values.
        spec: the model's specification: its interval and its alarm budget.
        labels: rows by series; None where there are no labels, and so no measures against them.
        vus_buffer: rows of the buffer of VUS-PR; None: the period of the first series.

    Returns:
        With labels: `vus_pr`, `auc_pr`, `auc_roc`, `precision`, `recall`, `f1`, `events`, `event_recall`,
        `median_delay_rows`, `false_alarms`. Always: `budgeted_alarms`, the alarms that the budget allows in
        this time, and `realised_to_budgeted`, the alarms (with labels: the false ones) divided by it.
    """
    return measures_from(JudgedRows.of(verdicts, bool(labels)), incidents, spec, labels, vus_buffer)


def measures_from(
    judged: JudgedRows,
    incidents: Sequence[Incident],
    spec: Spec,
    labels: dict[str, LabelledSeries] | None = None,
    vus_buffer: int | None = None,
) -> Measures:
    """Return the measures of a backtest as `measures_of` does; rows with labels need their scores."""
    found = {} if not labels else _against_labels(judged.scores, spec, labels, vus_buffer)
    alarms = found.get("false_alarms", num_alarms(incidents))
    return found | _against_budget(spec, judged.num, alarms)


def num_alarms(incidents: Sequence[Incident]) -> int:
    """Return how many of the incidents count for the alarm budget."""
    return sum(one.reason in MODEL_REASONS for one in incidents)


def _against_budget(spec: Spec, rows: Mapping[str, int], alarms: float) -> Measures:
    """Compare alarms with what the budget allows in the time that the rows of each series last."""
    seconds = sum(num * spec.interval_of(name) for name, num in rows.items()) / 1e9
    budgeted = seconds * parse_budget(spec.threshold.alarm_budget)
    ratio = alarms / budgeted if budgeted else float("nan")
    return {"budgeted_alarms": budgeted, "realised_to_budgeted": ratio}


def _against_labels(
    found: Mapping[str, Scores],
    spec: Spec,
    labels: dict[str, LabelledSeries],
    vus_buffer: int | None,
) -> Measures:
    """Return the measures over all labelled rows. Unknown scores rank as 0; alarms count series by series."""
    scores, alarms = [], NO_ALARMS
    for name, truth in labels.items():
        wanted = starts_of_rows(truth.timestamp_ns, spec.interval_of(name), slow_rows_of(spec.max_gap))
        score = _at_rows(wanted, *found[name])
        scores.append(score)
        alarms += count_alarms(truth.label, score > 1.0)
    label, score = np.concatenate([truth.label for truth in labels.values()]), np.concatenate(scores)
    if vus_buffer is None:
        vus_buffer = autocorrelation_period(next(iter(labels.values())).first)
    return {
        "vus_pr": vus_pr(label, score, vus_buffer),
        "auc_pr": auc_pr(label, score),
        "auc_roc": auc_roc(label, score),
        **alarms.as_json(),
    }


def _at_rows(
    wanted_ns: NDArray[np.int64], times_ns: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the score of the row that starts at each wanted time; 0 where there is none or it is unknown."""
    at = np.minimum(np.searchsorted(times_ns, wanted_ns), len(times_ns) - 1)
    return np.where(times_ns[at] == wanted_ns, np.nan_to_num(scores[at], nan=0.0), 0.0)


def _scores_by_series(verdicts: Sequence[Verdicts]) -> dict[str, Scores]:
    """Return times and scores of each series, in the order of time."""
    parts: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float64]]]] = {}
    for part in verdicts:
        for code, name in enumerate(part.names):
            mine = part.series == code
            parts.setdefault(name, []).append((part.timestamp_ns[mine], part.score[mine]))
    found = {}
    for name, pieces in parts.items():
        times = np.concatenate([piece[0] for piece in pieces])
        order = np.argsort(times, kind="stable")
        found[name] = (times[order], np.concatenate([piece[1] for piece in pieces])[order])
    return found
