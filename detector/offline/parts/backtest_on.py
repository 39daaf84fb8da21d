"""A backtest on the workers of a cluster: parts of whole series, each through an engine of its own.

The engine keeps a state of each series and nothing across them. So the parts find what one replay finds, bit
for bit; only the order of the rows in `scores.parquet` differs. What compares series, such as folds and
peers, is computed here from all parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from detector.artifact.spec import Artifact
from detector.engine.engine import EngineOptions
from detector.errors import ClusterError
from detector.offline.backtest import BacktestOutcome, Given, outcome_of, vus_buffer_of, write_outcome
from detector.offline.parts.found import FailedPart, Found, together
from detector.offline.parts.history import history_at
from detector.offline.parts.judge_part import PartResult, Replay, judge_part, killed_part, series_of_file
from detector.offline.parts.partition import parts_of
from detector.offline.parts.score_files import score_files_in
from detector.workers.executor import Executor

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Gives, for a number of rows, what takes how many more of them are done."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Hold what a backtest on a cluster is asked for.

    artifact   the model
    data       a path that all workers see, or the URI of an object storage with Parquet files
    options    incident rules and lateness of the engine; each worker uses one thread
    given      decisions, wording, and which series are judged; nobody follows
    place      where workers write verdicts: a path that all see, or a URI; None: nowhere
    directory  where scores.parquet and incidents.json are written; None: nowhere
    """

    artifact: Artifact
    data: str
    options: EngineOptions
    given: Given
    place: str | None = None
    directory: Path | None = None


def backtest_on(executor: Executor, asked: Asked, progress: Progress) -> BacktestOutcome:
    """Replay Parquet through engines on workers; a part that fails is named and costs its series alone.

    Promise: what was not killed is not computed again, and no row is written twice. `scores.parquet` appears
    when it is complete.

    Raises:
        ConnectorError, DetectorError: The data cannot be read, or the verdicts cannot be written. A file
            whose series cannot be counted ends all, as any of them may have rows there.
        ClusterError: No part could be judged, or a file killed each worker that read it.
    """
    spec = asked.artifact.spec
    scores = None if asked.place is None else score_files_in(asked.place)
    with history_at(spec, asked.data) as history, progress(history.dataset.num_rows) as advance:
        rows = dict(
            executor.results(
                partial(series_of_file, history=history),
                history.dataset.files,
                partial(_unread, data=asked.data),
            )
        )
        parts = parts_of({file: rows[file] for file in history.dataset.files}, executor.num_workers)
        replay = Replay(asked.artifact, history, asked.options, replace(asked.given, follow=None), scores)
        try:
            results = []
            largest_first = sorted(parts, key=lambda part: -part.num_rows)
            for result in executor.results(partial(judge_part, replay=replay), largest_first, killed_part):
                results.append(result)
                advance(result.part.num_rows)
            results.sort(key=lambda result: result.part.number)
            found = _found_by(results)
            if scores is not None and asked.directory is not None:
                scores.join([one.scores for one in results if one.scores], asked.directory / "scores.parquet")
        finally:
            if scores is not None:
                scores.remove()
        buffer = vus_buffer_of(history.dataset)
    outcome = outcome_of(found, spec, asked.options, asked.given.wording, buffer)
    outcome = replace(outcome, failed=_failed_of(results))
    if asked.directory is not None:
        write_outcome(outcome, asked.directory)
    return outcome


def _found_by(results: Sequence[PartResult]) -> Found:
    found = [one.found for one in results if isinstance(one.found, Found)]
    if not found:
        reasons = dict.fromkeys(one.reason for one in _failed_of(results))
        raise ClusterError(f"no series could be judged: {'; '.join(reasons)}")
    return together(found)


def _failed_of(results: Sequence[PartResult]) -> tuple[FailedPart, ...]:
    return tuple(
        FailedPart(one.part.series, one.found) for one in results if not isinstance(one.found, Found)
    )


def _unread(file: Path, data: str) -> tuple[Path, Mapping[str, int]]:
    raise ClusterError(f"{data}: the worker that read {file.name} was killed, again and again")
