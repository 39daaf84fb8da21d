"""Evaluation on labelled files: each fitted on its own training rows, every row scored by the engine.

Beside the chosen model stand two that it has to beat: a random score, and the linear model with plain
squared error. What the figures mean: docs/evaluation.md.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from connectors.errors import ConnectorError
from connectors.parquet import Chunk, TableWriter, discover, infer_interval, read_chunks
from connectors.records import Readings
from detector.artifact import Artifact
from detector.engine import Engine
from detector.errors import DetectorError
from detector.measures import AlarmCounts, auc_pr, auc_roc, autocorrelation_period, count_alarms, vus_pr
from trainer.config import FitOptions, ModelOptions, ScoringOptions, TrainConfig
from trainer.errors import TooLittleDataError, TrainerError
from trainer.pipeline import MIN_WINDOW, Source, default_window, fit_source
from trainer.progress import Report

_FEED_ROWS = 1 << 14
_RANDOM_SEEDS = 5
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What to fit and how to judge it.

    train_rows  fit on the first so many rows; None: on `split = train`
    causal      a row is judged by windows that end at it; else also by those that end after it
    window      None: 64 rows, or a tenth of the training rows where that is less, halved until it fits
    scores      directory for a Parquet of scores a file; None: none
    """

    family: str = "conv"
    train_rows: int | None = None
    causal: bool = True
    window: int | None = None
    seed: int = 0
    max_epochs: int | None = None
    alarm_budget: str = "1/week"
    scores: Path | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Measures that need no threshold, over all rows; NaN where a file has no event."""

    vus_pr: float
    auc_pr: float
    auc_roc: float


@dataclass(frozen=True, slots=True)
class FileResult:
    """One file. `alarms` count test rows at score > 1; `test_days` is their event time."""

    file: str
    window: int
    rows: int
    train_rows: int
    buffer: int
    model: Ranking
    linear: Ranking
    random: Ranking
    alarms: AlarmCounts
    linear_alarms: AlarmCounts
    test_days: float
    fit_seconds: float
    score_rows_per_second: float


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


@dataclass(frozen=True, slots=True)
class _Labelled:
    """One file in memory, rows in the file's order."""

    timestamp_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    label: NDArray[np.int8]
    train: NDArray[np.bool_]
    split: NDArray[np.object_]
    channels: tuple[str, ...]
    interval_ns: int
    buffer: int


def evaluate(directory: Path, options: EvaluationOptions, jobs: int | None, report: Report) -> Evaluation:
    """Evaluate every Parquet file below `directory`, `jobs` at a time (None: one a core).

    Raises TrainerError when there is none; a file that cannot be evaluated becomes a Failure.
    """
    files = sorted(directory.rglob("*.parquet")) if directory.is_dir() else [directory]
    if not files or not files[0].exists():
        raise TrainerError(f"{directory}: no *.parquet file in this directory or below it")
    names = {file: str(file.relative_to(directory)) if directory.is_dir() else file.name for file in files}
    results: list[FileResult] = []
    failures: list[Failure] = []
    for done, outcome in enumerate(_outcomes(files, names, options, jobs), 1):
        if isinstance(outcome, FileResult):
            results.append(outcome)
        else:
            failures.append(outcome)
        report(done / len(files), f"{done}/{len(files)} files, {len(failures)} failed: {outcome.file}")
    by_name = lambda outcome: outcome.file  # noqa: E731  # a sort key
    return Evaluation(options, tuple(sorted(results, key=by_name)), tuple(sorted(failures, key=by_name)))


def evaluate_file(path: Path, name: str, options: EvaluationOptions) -> FileResult:
    """Fit, score and measure one file. Raises the packages' errors with the reason."""
    data = _read(path, options.train_rows)
    train_rows = int(data.train.sum())
    started = time.perf_counter()
    artifact = _fit(data, options, train_rows)
    window = artifact.spec.window
    fitted = time.perf_counter()
    score = score_rows(artifact, data.timestamp_ns, data.values)
    scored = time.perf_counter()
    linear = fit_source(_training_source(data), _config(options, "linear", window, plain=True))
    linear_score = score_rows(linear, data.timestamp_ns, data.values)
    if options.scores is not None:
        _write_scores(options.scores / name, data, score)
    test = ~data.train if (~data.train).any() else np.ones(len(data.train), np.bool_)
    return FileResult(
        file=name,
        window=window,
        rows=len(score),
        train_rows=train_rows,
        buffer=data.buffer,
        model=_rank(data, score),
        linear=_rank(data, linear_score),
        random=_rank_random(data),
        alarms=count_alarms(data.label[test], score[test] > 1.0),
        linear_alarms=count_alarms(data.label[test], linear_score[test] > 1.0),
        test_days=float(test.sum()) * data.interval_ns / 1e9 / _DAY_SECONDS,
        fit_seconds=fitted - started,
        score_rows_per_second=len(score) / max(scored - fitted, 1e-9),
    )


