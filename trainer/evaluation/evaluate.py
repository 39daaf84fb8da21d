"""Evaluation on labelled files: each fitted on its own training rows, every row scored by the engine.

Beside the chosen model stand two that it has to beat: a random score, and the linear model with plain
squared error. What the figures mean: docs/evaluation.md.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from connectors.errors import ConnectorError
from detector.artifact.spec import Artifact
from detector.calibration.alarm_budget import parse_budget
from detector.calibration.recalibrate import recalibrated
from detector.errors import DetectorError
from detector.offline.measures import NO_ALARMS, AlarmCounts, auc_pr, auc_roc, count_alarms, vus_pr
from trainer.config import TrainConfig, override
from trainer.data.history import build_history
from trainer.errors import TooLittleDataError, TrainerError
from trainer.evaluation.baseline import WINDOW as BASELINE_WINDOW
from trainer.evaluation.baseline import plain_linear_errors
from trainer.evaluation.labelled import Labelled, find_files, read_labelled
from trainer.evaluation.process_pool import in_processes
from trainer.evaluation.row_scores import judge_rows, write_scores
from trainer.fitting.members import ENSEMBLE, MIN_WINDOW, default_window
from trainer.pipeline import TrainingData, fit_source
from trainer.progress import ProgressReport

_FEED_ROWS = 1 << 14
_NUM_RANDOM = 5
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What to fit and how to judge it.

    train_rows  fit on the first so many rows; None: on `split = train`
    causal      a row is judged by windows that end at it; else also by those that end after it
    delay       rows that such a window may end after it; None: as many as it has
    window      None: what suits the data (`trainer.fitting.members`), halved until it fits
    scores      directory for a Parquet of scores a file; None: none
    budgets     further alarm budgets, for each of which the fitted model is calibrated and run again
    base        everything else of the training
    """

    family: str = ENSEMBLE
    train_rows: int | None = None
    causal: bool = True
    delay: int | None = None
    window: int | None = None
    seed: int = 0
    max_epochs: int | None = None
    alarm_budget: str = "1/week"
    scores: Path | None = None
    budgets: tuple[str, ...] = ()
    base: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Measures that need no threshold, over all rows; NaN where a file has no event."""

    vus_pr: float
    auc_pr: float
    auc_roc: float


@dataclass(frozen=True, slots=True)
class BudgetResult:
    """The incidents of the test rows at one budget, and the false alarms that it allows in the part of their
    event time that is normal."""

    budget: str
    alarms: AlarmCounts
    budgeted: float


@dataclass(frozen=True, slots=True)
class FileResult:
    """One file. `alarms` and `budgeted` as in `BudgetResult`, for the budget asked for; `further` for the
    other budgets; `test_days` is the event time of the test rows."""

    file: str
    window: int
    rows: int
    train_rows: int
    buffer: int
    model: Ranking
    linear: Ranking
    random: Ranking
    alarms: AlarmCounts
    budgeted: float
    test_days: float
    fit_seconds: float
    score_rows_per_second: float
    further: tuple[BudgetResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be evaluated, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All files, by name."""

    options: EvaluationOptions
    results: tuple[FileResult, ...]
    failures: tuple[Failure, ...] = field(default=())


def evaluate(
    directory: Path, options: EvaluationOptions, jobs: int | None, report: ProgressReport
) -> Evaluation:
    """Evaluate every Parquet file below `directory`, `jobs` at a time (None: one a core).

    Raises TrainerError when there is none, and for options that no file can be evaluated with; a file
    that cannot be evaluated becomes a Failure. The figures do not depend on `jobs`, but for the speeds.
    """
    _check(directory, options, jobs)
    files = find_files(directory)
    results: list[FileResult] = []
    failures: list[Failure] = []
    for done, outcome in enumerate(_outcomes(directory, files, options, jobs), 1):
        if isinstance(outcome, FileResult):
            results.append(outcome)
        else:
            failures.append(outcome)
        report(done / len(files), f"{done}/{len(files)} files, {len(failures)} failed: {outcome.file}")
    return Evaluation(
        options,
        tuple(sorted(results, key=lambda result: result.file)),
        tuple(sorted(failures, key=lambda failure: failure.file)),
    )


