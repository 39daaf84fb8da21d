"""Reads Parquet files as columns, one chunk in memory. Nulls and infinite values become NaN."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.errors import ParquetError
from connectors.parquet.dataset import (
    LABEL,
    NS_PER_UNIT,
    SERIES,
    SPLIT,
    TIMESTAMP,
    Dataset,
    open_file,
    schema_of,
)

CHUNK_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of a file, in its order.

    timestamp_ns  int64 [n], UTC nanoseconds since the epoch
    names         the distinct series of this chunk
    series        int32 [n], index into `names`
    values        float64 [n, channels], NaN where missing
    label         int8 [n], None if the data set has none
    split         object [n], None if the data set has none
    """

    timestamp_ns: NDArray[np.int64]
    names: tuple[str, ...]
    series: NDArray[np.int32]
    values: NDArray[np.float64]
    label: NDArray[np.int8] | None
    split: NDArray[np.object_] | None

    def __len__(self) -> int:
        return len(self.timestamp_ns)


def read_chunks(dataset: Dataset, chunk_rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """Yield all rows, file by file, at most `chunk_rows` a chunk. Raises ParquetError."""
    for file in dataset.files:
        yield from read_file(file, dataset, chunk_rows)


def read_file(file: Path, dataset: Dataset, chunk_rows: int) -> Iterator[Chunk]:
    """Yield the rows of one file of a data set. Raises ParquetError if it is damaged."""
    schema = schema_of(file)
    optional = [
        name
        for name, wanted in ((SERIES, True), (LABEL, dataset.has_label), (SPLIT, dataset.has_split))
        if wanted and name in schema.names
    ]
    series = _series_of_file(file, schema)
    try:
        with open_file(file) as parquet:
            columns = [TIMESTAMP, *optional, *dataset.channels]
            for batch in parquet.iter_batches(chunk_rows, columns=columns):
                if batch.num_rows:
                    yield _chunk(batch, dataset.channels, series, file)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ParquetError(f"{file}: damaged: {str(error).splitlines()[0]}") from error


def _series_of_file(file: Path, schema: pa.Schema) -> str:
    """Return the series of a file without a `series` column: its Hive key, else its metadata or name."""
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
    """Return float64 [n], NaN where null; integers beyond 2^53 lose their last digits."""
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
    limit = np.iinfo(np.int64).max // NS_PER_UNIT[unit]
    if len(raw) and (raw.max() > limit or raw.min() < -limit):
        hint = "" if pa.types.is_timestamp(column.type) else "; integers are read as epoch milliseconds"
        raise ParquetError(f"{file}: column `timestamp` has times outside the years 1678 to 2262{hint}")
    return raw * np.int64(NS_PER_UNIT[unit])
