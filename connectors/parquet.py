"""Parquet in and out: history as columns, a replay source, and writers. The only importer of pyarrow here.

A data set is one file, several, or a directory of files at any depth, Hive partitions (`series=pump-7/`)
allowed. Columns: `timestamp`, optional `series`, `label` and `split`, and one numeric column a channel.
The order of the columns and of the rows never matters; nulls and infinite values are missing values.

Reading holds one piece of a file in memory. A replay holds a piece of every file that covers the present,
so files that are sorted by time are replayed in bounded memory however many and large they are.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from connectors.errors import ParquetError
from connectors.merging import TimedRows, merged
from connectors.records import Batch, Readings

TIMESTAMP, SERIES, LABEL, SPLIT = "timestamp", "series", "label", "split"
RESERVED = (TIMESTAMP, SERIES, LABEL, SPLIT)
_CHUNK_ROWS = 1 << 16
_REPLAY_ROWS = 1 << 20
_MIN_PIECE_ROWS = 1 << 10
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


def discover(path: str | Path | Sequence[str | Path], channels: Sequence[str] | None = None) -> Dataset:
    """Find and check the files at `path`: a file, a directory, or several of either.

    Without `channels` they are the numeric columns of the first file that are not reserved. Raises
    ParquetError that names the file, the field and the remedy.
    """
    paths = [path] if isinstance(path, str | Path) else list(path)
    files = list(dict.fromkeys(file for one in paths for file in _find_files(Path(one))))
    if not files:
        raise ParquetError("no files given; name a Parquet file or a directory of them")
    schemas = [_schema_of(file) for file in files]
    wanted = tuple(channels) if channels is not None else _numeric_columns(schemas[0], files[0])
    for file, schema in zip(files, schemas, strict=True):
        _check_schema(schema, wanted, file)
    num_rows = sum(pq.read_metadata(file).num_rows for file in files)
    if num_rows == 0:
        shown = ", ".join(str(one) for one in paths)
        raise ParquetError(f"{shown}: no rows; nothing can be learnt from or replayed out of an empty table")
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


def read_chunks(dataset: Dataset, chunk_rows: int = _CHUNK_ROWS) -> Iterator[Chunk]:
    """All rows, file by file, at most `chunk_rows` at once in memory."""
    for file in dataset.files:
        yield from _read_file(file, dataset, chunk_rows)


def read_times(dataset: Dataset) -> Iterator[Chunk]:
    """As `read_chunks`, but without values: float64 [n, 0]."""
    return read_chunks(replace(dataset, channels=(), has_label=False), 1 << 18)


class ParquetSource:
    """A replay of a data set in time order, as readings; ends after the last row.

    Ordering: by time; equal times by file, then by place in the file, as if they had arrived so.
    Offsets count the rows replayed. `poll` never waits.
    """

    def __init__(self, dataset: Dataset, batch_rows: int = 16_384) -> None:
        self._batches = _replay(dataset, batch_rows)

    def poll(self, timeout_seconds: float) -> Batch | None:
        return next(self._batches, None)

    def close(self) -> None:
        """Release the files that are open."""
        self._batches.close()


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
        """Finish the file; nothing is left where nothing was written. Raises ParquetError."""
        if self._writer is None:
            return
        try:
            self._writer.close()
            self._scratch.replace(self._path)
        except (OSError, pa.ArrowException) as error:
            raise ParquetError(f"{self._path}: cannot be written: {error}") from error
        finally:
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


def infer_interval(timestamps_ns: NDArray[np.int64], series: NDArray[np.int32] | None = None) -> int | None:
    """The most common step between the distinct times of a series; None where no series has two.

    Where no step is common (jittered clocks) it is the median step. `series` (codes) tells the rows of
    several series apart; neither needs an order.
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


def _schema_of(file: Path) -> pa.Schema:
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
    # pandas writes an index that has no name as a column; it counts rows and measures nothing.
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


def _read_file(file: Path, dataset: Dataset, chunk_rows: int) -> Iterator[Chunk]:
    schema = _schema_of(file)
    optional = [
        name
        for name, wanted in ((SERIES, True), (LABEL, dataset.has_label), (SPLIT, dataset.has_split))
        if wanted and name in schema.names
    ]
    series = _series_of_file(file, schema)
    try:
        with _opened(file) as parquet:
            columns = [TIMESTAMP, *optional, *dataset.channels]
            for batch in parquet.iter_batches(chunk_rows, columns=columns):
                if batch.num_rows:
                    yield _chunk(batch, dataset.channels, series, file)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ParquetError(f"{file}: damaged: {str(error).splitlines()[0]}") from error


