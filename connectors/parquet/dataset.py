"""Finds the files of a data set and checks their columns: `timestamp`, `series`, `label`, `split`, channels.

A data set is one file, several files, or a directory of files at any depth, of Parquet or CSV. Hive
partitions, such as `series=pump-7/`, are allowed. The order of files, columns and rows does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from connectors.errors import ParquetError
from connectors.names import NAMES, ColumnNames
from connectors.parquet.columns import (
    LABEL,
    SPLIT,
    TIMESTAMP,
    Column,
    channels_of,
    check_channels,
    columns_of,
    is_numeric,
    kind_of_type,
)
from connectors.parquet.files import find_files, num_rows_of, schema_of
from connectors.parquet.series_names import hive_series, series_of_files


@dataclass(frozen=True, slots=True)
class Dataset:
    """Files of one table, and what their schemas and paths state.

    A channel that a file lacks is missing in its rows.

    columns   all columns that are not reserved, by name; those that are no channels are left out
    series    the series of each file, for rows without a `series` column
    names     what tables without `timestamp` or `series` call them
    only      the series whose rows are read; None: all
    """

    files: tuple[Path, ...]
    channels: tuple[str, ...]
    num_rows: int
    metadata: Mapping[str, str]
    has_label: bool
    has_split: bool
    columns: Mapping[str, Column]
    series: Mapping[Path, str]
    names: ColumnNames = NAMES
    only: frozenset[str] | None = None

    @property
    def interval_ns(self) -> int | None:
        """The sampling interval that the schema states as `interval_s`, None if it does not."""
        try:
            seconds = float(self.metadata.get("interval_s", "nan"))
        except ValueError:
            return None
        return round(seconds * 1e9) if 0 < seconds < 1e9 else None


def discover(
    path: str | Path | Sequence[str | Path],
    channels: Sequence[str] | None = None,
    names: ColumnNames = NAMES,
) -> Dataset:
    """Find and check the files of a data set.

    Args:
        path: a file, a directory, or several of either.
        channels: the columns to read; by default all columns of numbers that are not reserved.
        names: the columns of times and series of a table that lacks `timestamp` or `series`.

    Raises:
        ParquetError: a file cannot be used; the message names the file, the field and the remedy.
    """
    paths = [Path(one) for one in ([path] if isinstance(path, str | Path) else path)]
    files = tuple(dict.fromkeys(file for one in paths for file in find_files(one)))
    if not files:
        raise ParquetError("no files given; name a Parquet or CSV file, or a directory of them")
    schemas = {file: schema_of(file, names) for file in files}
    for file, schema in schemas.items():
        _check_schema(schema, file)
    columns = columns_of(schemas)
    wanted = tuple(channels) if channels is not None else channels_of(columns, schemas)
    check_channels(wanted, columns, files)
    num_rows = sum(num_rows_of(file, names) for file in files)
    if num_rows == 0:
        shown = ", ".join(str(one) for one in paths)
        raise ParquetError(f"{shown}: no rows; training and replay need at least one row")
    return Dataset(
        files,
        wanted,
        num_rows,
        _shared_metadata(schemas.values()),
        all(LABEL in schema.names for schema in schemas.values()),
        all(SPLIT in schema.names for schema in schemas.values()),
        columns,
        _series_of(schemas, paths),
        names,
    )


def _series_of(schemas: Mapping[Path, pa.Schema], paths: Sequence[Path]) -> dict[Path, str]:
    """Return the series of each file: its metadata states it if no Hive key `series` does."""
    found = dict(zip(schemas, series_of_files(list(schemas), paths), strict=True))
    for file, schema in schemas.items():
        stated = (schema.metadata or {}).get(b"series")
        if stated and hive_series(file) is None:
            found[file] = stated.decode(errors="replace")
    return found


def _shared_metadata(schemas: Iterable[pa.Schema]) -> dict[str, str]:
    """Return the entries on which all files that have them agree."""
    found: dict[str, set[str]] = {}
    for schema in schemas:
        for key, value in (schema.metadata or {}).items():
            found.setdefault(key.decode(errors="replace"), set()).add(value.decode(errors="replace"))
    return {key: values.pop() for key, values in found.items() if len(values) == 1}


def infer_interval(timestamps_ns: NDArray[np.int64]) -> int | None:
    """Return the usual step between the distinct times of one series; None without two times.

    Args:
        timestamps_ns: int64 [n], in any order.

    >>> infer_interval(np.array([0, 60, 120, 300]))
    60
    """
    distinct = np.unique(timestamps_ns)
    steps, counts = np.unique(distinct[1:] - distinct[:-1], return_counts=True)
    return usual_step(steps, counts) if len(steps) else None


def usual_step(steps: NDArray[np.int64], counts: NDArray[np.int64]) -> int:
    """Return the most common step; if no step is common (jittered clocks), the median.

    Args:
        steps: Different steps, int64 [n], ascending; at least one.
        counts: How often each came, int64 [n].
    """
    if counts.max() * 5 >= counts.sum():
        return int(steps[counts.argmax()])
    return int(steps[np.searchsorted(counts.cumsum(), counts.sum() / 2)])


def _check_schema(schema: pa.Schema, file: Path) -> None:
    if TIMESTAMP not in schema.names:
        raise ParquetError(
            f"{file}: no `timestamp` column, found {schema.names}; rename the time column to `timestamp`,"
            " or name it as [data] time in the training configuration"
        )
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise ParquetError(f"{file}: has the column {twice[0]!r} more than once; rename one of them")
    kind = schema.field(TIMESTAMP).type
    if not _can_be_time(kind):
        raise ParquetError(
            f"{file}: column `timestamp` is {kind}; it must be a timestamp, ISO 8601 text,"
            " or epoch milliseconds"
        )
    if LABEL in schema.names and not is_numeric(schema.field(LABEL).type):
        raise ParquetError(
            f"{file}: column `label` is {schema.field(LABEL).type}; it must be 0 and 1, or boolean;"
            " rename it if it is something else"
        )


def _can_be_time(kind: pa.DataType) -> bool:
    types = pa.types
    is_number = types.is_integer(kind) or types.is_floating(kind)
    return types.is_timestamp(kind) or types.is_date(kind) or is_number or kind_of_type(kind) == "text"
