"""Evaluation of one labelled file: fit, score, measure.

The model is fitted on the file's own training rows, and the engine scores every row. Two rivals stand beside
it: a random score, and the linear model with plain squared error. docs/evaluation.md defines the figures.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Artifact
from detector.calibration.alarm_budget import parse_budget, shared_by
from detector.calibration.recalibrate import recalibrated
from detector.incidents.incident import Incident
from detector.offline.measuring.coverage import Coverage
from detector.offline.measuring.measures import NO_ALARMS, auc_pr, auc_roc, count_alarms, vus_pr
from trainer.data.history import build_history
from trainer.evaluation.baseline import WINDOW as BASELINE_WINDOW
from trainer.evaluation.baseline import plain_linear_errors
from trainer.evaluation.labelled import Labelled, read_labelled
from trainer.evaluation.operator_measures import Event, OperatorMeasures, measure_incidents
from trainer.evaluation.options import EvaluationOptions
from trainer.evaluation.results import BudgetResult, FileResult, Ranking, Worth
from trainer.evaluation.row_scores import greatest_of_stretches, score_rows, write_scores
from trainer.evaluation.worth import without_each
from trainer.fitting.checkpoint import Checkpoints
from trainer.fitting.members import MIN_WINDOW
from trainer.pipeline import TrainingData, fit_source

_NUM_RANDOM = 5
_DAY_SECONDS = 86_400
_GRACE_ROWS = 10
"""How inexact the labels are: an incident that opens so many rows beside an event is not false."""


def evaluate_file(path: Path, name: str, options: EvaluationOptions) -> FileResult:
    """Fit, score and measure one file.

    Args:
        path: A labelled Parquet file with one series.
        name: Name of the file in the result, and of its scores below `options.scores`.
        options: What to fit and which figures to report.

    Raises:
        TrainerError, ParquetError, DetectorError: The file cannot be evaluated; the message gives the reason.
    """
    data = read_labelled(path, options.train_rows)
    started = time.perf_counter()
    artifact = fit_file(data, options)
    fitted = time.perf_counter()
    scores = score_rows(artifact, data.timestamp_ns, data.values, name, options.without)
    scored = time.perf_counter()
    run = _run_test(data, artifact, name, options.without)
    asked = _at_budget(data, run, options.alarm_budget)
    ranking = _rank(data, scores.score)
    worth = _worth(data, artifact, name, options, Worth(asked.operator, ranking)) if options.worth else {}
    if options.scores is not None:
        write_scores(options.scores / name, data, scores, run.alarm)
    return FileResult(
        file=name,
        window=artifact.spec.window,
        rows=len(scores.score),
        train_rows=int(data.train.sum()),
        buffer=data.buffer,
        model=ranking,
        linear=_rank(data, _baseline(data, options.causal)),
        random=_rank_random(data, options.seed),
        alarms=asked.alarms,
        budgeted=asked.budgeted,
        coverage=scores.coverage,
        test_coverage=run.coverage,
        test_days=float((~data.train).sum()) * data.interval_ns / 1e9 / _DAY_SECONDS,
        fit_seconds=fitted - started,
        score_rows_per_second=len(scores.score) / max(scored - fitted, 1e-9),
        further=_at_further_budgets(data, artifact, name, options),
        operator=asked.operator,
        worth=worth,
        spark=greatest_of_stretches(scores.score),
    )


def _at_further_budgets(
    data: Labelled, artifact: Artifact, name: str, options: EvaluationOptions
) -> tuple[BudgetResult, ...]:
    """Return what the test rows raise at each further alarm budget."""
    models = [(budget, recalibrated(artifact, budget)) for budget in options.budgets]
    return tuple(
        _at_budget(data, _run_test(data, model, name, options.without), budget) for budget, model in models
    )


def _worth(
    data: Labelled, artifact: Artifact, name: str, options: EvaluationOptions, found: Worth
) -> dict[str, Worth]:
    """Return what is found without each kind of evidence, by name."""

    def run(without: tuple[str, ...]) -> Worth:
        scores = score_rows(artifact, data.timestamp_ns, data.values, name, without)
        seen = _at_budget(data, _run_test(data, artifact, name, without), options.alarm_budget)
        return Worth(seen.operator, _rank(data, scores.score))

    return without_each(artifact.spec, options.without, run, found)


def fit_file(data: Labelled, options: EvaluationOptions, checkpoint: Path | None = None) -> Artifact:
    """Fit on the training rows, as `streamgauge train` does.

    Args:
        data: The labelled rows; those for training are used.
        options: What to fit.
        checkpoint: A directory for the state of the training. A later call with another delay resumes it.

    Raises:
        TrainerError: No window fits, or the checkpoint belongs to other members.
    """
    chunk = data.training_chunk()
    source = TrainingData(lambda: iter([chunk]), data.channels, data.interval_ns)
    checkpoints = None if checkpoint is None else Checkpoints(checkpoint)
    return fit_source(source, options.train_config(), checkpoint=checkpoints)


@dataclass(frozen=True, slots=True)
class _TestRun:
    """Hold which rows lie within incidents, bool [n]; how many test rows were judged; and the incidents."""

    alarm: NDArray[np.bool_]
    coverage: Coverage
    incidents: tuple[Incident, ...]


def _run_test(data: Labelled, artifact: Artifact, name: str, without: tuple[str, ...]) -> _TestRun:
    """Run the detector over the test rows.

    The detector starts cold at the first test row. Training rows may come from another recording, and the
    joint of two recordings must raise no alarm.
    """
    alarm = np.zeros(len(data.label), np.bool_)
    test = ~data.train
    if not test.any():
        return _TestRun(alarm, Coverage.of([], 0), ())
    scores = score_rows(artifact, data.timestamp_ns[test], data.values[test], name, without)
    alarm[test] = scores.alarm
    return _TestRun(alarm, scores.coverage, scores.incidents)


def _at_budget(data: Labelled, run: _TestRun, budget: str) -> BudgetResult:
    test = ~data.train
    normal_seconds = float((test & (data.label == 0)).sum()) * data.interval_ns / 1e9
    if not test.any():
        return BudgetResult(budget, NO_ALARMS, 0.0)
    alarms = count_alarms(data.label[test], run.alarm[test])
    return BudgetResult(
        budget, alarms, normal_seconds * parse_budget(shared_by(budget, 1)), _operator(data, run)
    )


def _operator(data: Labelled, run: _TestRun) -> OperatorMeasures:
    """Return what an operator sees of the test rows; the guilty channel of a label is unknown."""
    test = ~data.train
    times, label = data.timestamp_ns[test], data.label[test]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], label, [0]])))
    events = [
        Event("series", int(times[start]), int(times[end - 1]) + data.interval_ns)
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    ]
    span = (int(times[0]), int(times[-1]) + data.interval_ns)
    return measure_incidents(events, run.incidents, {"series": span}, _GRACE_ROWS * data.interval_ns)


def _baseline(data: Labelled, causal: bool) -> NDArray[np.float64]:
    """Return the plain errors of the linear model, float64 [n].

    The linear model reads the rows as consecutive, whatever their times are.
    """
    chunk = data.training_chunk()
    chunk = replace(chunk, timestamp_ns=np.arange(len(chunk)) * data.interval_ns)
    with build_history(lambda: iter([chunk]), data.channels, data.interval_ns, 0) as history:
        window = min(BASELINE_WINDOW, max(MIN_WINDOW, history.num_rows // 10))
        return plain_linear_errors(history, data.values, window, causal)


def _rank(data: Labelled, score: NDArray[np.float64]) -> Ranking:
    """Rank the rows by score; an unknown score counts as 0, as it raised no alarm."""
    known = np.nan_to_num(score, nan=0.0)
    return Ranking(
        vus_pr(data.label, known, data.buffer), auc_pr(data.label, known), auc_roc(data.label, known)
    )


def _rank_random(data: Labelled, seed: int) -> Ranking:
    """Return the mean ranking of several random scores; a single one would depend on luck."""
    drawn = [np.random.default_rng([seed, number]).random(len(data.label)) for number in range(_NUM_RANDOM)]
    rankings = [_rank(data, score) for score in drawn]
    means = [float(np.mean([getattr(one, name) for one in rankings])) for name in Ranking.__slots__]
    return Ranking(*means)
