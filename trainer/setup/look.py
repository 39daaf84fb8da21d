"""Looks at a history before its first training: the data report, where its times come from, its modes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from connectors.names import NAMES, ColumnNames
from connectors.parquet.dataset import Dataset, discover
from connectors.parquet.files import TimeOrigin, find_files, time_origin, times_without_name
from detector.artifact.modes import Modes
from trainer.context.find_modes import found_modes
from trainer.data.history import build_history
from trainer.errors import TrainerError
from trainer.fitting.members import default_max_gap
from trainer.pipeline import source_of
from trainer.progress import ProgressReport, quiet
from trainer.report.findings import Finding
from trainer.report.report import DataReport, report_of
from trainer.report.row_checks import identity_of
from trainer.setup.left_out_columns import left_out_columns

HANDLED = ("text_numbers", "looks_like_time")
"""Findings that stop a training only as long as their columns are channels."""
_MOST_CELLS = 200_000_000
_MIXED = 1.5


@dataclass(frozen=True, slots=True)
class Look:
    """Hold what was seen of a history.

    Attributes:
        data: Its path.
        dataset: Its files, under the names that the configuration will have.
        origin: Where the times of the first file come from.
        report: The data report.
        left_out: Column -> why it should be no channel.
        modes: Modes of operation that the history shows; None: none, or nobody looked.
    """

    data: Path
    dataset: Dataset
    origin: TimeOrigin
    report: DataReport
    left_out: Mapping[str, str]
    modes: Modes | None

    @property
    def name(self) -> str:
        """A name for the model, from that of the file or directory."""
        stem = re.sub(r"\.(csv|csv\.gz|parquet)$", "", self.data.resolve().name, flags=re.IGNORECASE)
        return re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "model"

    @property
    def channels(self) -> tuple[str, ...]:
        """The columns to train on."""
        return tuple(name for name in self.dataset.channels if name not in self.left_out)

    @property
    def interval_seconds(self) -> float | None:
        """The usual step of the usual series; None without two times."""
        known = self.report.profile.interval_ns[~np.isnan(self.report.profile.interval_ns)]
        return float(np.median(known)) / 1e9 if len(known) else None

    @property
    def has_mixed_rates(self) -> bool:
        """Whether series have different intervals."""
        known = self.report.profile.interval_ns[~np.isnan(self.report.profile.interval_ns)]
        return bool(len(known) and known.max() > _MIXED * known.min())

    @property
    def days(self) -> float:
        """The days that the longest series covers."""
        return self.report.profile.days

    def stopping(self) -> tuple[Finding, ...]:
        """Return the findings that no configuration can answer: the data must be changed."""
        return self.report.stopping(HANDLED)


def look_at(data: Path, progress: ProgressReport = quiet, named: ColumnNames = NAMES) -> Look:
    """Read a history, and again where a column names its series.

    Args:
        data: Its path.
        progress: Receives the progress.
        named: The columns of times and series, where the user names them.

    Raises:
        ParquetError: The files cannot be read; the message has the remedy.
        TrainerError: There are no rows.
    """
    file = find_files(data)[0]
    by_type = times_without_name(file)
    found = by_type[0] if len(by_type) == 1 else None
    names = ColumnNames(named.time or found, named.series)
    report = report_of(data, None, progress, names)
    identity = None if named.series else identity_of(report.profile)
    if identity is not None and identity.measured is None:
        names = ColumnNames(names.time, identity.column)
        report = report_of(data, None, progress, names)
    dataset = discover(data, None, names)
    left_out = left_out_columns(report.profile)
    channels = tuple(name for name in dataset.channels if name not in left_out)
    modes = None if report.stopping(HANDLED) else _modes_of(data, channels, dataset)
    return Look(data, dataset, time_origin(file, names), report, left_out, modes)


def _modes_of(data: Path, channels: tuple[str, ...], dataset: Dataset) -> Modes | None:
    if dataset.num_rows * len(channels) > _MOST_CELLS:
        return None
    source = source_of(data, channels, dataset.names)
    try:
        max_gap = default_max_gap(None, len(channels))
        with build_history(source.chunks, channels, source.interval_ns, max_gap) as history:
            return found_modes(history)
    except TrainerError:  # too little data: a warning of its own
        return None
