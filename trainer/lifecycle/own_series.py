"""The series that a model judges, out of a history that has others too.

A daemon judges those that match the patterns of its `[model] series` and have enough channels. A model of
`train --group-by` has the patterns of its kind in its journal. Retraining and the gate read these alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from connectors.parquet.dataset import Dataset
from connectors.parquet.reader import read_chunks
from detector.config.models.section import ModelSection, ModelsSection
from detector.journal import read_journal
from trainer.errors import TrainerError

PATTERNS = "series_patterns"
"""Key of the figures of a journal's line: the patterns of the series of a kind."""


@dataclass(frozen=True, slots=True)
class OwnSeries:
    """Hold which series a model judges.

    patterns        of names, as of `fnmatch`; none: every name
    least_channels  channels of the model that a row of the series must have
    model           name of the model in the daemon's messages; empty: its own
    """

    patterns: tuple[str, ...] = ()
    least_channels: int = 1
    model: str = ""

    def of(self, dataset: Dataset) -> Dataset:
        """Return the data set with the rows of these series alone. It is read once, unless all are own.

        Raises:
            TrainerError: No series is one of these.
        """
        if not self.patterns and self.least_channels == 1:
            return dataset
        fitting = set[str]()
        for chunk in read_chunks(dataset):
            enough = (~np.isnan(chunk.values)).sum(axis=1) >= self.least_channels
            fitting |= {chunk.names[code] for code in np.unique(chunk.series[enough]).tolist()}
        own = frozenset(name for name in fitting if self._matches(name))
        if not own:
            raise TrainerError(
                f"no series of the history matches {', '.join(self.patterns) or 'any name'} and has rows with"
                f" {self.least_channels} channels of the model; correct [model] series of the daemon, or"
                " give another history"
            )
        return replace(dataset, only=own)

    def _matches(self, name: str) -> bool:
        return not self.patterns or any(fnmatchcase(name, pattern) for pattern in self.patterns)


def own_series(entry: Path, daemon: ModelSection | None) -> OwnSeries:
    """Return the series of a model: by the daemon's configuration, else by the journal of the model.

    Args:
        entry: The model in the registry.
        daemon: Section `[model]` of the daemon; None: none was given.
    """
    least = 1 if daemon is None else daemon.least_channels
    name = (daemon.name or "") if isinstance(daemon, ModelsSection) else ""
    if daemon is not None and daemon.own_series:
        return OwnSeries(daemon.own_series, least, name)
    stated = [one.figures[PATTERNS] for one in read_journal(entry).events if PATTERNS in one.figures]
    return OwnSeries(tuple(map(str, stated[-1])) if stated else (), least, name)
