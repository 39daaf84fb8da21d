"""Train and publish the model of one kind, in a process of its own; a fault costs this kind only."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from connectors.errors import ConnectorError
from connectors.objects.names import without_secrets
from connectors.parquet.dataset import Dataset
from detector.artifact.registry import propose, publish
from detector.artifact.spec import Artifact
from detector.errors import DetectorError
from detector.journal import NOTHING, Note
from trainer.config import TrainConfig
from trainer.ensemble_training import MemberWindows
from trainer.errors import TrainerError
from trainer.fitting.checkpoint import Checkpoints
from trainer.kinds.entries import claim
from trainer.kinds.grouping import Kind, narrowed
from trainer.kinds.place import kept_of, on_entry
from trainer.kinds.rows_of_kind import RowsOfSeries
from trainer.kinds.unexplained import HeldBackMeasure, StandsOut, standing_out
from trainer.lifecycle.own_series import PATTERNS
from trainer.model_card import figures_of, training_summary
from trainer.pipeline import fit_source
from trainer.report.report import checked_table
from trainer.training_report.report import HeldOutWindows, write_training_report

logger = logging.getLogger(__name__)
_MOST_ALONE = 3
"""Series of a kind that get a model of their own for the comparison: the worst ones."""


@dataclass(frozen=True, slots=True)
class KindJob:
    """Hold what the training of a kind needs; another process can take it.

    Attributes:
        kind: The series and channels.
        dataset: The files of all kinds, without the column that names the kinds.
        config: Options of the training; their name is that of the kind.
        place: Where the model is published: the directory or URI of its entry.
        resume: Continue from the checkpoint of an interrupted run.
        promote: Use the new version at once, also where the kind has a model.
        note: Who trains, and why; for the journal of the kind.
        patterns: Patterns of the series; the journal keeps them for later trainings.
    """

    kind: Kind
    dataset: Dataset
    config: TrainConfig
    place: str
    resume: bool = False
    promote: bool = False
    note: Note = NOTHING
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KindModel:
    """Hold what became of a kind: summary of its training, findings of its data, series that stand out."""

    kind: Kind
    summary: dict[str, Any]
    findings: tuple[str, ...]
    stands_out: tuple[StandsOut, ...]


@dataclass(frozen=True, slots=True)
class KindFailure:
    """Hold a kind that could not be trained, and the reason with its remedy."""

    kind: Kind
    reason: str


def train_kind(job: KindJob) -> KindModel | KindFailure:
    """Train, calibrate and publish the model of a kind. Whatever fails becomes a `KindFailure`."""
    try:
        return _trained(job)
    except (TrainerError, ConnectorError, DetectorError) as error:
        return KindFailure(job.kind, str(error))
    except (MemoryError, torch.OutOfMemoryError):
        return KindFailure(job.kind, "not enough memory")
    except Exception as error:  # whatever fails, such as a matrix without a solution, costs one kind only
        logger.warning("%s cannot be trained", job.kind.name, exc_info=error)
        return KindFailure(job.kind, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def killed(job: KindJob) -> KindModel | KindFailure:
    """Return the outcome of a kind whose process was killed."""
    return KindFailure(job.kind, "its process was killed: not enough memory?")


def _trained(job: KindJob) -> KindModel:
    rows = RowsOfSeries(narrowed(job.dataset, job.kind), frozenset(job.kind.series))
    findings = checked_table(rows.table(), job.config.data.accept).findings
    on_entry(job.place, lambda entry: claim(entry, job.kind.stated))  # before its checkpoints are read
    checkpoints, held_out, measure = (
        Checkpoints(kept_of(job.place) / ".checkpoint"),
        HeldOutWindows(),
        HeldBackMeasure(),
    )
    if not job.resume:
        checkpoints.clear()

    def observe(artifact: Artifact, windows: MemberWindows) -> None:
        held_out.keep(artifact, windows)
        if len(job.kind.series) > 1:
            measure.keep(artifact, windows)

    artifact = fit_source(rows.training_data(), job.config, checkpoint=checkpoints, observe=observe)
    summary = on_entry(job.place, lambda entry: _published(job, artifact, held_out, entry))
    checkpoints.clear()
    return KindModel(
        job.kind,
        summary,
        tuple(finding.line() for finding in findings),
        _compared(standing_out(measure.of_series), rows, job.config),
    )


def _published(job: KindJob, artifact: Artifact, held_out: HeldOutWindows, entry: Path) -> dict[str, Any]:
    """Publish the model of a kind in an entry; return its summary."""
    claim(entry, job.kind.stated)
    note = replace(job.note, figures=figures_of(artifact.spec) | {PATTERNS: list(job.patterns)})
    saved = (publish if job.promote else propose)(artifact, entry, note)
    write_training_report(saved, held_out, entry / saved.version)
    return training_summary(saved, entry) | {"path": without_secrets(job.place)}


def _compared(found: Sequence[StandsOut], rows: RowsOfSeries, config: TrainConfig) -> tuple[StandsOut, ...]:
    """Return the series with the measure of a model of their own, for the worst of them."""
    compared = []
    for one in found[:_MOST_ALONE]:
        measure = HeldBackMeasure()
        try:
            fit_source(rows.only(one.series).training_data(), config, observe=measure.keep)
        except TrainerError:
            compared.append(one)
            continue
        compared.append(replace(one, alone=measure.of_series.get(one.series)))
    return tuple(compared)
