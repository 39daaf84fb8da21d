"""Parquet in and out: history as columns, a replay source, and writers. The only importer of pyarrow here.

A data set is one file, or a directory of files at any depth, Hive partitions (`series=pump-7/`) allowed.
Columns: `timestamp`, optional `series`, `label` and `split`, and one numeric column a channel; the order
of the columns and of the rows never matters, nulls are missing values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from connectors.errors import ParquetError
from connectors.records import Batch, Readings

TIMESTAMP, SERIES, LABEL, SPLIT = "timestamp", "series", "label", "split"
RESERVED = (TIMESTAMP, SERIES, LABEL, SPLIT)
_CHUNK_ROWS = 1 << 16
_NS_PER = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


@dataclass(frozen=True, slots=True)
class Dataset:
    """Files of the same channels, and what their schema says."""

    files: tuple[Path, ...]
    channels: tuple[str, ...]
    num_rows: int
    metadata: Mapping[str, str]
    has_label: bool
    has_split: bool

    @property
    def interval_ns(self) -> int | None:
        """The sampling interval that the schema's `interval_s` states, if it does."""
        try:
            seconds = float(self.metadata.get("interval_s", "nan"))
        except ValueError:
            return None
        return round(seconds * 1e9) if 0 < seconds < 1e9 else None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows, in the order of the file.

    timestamp_ns int64 [n]; names and series int32 [n], dictionary-encoded; values float64 [n, channels],
    NaN where missing; label int8 [n] and split object [n] where the file has them.
    """

    timestamp_ns: NDArray[np.int64]
    names: tuple[str, ...]
    series: NDArray[np.int32]
    values: NDArray[np.float64]
    label: NDArray[np.int8] | None
    split: NDArray[np.object_] | None

    def __len__(self) -> int:
        return len(self.timestamp_ns)


def discover(path: str | Path, channels: Sequence[str] | None = None) -> Dataset:
    """Find and check the files at `path`.

    Without `channels` they are the numeric columns of the first file that are not reserved. Raises
    ParquetError that names the file, the field and the remedy.
    """
    files = _find_files(Path(path))
    schemas = [_schema_of(file) for file in files]
    wanted = tuple(channels) if channels is not None else _numeric_columns(schemas[0], files[0])
    for file, schema in zip(files, schemas, strict=True):
        _check_schema(schema, wanted, file)
    num_rows = sum(pq.read_metadata(file).num_rows for file in files)
    if num_rows == 0:
        raise ParquetError(f"{path}: no rows; nothing can be learnt from or replayed out of an empty table")
    metadata = {k.decode(): v.decode(errors="replace") for k, v in (schemas[0].metadata or {}).items()}
    return Dataset(
        tuple(files),
        wanted,
        num_rows,
        metadata,
        all(LABEL in schema.names for schema in schemas),
        all(SPLIT in schema.names for schema in schemas),
    )


def read_chunks(dataset: Dataset, chunk_rows: int = _CHUNK_ROWS) -> Iterator[Chunk]:
    """All rows, file by file, at most `chunk_rows` at once in memory."""
    for file in dataset.files:
        yield from _read_file(file, dataset, chunk_rows)


def read_times(dataset: Dataset) -> Iterator[Chunk]:
    """As `read_chunks`, but without values: float64 [n, 0]."""
    bare = Dataset(dataset.files, (), dataset.num_rows, dataset.metadata, False, dataset.has_split)
    return read_chunks(bare, 1 << 18)


class ParquetSource:
    """A replay of a data set in time order, as readings; ends after the last row.

    Files whose times overlap are sorted together in memory, others one after the other.
    """

    def __init__(self, dataset: Dataset, batch_rows: int = 16_384) -> None:
        self._batches = _replay(dataset, batch_rows)

    def poll(self, timeout_seconds: float) -> Batch | None:
        return next(self._batches, None)

    def close(self) -> None:
        """Nothing to release."""


class TableWriter:
    """Appends columns to one Parquet file; the file appears when it is complete."""

    def __init__(self, path: Path, metadata: Mapping[str, str] | None = None) -> None:
        self._path = path
        self._scratch = path.with_name(f".{path.name}.part")
        self._metadata = dict(metadata or {})
        self._writer: pq.ParquetWriter | None = None

    def write(self, columns: Mapping[str, Any]) -> None:
        """Append one chunk; `timestamp` may be int64 nanoseconds. Raises ParquetError."""
        arrays = {name: _timestamps(v) if name == TIMESTAMP else pa.array(v) for name, v in columns.items()}
        table = pa.table(arrays)
        if self._metadata:
            table = table.replace_schema_metadata(self._metadata)
        try:
            if self._writer is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._writer = pq.ParquetWriter(self._scratch, table.schema)
            self._writer.write_table(table.cast(self._writer.schema))
        except (OSError, pa.ArrowException) as error:
            raise ParquetError(f"{self._path}: cannot be written: {error}") from error

    def close(self) -> None:
        """Finish the file; nothing is left where nothing was written."""
        if self._writer is not None:
            self._writer.close()
            self._scratch.replace(self._path)
            self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._writer is not None:
            self._writer.close()
            self._scratch.unlink(missing_ok=True)


def infer_interval(timestamps_ns: NDArray[np.int64]) -> int | None:
    """The most common step between sorted, distinct timestamps; None where there are fewer than two."""
    steps = np.diff(np.unique(timestamps_ns))
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


def _schema_of(file: Path) -> pa.Schema:
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        if file.stat().st_size == 0:
            raise ParquetError(f"{file}: the file is empty (0 bytes), not Parquet") from error
        reason = str(error).splitlines()[0]
        raise ParquetError(f"{file}: not a Parquet file, or truncated: {reason}") from error


def _numeric_columns(schema: pa.Schema, file: Path) -> tuple[str, ...]:
    found = tuple(f.name for f in schema if f.name not in RESERVED and _is_numeric(f.type))
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
    kind = schema.field(TIMESTAMP).type
    if not (pa.types.is_timestamp(kind) or pa.types.is_integer(kind)):
        raise ParquetError(
            f"{file}: column `timestamp` is {kind}; it must be a timestamp, or integer epoch milliseconds"
        )
    for name in channels:
        if name not in schema.names:
            raise ParquetError(f"{file}: lacks the channel {name!r}; it has {_channel_like(schema)}")
        if not _is_numeric(schema.field(name).type):
            raise ParquetError(f"{file}: channel {name!r} is {schema.field(name).type}, not a number")


def _channel_like(schema: pa.Schema) -> list[str]:
    return [name for name in schema.names if name not in RESERVED]


def _read_file(file: Path, dataset: Dataset, chunk_rows: int) -> Iterator[Chunk]:
    names = pq.read_schema(file).names
    optional = [
        name
        for name, wanted in ((SERIES, True), (LABEL, dataset.has_label), (SPLIT, dataset.has_split))
        if wanted and name in names
    ]
    series = _series_of_file(file)
    try:
        with pq.ParquetFile(file) as parquet:
            columns = [TIMESTAMP, *optional, *dataset.channels]
            for batch in parquet.iter_batches(chunk_rows, columns=columns):
                if batch.num_rows:
                    yield _chunk(batch, dataset.channels, series, file)
    except (pa.ArrowException, OSError) as error:
        raise ParquetError(f"{file}: damaged: {str(error).splitlines()[0]}") from error


def _series_of_file(file: Path) -> str:
    """The series of a file without a `series` column: its Hive key, its metadata, else its name."""
    for part in reversed(file.parts[:-1]):
        if part.startswith(f"{SERIES}="):
            return part.removeprefix(f"{SERIES}=")
    stated = (pq.read_schema(file).metadata or {}).get(SERIES.encode())
    return stated.decode() if stated else file.stem


def _chunk(batch: pa.RecordBatch, channels: tuple[str, ...], series: str, file: Path) -> Chunk:
    values = np.empty((batch.num_rows, len(channels)))
    for at, name in enumerate(channels):
        column = batch.column(name).cast(pa.float64())
        values[:, at] = column.to_numpy(zero_copy_only=False)
    values[np.isinf(values)] = np.nan
    names, codes = _series_codes(batch, series)
    has = batch.schema.names
    return Chunk(
        _nanoseconds(batch.column(TIMESTAMP), file),
        names,
        codes,
        values,
        batch.column(LABEL).cast(pa.int8()).fill_null(0).to_numpy(zero_copy_only=False)
        if LABEL in has
        else None,
        batch.column(SPLIT).to_numpy(zero_copy_only=False) if SPLIT in has else None,
    )


def _series_codes(batch: pa.RecordBatch, series: str) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    if SERIES not in batch.schema.names:
        return (series,), np.zeros(batch.num_rows, np.int32)
    column = batch.column(SERIES)
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column.cast(pa.string()).fill_null(series))
    codes = column.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int32)
    present, codes = np.unique(codes, return_inverse=True)
    names = column.dictionary.to_pylist()
    return tuple(str(names[code]) for code in present), codes.astype(np.int32)


def _nanoseconds(column: pa.Array, file: Path) -> NDArray[np.int64]:
    if column.null_count:
        raise ParquetError(
            f"{file}: column `timestamp` has {column.null_count} nulls; every row needs its time"
        )
    unit = column.type.unit if pa.types.is_timestamp(column.type) else "ms"
    raw = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    limit = np.iinfo(np.int64).max // _NS_PER[unit]
    if len(raw) and np.abs(raw).max() > limit:
        raise ParquetError(f"{file}: column `timestamp` has times outside the years 1678 to 2262")
    return raw * np.int64(_NS_PER[unit])


def _timestamps(values: Any) -> pa.Array:
    if isinstance(values, np.ndarray) and values.dtype == np.int64:
        return pa.array(values.view("M8[ns]"), pa.timestamp("ns", tz="UTC"))
    return pa.array(values)


def _replay(dataset: Dataset, batch_rows: int) -> Iterator[Batch]:
    """Batches in time order; offsets count the rows replayed."""
    done = 0
    for group in _overlapping(dataset.files):
        part = Dataset(group, dataset.channels, dataset.num_rows, dataset.metadata, False, False)
        rows = _sorted(list(read_chunks(part)))
        for at in range(0, len(rows), batch_rows):
            yield Batch(_readings(rows, slice(at, at + batch_rows), done + at))
        done += len(rows)


def _readings(rows: Chunk, part: slice, first: int) -> Readings:
    present, codes = np.unique(rows.series[part], return_inverse=True)
    num = len(codes)
    return Readings(
        tuple(rows.names[code] for code in present),
        codes.astype(np.int32),
        rows.timestamp_ns[part],
        rows.values[part],
        np.zeros(num, np.int32),
        np.arange(first, first + num),
    )


def _sorted(chunks: list[Chunk]) -> Chunk:
    """All chunks as one, by time; equal times keep their order."""
    code_of: dict[str, int] = {}
    series = [
        np.array([code_of.setdefault(name, len(code_of)) for name in chunk.names], np.int32)[chunk.series]
        for chunk in chunks
    ]
    timestamp_ns = np.concatenate([chunk.timestamp_ns for chunk in chunks])
    order = np.argsort(timestamp_ns, kind="stable")
    return Chunk(
        timestamp_ns[order],
        tuple(code_of),
        np.concatenate(series)[order],
        np.concatenate([chunk.values for chunk in chunks])[order],
        None,
        None,
    )


def _overlapping(files: tuple[Path, ...]) -> Iterator[tuple[Path, ...]]:
    """Files in groups that must be sorted together, by time."""
    spans = sorted((*_span_of(file), file) for file in files)
    group: list[Path] = []
    end = np.iinfo(np.int64).min
    for first, last, file in spans:
        if group and first > end:
            yield tuple(group)
            group = []
        group.append(file)
        end = max(end, last)
    if group:
        yield tuple(group)


def _span_of(file: Path) -> tuple[int, int]:
    """The first and last time of a file, int64 nanoseconds; an empty one spans nothing at time 0."""
    first, last = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(1 << 20, columns=[TIMESTAMP]):
            times = _nanoseconds(batch.column(TIMESTAMP), file)
            if len(times):
                first, last = min(first, int(times.min())), max(last, int(times.max()))
    return (first, last) if first <= last else (0, 0)
