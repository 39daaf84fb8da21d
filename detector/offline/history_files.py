"""The history that a model is shown: files with its channels, under the column names of its training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from connectors.names import ColumnNames
from connectors.parquet.dataset import Dataset, discover
from detector.artifact.spec import Spec


def history_for(spec: Spec, data: str | Path | Sequence[str | Path]) -> Dataset:
    """Return files as a data set with the channels of a model. Raises ParquetError if they do not fit."""
    return discover(data, spec.channel_names, column_names_of(spec))


def column_names_of(spec: Spec) -> ColumnNames:
    """Return what the history of a model called its times and its series, if not `timestamp` and `series`."""
    config = spec.training.get("config")
    options = config.get("data") if isinstance(config, dict) else None
    if not isinstance(options, dict):
        return ColumnNames()
    time, series = (options.get(key) for key in ("time", "series"))
    return ColumnNames(time if isinstance(time, str) else None, series if isinstance(series, str) else None)