def evaluate_file(path: Path, name: str, options: EvaluationOptions) -> FileResult:
    """Fit, score and measure one file. Raises the packages' errors with the reason."""
    data = read_labelled(path, options.train_rows)
    started = time.perf_counter()
    artifact = _fit(data, options)
    fitted = time.perf_counter()
    found = judge_rows(artifact, data.timestamp_ns, data.values)
    scored = time.perf_counter()
    alarm = _alarms(data, artifact)
    asked = _at_budget(data, alarm, options.alarm_budget)
    further = [
        _at_budget(data, _alarms(data, recalibrated(artifact, budget)), budget) for budget in options.budgets
    ]
    if options.scores is not None:
        write_scores(options.scores / name, data, found, alarm)
    return FileResult(
        file=name,
        window=artifact.spec.window,
        rows=len(found.score),
        train_rows=int(data.train.sum()),
        buffer=data.buffer,
        model=_rank(data, found.error),
        linear=_rank(data, _baseline(data, options.causal)),
        random=_rank_random(data, options.seed),
        alarms=asked.alarms,
        budgeted=asked.budgeted,
        test_days=float((~data.train).sum()) * data.interval_ns / 1e9 / _DAY_SECONDS,
        fit_seconds=fitted - started,
        score_rows_per_second=len(found.score) / max(scored - fitted, 1e-9),
        further=tuple(further),
    )


def _alarms(data: Labelled, artifact: Artifact) -> NDArray[np.bool_]:
    """Rows within incidents of a detector that is started, cold, at the first test row, bool [n]: training
    rows may come from elsewhere, and nobody is to be alarmed by where two recordings were joined."""
    alarm = np.zeros(len(data.label), np.bool_)
    test = ~data.train
    if test.any():
        alarm[test] = judge_rows(artifact, data.timestamp_ns[test], data.values[test]).alarm
    return alarm


def _at_budget(data: Labelled, alarm: NDArray[np.bool_], budget: str) -> BudgetResult:
    test = ~data.train
    normal_seconds = float((test & (data.label == 0)).sum()) * data.interval_ns / 1e9
    alarms = count_alarms(data.label[test], alarm[test]) if test.any() else NO_ALARMS
    return BudgetResult(budget, alarms, normal_seconds * parse_budget(budget))