def score_rows(
    artifact: Artifact, timestamp_ns: NDArray[np.int64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The score of each row of one series, in the order given, float64 [n]; NaN where unknown.

    Several rows of one interval share the score of their grid row.
    """
    engine = Engine(artifact)
    order = np.argsort(timestamp_ns, kind="stable")
    found_row, found_score = [], []
    interval_ns = artifact.spec.interval_ns
    for at in range(0, len(order), _FEED_ROWS):
        rows = order[at : at + _FEED_ROWS]
        zeros = np.zeros(len(rows), np.int32)
        result = engine.step(Readings(("series",), zeros, timestamp_ns[rows], values[rows], zeros, rows))
        found_row.append(result.verdicts.timestamp_ns // interval_ns)
        found_score.append(result.verdicts.score)
    rest = engine.flush().verdicts
    row = np.concatenate([*found_row, rest.timestamp_ns // interval_ns])
    score = np.concatenate([*found_score, rest.score])
    by_row = np.argsort(row, kind="stable")
    wanted = timestamp_ns // interval_ns
    at_row = np.searchsorted(row[by_row], wanted)
    return score[by_row][np.minimum(at_row, len(row) - 1)]


def _fit(data: _Labelled, options: EvaluationOptions, train_rows: int) -> Artifact:
    """Fit with the window asked for, or with the largest default that the training rows allow.

    Where long gaps leave no stretch of the default window, it is halved.
    """
    window = options.window or default_window(train_rows)
    while True:
        try:
            return fit_source(_training_source(data), _config(options, options.family, window))
        except TooLittleDataError:
            if options.window is not None or window // 2 < MIN_WINDOW:
                raise
            window //= 2


def _outcomes(
    files: Sequence[Path], names: dict[Path, str], options: EvaluationOptions, jobs: int | None
) -> Iterator[FileResult | Failure]:
    """One outcome a file as they come, the largest files first."""
    jobs = min(jobs or os.cpu_count() or 1, len(files))
    ordered = sorted(files, key=lambda file: -file.stat().st_size)
    if jobs == 1:
        yield from (_outcome(file, names[file], options) for file in ordered)
        return
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = [pool.submit(_outcome, file, names[file], options) for file in ordered]
        try:
            yield from (future.result() for future in as_completed(futures))
        finally:
            pool.shutdown(cancel_futures=True)


def _outcome(path: Path, name: str, options: EvaluationOptions) -> FileResult | Failure:
    try:
        return evaluate_file(path, name, options)
    except (TrainerError, ConnectorError, DetectorError) as error:
        return Failure(name, str(error))


def _read(path: Path, train_rows: int | None) -> _Labelled:
    dataset = discover(path)
    if not dataset.has_label:
        raise TrainerError(f"{path}: no `label` column; evaluation needs 1 on anomalous rows and 0 elsewhere")
    if train_rows is None and not dataset.has_split:
        raise TrainerError(f"{path}: no `split` column; add one (train, test) or give --train-rows")
    chunks = list(read_chunks(dataset))
    timestamp_ns = np.concatenate([chunk.timestamp_ns for chunk in chunks])
    values = np.concatenate([chunk.values for chunk in chunks])
    label = np.concatenate([chunk.label for chunk in chunks if chunk.label is not None])
    train = np.arange(len(label)) < (train_rows or 0)
    split = np.where(train, "train", "test").astype(object)
    if train_rows is None:
        split = np.concatenate([chunk.split for chunk in chunks if chunk.split is not None])
        train = split == "train"
    interval_ns = dataset.interval_ns or infer_interval(timestamp_ns)
    if interval_ns is None or not train.any():
        raise TooLittleDataError(f"{path}: {int(train.sum())} training rows of {len(label)}")
    stated = dataset.metadata.get("vus_window", "")
    buffer = int(stated) if stated.isdecimal() else autocorrelation_period(values[:, 0])
    return _Labelled(timestamp_ns, values, label, train, split, dataset.channels, interval_ns, buffer)


def _training_source(data: _Labelled) -> Source:
    chunk = Chunk(
        data.timestamp_ns[data.train],
        ("series",),
        np.zeros(int(data.train.sum()), np.int32),
        data.values[data.train],
        None,
        None,
    )
    return Source(lambda: iter([chunk]), data.channels, data.interval_ns)


def _config(options: EvaluationOptions, family: str, window: int, plain: bool = False) -> TrainConfig:
    fit = FitOptions(seed=options.seed)
    if options.max_epochs is not None:
        fit = FitOptions(seed=options.seed, max_epochs=options.max_epochs)
    scoring = ScoringOptions(
        alarm_budget=options.alarm_budget,
        delay=0 if options.causal else window - 1,
        smooth=1 if plain else None,
        plain=plain,
    )
    return TrainConfig(model=ModelOptions(family=family, window=window), fit=fit, scoring=scoring)


def _rank(data: _Labelled, score: NDArray[np.float64]) -> Ranking:
    """Unknown scores rank as 0: nobody was alarmed."""
    known = np.nan_to_num(score, nan=0.0)
    return Ranking(
        vus_pr(data.label, known, data.buffer), auc_pr(data.label, known), auc_roc(data.label, known)
    )


def _rank_random(data: _Labelled) -> Ranking:
    found = [
        _rank(data, np.random.default_rng(seed).random(len(data.label))) for seed in range(_RANDOM_SEEDS)
    ]
    means = [float(np.mean([getattr(one, name) for one in found])) for name in Ranking.__slots__]
    return Ranking(*means)


def _write_scores(path: Path, data: _Labelled, score: NDArray[np.float64]) -> None:
    with TableWriter(path.with_suffix(".parquet")) as writer:
        writer.write(
            {
                "timestamp": data.timestamp_ns,
                "score": score,
                "anomalous": score > 1.0,
                "label": data.label,
                "split": data.split.astype(str),
            }
        )


def mean_ranking(rankings: Sequence[Ranking]) -> Ranking:
    """Mean over the files that have events; NaN where none has."""
    columns = np.array([[r.vus_pr, r.auc_pr, r.auc_roc] for r in rankings]).reshape(-1, 3)
    known = columns[~np.isnan(columns).any(axis=1)]
    return Ranking(*(known.mean(axis=0).tolist() if len(known) else [float("nan")] * 3))


def as_json(evaluation: Evaluation) -> dict[str, object]:
    """Everything as plain values; unknown figures are null."""
    results = evaluation.results
    options = replace(evaluation.options, scores=None)
    return {
        "options": {k: v for k, v in asdict(options).items() if k != "scores"},
        "files": [_file_json(result) for result in results],
        "pooled": {
            "files": len(results),
            "failed": len(evaluation.failures),
            "model": asdict(mean_ranking([r.model for r in results])),
            "linear": asdict(mean_ranking([r.linear for r in results])),
            "random": asdict(mean_ranking([r.random for r in results])),
            **_alarm_json(pooled_alarms(results), sum(r.test_days for r in results)),
        },
        "failures": [asdict(failure) for failure in evaluation.failures],
    }


def pooled_alarms(results: Sequence[FileResult]) -> AlarmCounts:
    """The alarms of all files together."""
    total = AlarmCounts(0, 0, 0, 0, 0, 0, 0, ())
    for result in results:
        total = total + result.alarms
    return total


def _file_json(result: FileResult) -> dict[str, object]:
    plain = ("file", "window", "rows", "train_rows", "buffer", "fit_seconds", "score_rows_per_second")
    return {
        **{name: getattr(result, name) for name in plain},
        "model": asdict(result.model),
        "linear": asdict(result.linear),
        "random": asdict(result.random),
        **_alarm_json(result.alarms, result.test_days),
    }


def _alarm_json(alarms: AlarmCounts, days: float) -> dict[str, object]:
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
        "test_days": days,
    }
