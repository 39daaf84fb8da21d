"""A registry of a plant in one go: an artifact for each kind, several kinds at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.objects.names import below, without_secrets
from connectors.parquet.dataset import Dataset, discover
from detector.journal import NOTHING, Note
from detector.workers.executor import Executor
from trainer.config import TrainConfig
from trainer.errors import TrainerError
from trainer.evaluation.process_pool import in_processes
from trainer.fitting.members import check_families
from trainer.kinds.grouping import AUTO, Grouping, Kind, find_kinds, patterns_of, without_column
from trainer.kinds.train_kind import KindFailure, KindJob, KindModel, killed, train_kind
from trainer.progress import ProgressReport


@dataclass(frozen=True, slots=True)
class PlantTraining:
    """Hold the outcome of each kind, sorted by name, and why other series belong to no kind."""

    registry: str
    models: tuple[KindModel, ...]
    failures: tuple[KindFailure, ...]
    left_out: Mapping[str, str]

    @property
    def is_complete(self) -> bool:
        """Return whether every series has a model."""
        return bool(self.models) and not self.failures and not self.left_out

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Return all kinds, those that failed too."""
        return (*(one.kind for one in self.models), *(one.kind for one in self.failures))

    def patterns(self, kind: Kind) -> tuple[str, ...]:
        """Return patterns of the series of a kind, which match no other series of the data."""
        return patterns_of(kind, self.kinds, self.left_out)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values, as `streamgauge train --group-by --json` prints it."""
        return {
            "registry": self.registry,
            "kinds": [
                {
                    "kind": model.kind.name,
                    "series": list(model.kind.series),
                    "patterns": list(self.patterns(model.kind)),
                    **model.summary,
                    "findings": list(model.findings),
                    "stands_out": [
                        {
                            "series": one.series,
                            "unexplained": round(one.unexplained, 4),
                            "others": round(one.others, 4),
                            "alone": None if one.alone is None else round(one.alone, 4),
                            "better_alone": one.better_alone,
                        }
                        for one in model.stands_out
                    ],
                }
                for model in self.models
            ],
            "failed": [
                {"kind": one.kind.name, "series": list(one.kind.series), "reason": one.reason}
                for one in self.failures
            ],
            "left_out": dict(self.left_out),
        }


@dataclass(frozen=True, slots=True)
class PlantOptions:
    """Choose how a plant is trained.

    Attributes:
        group_by: A column whose values are the kinds, or "auto" for the series with equal channels.
        config: Options of the training of each kind.
        jobs: Kinds at a time; None: one per processor core.
        resume: Continue from the checkpoints of an interrupted run.
        promote: Use the new versions at once, also where a kind has a model.
        note: Who trains, and why; for the journal of each kind.
    """

    group_by: str
    config: TrainConfig
    jobs: int | None = None
    resume: bool = False
    promote: bool = False
    note: Note = NOTHING


def train_plant(
    data: str | Path,
    registry: str,
    options: PlantOptions,
    report: ProgressReport,
    executor: Executor | None = None,
) -> PlantTraining:
    """Train a model of each kind and publish it to REGISTRY/KIND; a kind that fails stops no other.

    Args:
        data: A Parquet or CSV file, or a directory of them, with the rows of all kinds.
        registry: Directory or URI of the entries; created if it does not exist.
        options: How to group and to train.
        report: Receives the progress after each kind.
        executor: Workers that see data and registry by the same full paths; None: processes of this machine.

    Raises:
        TrainerError: The kinds cannot be found, or an option is wrong.
        ParquetError: A file cannot be read.
    """
    if options.jobs is not None and options.jobs < 1:
        raise TrainerError(f"--jobs {options.jobs}: must be at least 1")
    wanted = options.config.data
    check_families(options.config.model)
    report(0.0, "looking for kinds")
    dataset = discover(data, wanted.channels, wanted.names())
    if options.group_by != AUTO:
        dataset = without_column(dataset, options.group_by)
    grouping = find_kinds(dataset, options.group_by)
    for name in sorted(wanted.hold.keys() - set(dataset.channels)):
        raise TrainerError(f"[data] hold: {name!r} is no channel; known: {', '.join(dataset.channels)}")
    jobs = _jobs(grouping, dataset, registry, options)
    outcomes: list[KindModel | KindFailure] = []
    for done, outcome in enumerate(_outcomes(jobs, executor or options.jobs), 1):
        outcomes.append(outcome)
        is_failed = isinstance(outcome, KindFailure)
        words = f"{done}/{len(jobs)} kinds: {outcome.kind.name}{' failed' if is_failed else ''}"
        report(done / len(jobs), words, notable=is_failed)
    outcomes.sort(key=lambda outcome: outcome.kind.name)
    return PlantTraining(
        without_secrets(registry),
        tuple(one for one in outcomes if isinstance(one, KindModel)),
        tuple(one for one in outcomes if isinstance(one, KindFailure)),
        grouping.left_out,
    )


def _jobs(grouping: Grouping, dataset: Dataset, registry: str, options: PlantOptions) -> list[KindJob]:
    """Return the trainings of all kinds; the longest starts first."""
    return [
        KindJob(
            kind,
            dataset,
            _config_of(kind, options.config),
            below(registry, kind.name),
            options.resume,
            options.promote,
            options.note,
            patterns_of(kind, grouping.kinds, grouping.left_out),
        )
        for kind in sorted(grouping.kinds, key=lambda kind: -kind.num_rows)
    ]


def _config_of(kind: Kind, config: TrainConfig) -> TrainConfig:
    """Return the options of the training of a kind: of slow channels, those that it has."""
    hold = {name: value for name, value in config.data.hold.items() if name in kind.channels}
    return config.model_copy(
        update={"name": kind.name, "data": config.data.model_copy(update={"hold": hold})}
    )


def _outcomes(jobs: Sequence[KindJob], where: Executor | int | None) -> Iterator[KindModel | KindFailure]:
    """Yield the outcome of each kind as it arrives."""
    if where is not None and not isinstance(where, int):
        yield from where.results(train_kind, jobs, killed)
        return
    num_processes = min(where or os.cpu_count() or 1, len(jobs))
    if num_processes > 1:
        yield from in_processes(train_kind, jobs, num_processes, killed)
    else:
        yield from map(train_kind, jobs)
