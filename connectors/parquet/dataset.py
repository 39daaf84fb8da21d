"""Finds the files of a data set and checks their columns: `timestamp`, `series`, `label`, `split`, channels.

A data set is one file, several files, or a directory of files at any depth. Hive partitions, such as
`series=pump-7/`, are allowed. The order of columns and of rows does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from connectors.errors import ParquetError
from connectors.names import RESERVED

TIMESTAMP, SERIES, LABEL, SPLIT = "timestamp", "series", "label", "split"
NS_PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


@dataclass(frozen=True, slots=True)
class Dataset:
    """Files with the same channels, and the properties that their schema states."""

    files: tuple[Path, ...]
    channels: tuple[str, ...]
    num_rows: int
    metadata: Mapping[str, str]
    has_label: bool
    has_split: bool

    @property
    def interval_ns(self) -> int | None:
        """The sampling interval that the schema states as `interval_s`, None if it does not."""
        try:
            seconds = float(self.metadata.get("interval_s", "nan"))
        except ValueError:
            return None
        return round(seconds * 1e9) if 0 < seconds < 1e9 else None


def discover(path: str | Path | Sequence[str | Path], channels: Sequence[str] | None = None) -> Dataset:
    """Find and check the files of a data set.

    Args:
        path: a file, a directory, or several of either.
        channels: the columns to read; by default the numeric columns of the first file that are not reserved.

    Raises:
        ParquetError: a file cannot be used; the message names the file, the field and the remedy.
    """
    paths = [path] if isinstance(path, str | Path) else list(path)
    files = list(dict.fromkeys(file for one in paths for file in _find_files(Path(one))))
    if not files:
        raise ParquetError("no files given; name a Parquet file or a directory of them")
    schemas = [schema_of(file) for file in files]
    wanted = tuple(channels) if channels is not None else _numeric_columns(schemas[0], files[0])
    for file, schema in zip(files, schemas, strict=True):
        _check_schema(schema, wanted, file)
    num_rows = sum(pq.read_metadata(file).num_rows for file in files)
    if num_rows == 0:
        shown = ", ".join(str(one) for one in paths)
        raise ParquetError(f"{shown}: no rows; training and replay need at least one row")
    found = (schemas[0].metadata or {}).items()
    metadata = {k.decode(errors="replace"): v.decode(errors="replace") for k, v in found}
    return Dataset(
        tuple(files),
        wanted,
        num_rows,
        metadata,
        all(LABEL in schema.names for schema in schemas),
        all(SPLIT in schema.names for schema in schemas),
    )


def infer_interval(timestamps_ns: NDArray[np.int64], series: NDArray[np.int32] | None = None) -> int | None:
    """Return the most common step between the distinct times of a series; None if no series has two times.

    If no step is common (jittered clocks), return the median step.

    Args:
        timestamps_ns: int64 [n], in any order.
        series: int32 [n], the series of each row; by default all rows are of one series.

    >>> infer_interval(np.array([0, 60, 120, 300]))
    60
    """
    codes = np.zeros(len(timestamps_ns), np.int32) if series is None else series
    order = np.lexsort((timestamps_ns, codes))
    steps = np.diff(timestamps_ns[order])
    steps = steps[(np.diff(codes[order]) == 0) & (steps > 0)]
    if len(steps) == 0:
        return None
    values, counts = np.unique(steps, return_counts=True)
    if counts.max() * 5 >= len(steps):
        return int(values[counts.argmax()])
    return int(np.median(steps))


def _find_files(path: Path) -> list[Path]:
    if path.is_dir():
        hidden = ("_", ".")
        files = sorted(
            file
            for file in path.rglob("*.parquet")
            if not any(part.startswith(hidden) for part in file.relative_to(path).parts)
        )
        if not files:
            raise ParquetError(f"{path}: no *.parquet file in this directory or below it")
        return files
    if not path.exists():
        raise ParquetError(f"{path}: no such file or directory")
    return [path]


def schema_of(file: Path) -> pa.Schema:
    """Read the schema of a file. Raises ParquetError if it is not a readable Parquet file."""
    try:
        schema = pq.read_schema(file)
        _ = schema.names  # raises where one is not UTF-8
    except PermissionError as error:
        raise ParquetError(f"{file}: cannot be read: {error.strerror}") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if file.stat().st_size == 0:
            raise ParquetError(f"{file}: the file is empty (0 bytes), not Parquet") from error
        reason = str(error).splitlines()[0]
        raise ParquetError(f"{file}: not a Parquet file, or truncated: {reason}") from error
    return schema


def _numeric_columns(schema: pa.Schema, file: Path) -> tuple[str, ...]:
    # pandas writes an unnamed index as a column; it counts rows and measures nothing.
    columns = [f for f in schema if f.name not in RESERVED and not f.name.startswith("__index_level_")]
    found = tuple(f.name for f in columns if _is_numeric(f.type))
    if not found:
        raise ParquetError(
            f"{file}: no numeric column; a table needs one float or integer column a channel,"
            f" found {schema.names}"
        )
    return found


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_floating(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def _check_schema(schema: pa.Schema, channels: tuple[str, ...], file: Path) -> None:
    if TIMESTAMP not in schema.names:
        raise ParquetError(
            f"{file}: no `timestamp` column, found {schema.names}; rename the time column to `timestamp`"
        )
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise ParquetError(f"{file}: has the column {twice[0]!r} more than once; rename one of them")
    kind = schema.field(TIMESTAMP).type
    if not (pa.types.is_timestamp(kind) or pa.types.is_integer(kind)):
        raise ParquetError(
            f"{file}: column `timestamp` is {kind}; it must be a timestamp, or integer epoch milliseconds"
        )
    if LABEL in schema.names and not _is_numeric(schema.field(LABEL).type):
        raise ParquetError(
            f"{file}: column `label` is {schema.field(LABEL).type}; it must be 0 and 1, or boolean;"
            " rename it if it is something else"
        )
    for name in channels:
        if name not in schema.names:
            raise ParquetError(f"{file}: lacks the channel {name!r}; it has {_channel_like(schema)}")
        if not _is_numeric(schema.field(name).type):
            raise ParquetError(f"{file}: channel {name!r} is {schema.field(name).type}, not a number")


def _channel_like(schema: pa.Schema) -> list[str]:
    return [name for name in schema.names if name not in RESERVED]


def open_file(file: Path) -> pq.ParquetFile:
    """Open a file to be read in pieces: without read-ahead a row group is never in memory as a whole."""
    return pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
