"""Evaluation of all labelled files of a directory, several at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from connectors.errors import ConnectorError
from detector.errors import DetectorError
from detector.workers.executor import Executor
from trainer.errors import TrainerError
from trainer.evaluation.file_evaluation import evaluate_file
from trainer.evaluation.labelled import find_files
from trainer.evaluation.options import EvaluationOptions
from trainer.evaluation.process_pool import in_processes
from trainer.evaluation.results import EvaluationResult, Failure, FileResult
from trainer.fitting.members import check_families
from trainer.progress import ProgressReport

logger = logging.getLogger(__name__)


def evaluate(
    directory: Path,
    options: EvaluationOptions,
    jobs: int | None,
    report: ProgressReport,
    executor: Executor | None = None,
) -> EvaluationResult:
    """Evaluate every Parquet file below `directory`; a file that fails becomes a `Failure`.

    Args:
        directory: Labelled files, or one such file.
        options: What to fit and which figures to report.
        jobs: Files at a time; None: one per processor core. No figure but the speeds depends on it.
        report: Receives the progress after each file.
        executor: Workers that see the same files by the same full paths; None: processes of this machine.

    Raises:
        TrainerError: There is no file, or no file could be evaluated with these options.
    """
    _check(directory, options, jobs)
    files = find_files(directory)
    results: list[FileResult] = []
    failures: list[Failure] = []
    for done, outcome in enumerate(_outcomes(directory, files, options, executor or jobs), 1):
        if isinstance(outcome, FileResult):
            results.append(outcome)
        else:
            failures.append(outcome)
        report(done / len(files), f"{done}/{len(files)} files, {len(failures)} failed: {outcome.file}")
    return EvaluationResult(
        options,
        tuple(sorted(results, key=lambda result: result.file)),
        tuple(sorted(failures, key=lambda failure: failure.file)),
    )


def _check(directory: Path, options: EvaluationOptions, jobs: int | None) -> None:
    """Reject before the work starts what would only fail, or mislead, hours later."""
    check_families(options.train_config().model)
    for name, value in (("--jobs", jobs), ("--train-rows", options.train_rows)):
        if value is not None and value < 1:
            raise TrainerError(f"{name} {value}: must be at least 1")
    scores = options.scores
    if scores is not None and directory.is_dir() and scores.resolve().is_relative_to(directory.resolve()):
        raise TrainerError(
            f"--scores {scores} lies in {directory}: the next evaluation would read the scores as data;"
            " choose a directory outside it"
        )


def _outcomes(
    directory: Path, files: Sequence[Path], options: EvaluationOptions, where: Executor | int | None
) -> Iterator[FileResult | Failure]:
    """Yield one outcome per file as they arrive; the largest files start first."""
    ordered = sorted(files, key=lambda file: -file.stat().st_size)
    work = partial(_outcome, directory=directory, options=options)
    died = partial(_killed, directory=directory)
    if where is not None and not isinstance(where, int):
        yield from where.results(work, ordered, died)
        return
    jobs = min(where or os.cpu_count() or 1, len(files))
    if jobs > 1:
        yield from in_processes(work, ordered, jobs, died)
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
    except Exception as error:  # whatever fails, such as a matrix without a solution, costs one file only
        logger.warning("%s cannot be evaluated", name, exc_info=error)
        return Failure(name, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def _killed(file: Path, directory: Path) -> FileResult | Failure:
    return Failure(_name(file, directory), "its process was killed: not enough memory?")


def _name(file: Path, directory: Path) -> str:
    return str(file.relative_to(directory)) if directory.is_dir() else file.name


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one torch thread, as every process of a pool does: more of them change the last bits of a score."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