def _baseline(data: Labelled, causal: bool) -> NDArray[np.float64]:
    """The linear model's plain errors of the file's rows; it takes them one after the other, whatever
    their times."""
    chunk = data.training_chunk()
    chunk = replace(chunk, timestamp_ns=np.arange(len(chunk)) * data.interval_ns)
    with build_history(lambda: iter([chunk]), data.channels, data.interval_ns, 0) as history:
        window = min(BASELINE_WINDOW, max(MIN_WINDOW, history.num_rows // 10))
        return plain_linear_errors(history, data.values, window, causal)


def _check(directory: Path, options: EvaluationOptions, jobs: int | None) -> None:
    """Refuse at once what would only fail, or mislead, after hours."""
    _config(options, MIN_WINDOW if options.window is None else options.window)
    for name, value in (("--jobs", jobs), ("--train-rows", options.train_rows)):
        if value is not None and value < 1:
            raise TrainerError(f"{name} {value}: must be at least 1")
    scores = options.scores
    if scores is not None and directory.is_dir() and scores.resolve().is_relative_to(directory.resolve()):
        raise TrainerError(
            f"--scores {scores} lies in {directory}, where the next evaluation would take the scores for"
            " series: choose a directory outside it"
        )


def _fit(data: Labelled, options: EvaluationOptions) -> Artifact:
    """Fit with the window asked for, or with the largest default that the training rows allow.

    Where long gaps leave no stretch of the default window, it is halved.
    """
    window = options.window or default_window(int(data.train.sum()), len(data.channels))
    while True:
        try:
            return fit_source(_training_source(data), _config(options, window))
        except TooLittleDataError:
            if options.window is not None or window // 2 < MIN_WINDOW:
                raise
            window //= 2


def _outcomes(
    directory: Path, files: Sequence[Path], options: EvaluationOptions, jobs: int | None
) -> Iterator[FileResult | Failure]:
    """One outcome a file as they come, the largest files first."""
    jobs = min(jobs or os.cpu_count() or 1, len(files))
    ordered = sorted(files, key=lambda file: -file.stat().st_size)
    work = partial(_outcome, directory=directory, options=options)
    if jobs > 1:
        yield from in_processes(work, ordered, jobs, partial(_died, directory=directory))
        return
    with _one_thread():
        yield from (work(file) for file in ordered)


def _outcome(file: Path, directory: Path, options: EvaluationOptions) -> FileResult | Failure:
    name = _name(file, directory)
    try:
        return evaluate_file(file, name, options)
    except (TrainerError, ConnectorError, DetectorError) as error:
        return Failure(name, str(error))
    except (MemoryError, torch.OutOfMemoryError):
        return Failure(name, "not enough memory")


def _died(file: Path, directory: Path) -> FileResult | Failure:
    return Failure(_name(file, directory), "its process was killed: not enough memory?")


def _name(file: Path, directory: Path) -> str:
    return str(file.relative_to(directory)) if directory.is_dir() else file.name


@contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread, as every process of a pool has: more of them change the last bits of a score."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _training_source(data: Labelled) -> TrainingData:
    chunk = data.training_chunk()
    return TrainingData(lambda: iter([chunk]), data.channels, data.interval_ns)


def _config(options: EvaluationOptions, window: int) -> TrainConfig:
    """Raises TrainerError that names what cannot be."""
    changes: dict[str, dict[str, object]] = {
        "model": {"family": options.family, "window": window},
        "fit": {"seed": options.seed, "max_epochs": options.max_epochs},
        "scoring": {
            "alarm_budget": options.alarm_budget,
            "delay": 0 if options.causal else options.delay if options.delay is not None else window - 1,
        },
    }
    return override(options.base, None, changes)


def _rank(data: Labelled, score: NDArray[np.float64]) -> Ranking:
    """Unknown scores rank as 0: nobody was alarmed."""
    known = np.nan_to_num(score, nan=0.0)
    return Ranking(
        vus_pr(data.label, known, data.buffer), auc_pr(data.label, known), auc_roc(data.label, known)
    )


def _rank_random(data: Labelled, seed: int) -> Ranking:
    """The mean of several: one random score alone is a matter of luck."""
    drawn = [np.random.default_rng([seed, number]).random(len(data.label)) for number in range(_NUM_RANDOM)]
    rankings = [_rank(data, score) for score in drawn]
    means = [float(np.mean([getattr(one, name) for one in rankings])) for name in Ranking.__slots__]
    return Ranking(*means)


def mean_ranking(rankings: Sequence[Ranking]) -> Ranking:
    """Mean over the files that have events; NaN where none has."""
    columns = np.array([[r.vus_pr, r.auc_pr, r.auc_roc] for r in rankings]).reshape(-1, 3)
    known = columns[~np.isnan(columns).any(axis=1)]
    return Ranking(*(known.mean(axis=0).tolist() if len(known) else [float("nan")] * 3))


def pooled_alarms(results: Sequence[FileResult]) -> AlarmCounts:
    """The alarms of all files together."""
    total = NO_ALARMS
    for result in results:
        total = total + result.alarms
    return total


def pooled_speed(results: Sequence[FileResult]) -> float:
    """Rows scored a second over all files."""
    seconds = sum(result.rows / result.score_rows_per_second for result in results)
    return sum(result.rows for result in results) / seconds if seconds else float("nan")


def as_json(evaluation: Evaluation) -> dict[str, object]:
    """Everything as plain values, NaN where a figure is unknown."""
    results = evaluation.results
    days = sum(result.test_days for result in results)
    return {
        "options": {
            name: value
            for name, value in asdict(evaluation.options).items()
            if name not in ("scores", "base")
        },
        "files": [_file_json(result) for result in results],
        "pooled": {
            "files": len(results),
            "failed": len(evaluation.failures),
            "fit_seconds": sum(result.fit_seconds for result in results),
            "score_rows_per_second": pooled_speed(results),
            "model": asdict(mean_ranking([result.model for result in results])),
            **_alarm_json(pooled_alarms(results), days, sum(result.budgeted for result in results)),
            "linear": asdict(mean_ranking([result.linear for result in results])),
            "random": asdict(mean_ranking([result.random for result in results])),
        },
        "failures": [asdict(failure) for failure in evaluation.failures],
    }


def _file_json(result: FileResult) -> dict[str, object]:
    plain = ("file", "window", "rows", "train_rows", "buffer", "fit_seconds", "score_rows_per_second")
    return {
        **{name: getattr(result, name) for name in plain},
        "model": asdict(result.model),
        **_alarm_json(result.alarms, result.test_days, result.budgeted),
        "linear": asdict(result.linear),
        "random": asdict(result.random),
        "further": {
            one.budget: _alarm_json(one.alarms, result.test_days, one.budgeted) for one in result.further
        },
    }


def _alarm_json(alarms: AlarmCounts, days: float, budgeted: float) -> dict[str, object]:
    return {
        "precision": alarms.precision,
        "recall": alarms.recall,
        "f1": alarms.f1,
        "events": alarms.events,
        "event_recall": alarms.event_recall,
        "median_delay_rows": alarms.median_delay_rows,
        "false_alarms": alarms.false_alarms,
        "false_alarms_per_10k_rows": alarms.false_alarms_per_10k_rows,
        "false_alarms_per_day": alarms.false_alarms / days if days else float("nan"),
        "budgeted_alarms": budgeted,
        "realised_to_budgeted": alarms.false_alarms / budgeted if budgeted else float("nan"),
        "test_days": days,
    }