def _opened(file: Path) -> pq.ParquetFile:
    """The file, to be read in pieces: without read-ahead a row group never is in memory as a whole."""
    return pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)


def _series_of_file(file: Path, schema: pa.Schema) -> str:
    """The series of a file without a `series` column: its Hive key, its metadata, else its name."""
    for part in reversed(file.parts[:-1]):
        if part.startswith(f"{SERIES}="):
            return unquote(part.removeprefix(f"{SERIES}="))
    stated = (schema.metadata or {}).get(SERIES.encode())
    return stated.decode(errors="replace") if stated else file.stem


def _chunk(batch: pa.RecordBatch, channels: tuple[str, ...], series: str, file: Path) -> Chunk:
    values = np.empty((batch.num_rows, len(channels)))
    for at, name in enumerate(channels):
        values[:, at] = _floats(batch.column(name))
    values[np.isinf(values)] = np.nan
    names, codes = _series_codes(batch, series)
    has = batch.schema.names
    return Chunk(
        _nanoseconds(batch.column(TIMESTAMP), file),
        names,
        codes,
        values,
        (np.nan_to_num(_floats(batch.column(LABEL))) != 0).astype(np.int8) if LABEL in has else None,
        batch.column(SPLIT).to_numpy(zero_copy_only=False) if SPLIT in has else None,
    )


def _floats(column: pa.Array) -> NDArray[np.float64]:
    """float64 [n], NaN where null; integers beyond 2^53 lose their last digits."""
    found: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return found


def _series_codes(batch: pa.RecordBatch, series: str) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    if SERIES not in batch.schema.names:
        return (series,), np.zeros(batch.num_rows, np.int32)
    column = batch.column(SERIES)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    column = pc.dictionary_encode(column.cast(pa.string()).fill_null(series))
    codes = column.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    return tuple(column.dictionary.to_pylist()), codes


def _nanoseconds(column: pa.Array, file: Path) -> NDArray[np.int64]:
    if column.null_count:
        raise ParquetError(
            f"{file}: column `timestamp` has {column.null_count} nulls; every row needs its time"
        )
    unit = column.type.unit if pa.types.is_timestamp(column.type) else "ms"
    raw: NDArray[np.int64] = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    limit = np.iinfo(np.int64).max // _NS_PER[unit]
    if len(raw) and (raw.max() > limit or raw.min() < -limit):
        hint = "" if pa.types.is_timestamp(column.type) else "; integers are read as epoch milliseconds"
        raise ParquetError(f"{file}: column `timestamp` has times outside the years 1678 to 2262{hint}")
    return raw * np.int64(_NS_PER[unit])


def _timestamps(values: Any) -> pa.Array:
    if isinstance(values, np.ndarray) and values.dtype == np.int64:
        return pa.array(values.view("M8[ns]"), pa.timestamp("ns", tz="UTC"))
    return pa.array(values)


def _replay(dataset: Dataset, batch_rows: int) -> Generator[Batch, None, None]:
    """Batches in time order."""
    piece_rows = max(_MIN_PIECE_ROWS, min(_CHUNK_ROWS, _REPLAY_ROWS // len(dataset.files)))
    for readings in merged([_timed(file, dataset, piece_rows) for file in dataset.files], batch_rows):
        yield Batch(readings)


def _timed(file: Path, dataset: Dataset, piece_rows: int) -> TimedRows:
    """The rows of a file, opened when its time comes, and how old they can be from each place on."""
    starts, oldest, at = [], [], 0
    bare = replace(dataset, channels=(), has_label=False, has_split=False)
    for chunk in _read_file(file, bare, _CHUNK_ROWS):
        starts.append(at)
        oldest.append(chunk.timestamp_ns.min())
        at += len(chunk)
    from_here = np.minimum.accumulate(np.array(oldest, np.int64)[::-1])[::-1]
    part = replace(dataset, has_label=False, has_split=False)
    return TimedRows(np.array(starts, np.int64), from_here, at, _pieces(file, part, piece_rows))


def _pieces(file: Path, dataset: Dataset, piece_rows: int) -> Iterator[Readings]:
    yield from (_readings(chunk) for chunk in _read_file(file, dataset, piece_rows))
    raise ParquetError(f"{file}: damaged: its channels have fewer rows than its times")  # who asks for more


def _readings(chunk: Chunk) -> Readings:
    zeros = np.zeros(len(chunk), np.int32)
    return Readings(
        chunk.names, chunk.series, chunk.timestamp_ns, chunk.values, zeros, zeros.astype(np.int64)
    )
