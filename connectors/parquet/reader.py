"""Reads Parquet and CSV files as columns, one chunk in memory. Nulls and infinite values become NaN."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.errors import ParquetError
from connectors.parquet.columns import LABEL, SERIES, SPLIT, TIMESTAMP, holds_numbers
from connectors.parquet.dataset import Dataset
from connectors.parquet.files import batches_of, schema_of
from connectors.times import (
    EARLIEST_NS,
    INVALID_NS,
    NS_PER_UNIT,
    iso_time,
    times_of,
    times_of_numbers,
    unit_hint,
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
    infinite      int64 [channels], infinite values that became NaN; None if they were not counted
    """

    timestamp_ns: NDArray[np.int64]
    names: tuple[str, ...]
    series: NDArray[np.int32]
    values: NDArray[np.float64]
    label: NDArray[np.int8] | None
    split: NDArray[np.object_] | None
    infinite: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.timestamp_ns)


def read_chunks(dataset: Dataset, chunk_rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """Yield all rows, file by file, at most `chunk_rows` a chunk. Raises ParquetError."""
    for file in dataset.files:
        yield from read_file(file, dataset, chunk_rows)


def read_file(file: Path, dataset: Dataset, chunk_rows: int) -> Iterator[Chunk]:
    """Yield the rows of one file of a data set. Raises ParquetError if it is damaged."""
    schema = schema_of(file, dataset.names)
    optional = [
        name
        for name, wanted in ((SERIES, True), (LABEL, dataset.has_label), (SPLIT, dataset.has_split))
        if wanted and name in schema.names
    ]
    present = {name for name in dataset.channels if holds_numbers(schema, name)}
    try:
        for batch in batches_of(file, dataset.names, chunk_rows, [TIMESTAMP, *optional, *present]):
            if batch.num_rows:
                chunk = _chunk(batch, dataset, present, file)
                rows = is_wanted(chunk, dataset.only)
                if rows.any():
                    yield chunk if rows.all() else of_rows(chunk, rows)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ParquetError(f"{file}: damaged: {str(error).splitlines()[0]}") from error


def of_rows(chunk: Chunk, rows: NDArray[np.bool_]) -> Chunk:
    """Return the rows of a mask, bool [n], as if the chunk had no others; `infinite` of a whole one alone."""
    present, first, series = np.unique(chunk.series[rows], return_index=True, return_inverse=True)
    order = np.argsort(first)  # names in order of appearance, as the reader gives them
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order))
    return Chunk(
        chunk.timestamp_ns[rows],
        tuple(chunk.names[code] for code in present[order].tolist()),
        place[series],
        chunk.values[rows],
        None if chunk.label is None else chunk.label[rows],
        None if chunk.split is None else chunk.split[rows],
        chunk.infinite if rows.all() else None,
    )


def is_wanted(chunk: Chunk, only: frozenset[str] | None) -> NDArray[np.bool_]:
    """Return which rows of a chunk are of some series, bool [n]; None: all."""
    found = np.array([only is None or name in only for name in chunk.names], np.bool_)
    rows: NDArray[np.bool_] = found[chunk.series]
    return rows


def _chunk(batch: pa.RecordBatch, dataset: Dataset, present: set[str], file: Path) -> Chunk:
    values = np.full((batch.num_rows, len(dataset.channels)), np.nan)
    for at, name in enumerate(dataset.channels):
        if name in present:
            values[:, at] = _floats(batch.column(name))
    infinite = np.isinf(values)
    values[infinite] = np.nan
    names, codes = _series_codes(batch, dataset.series[file])
    has = batch.schema.names
    return Chunk(
        _nanoseconds(batch.column(TIMESTAMP), file),
        names,
        codes,
        values,
        (np.nan_to_num(_floats(batch.column(LABEL))) != 0).astype(np.int8) if LABEL in has else None,
        batch.column(SPLIT).to_numpy(zero_copy_only=False) if SPLIT in has else None,
        infinite.sum(axis=0),
    )


def _floats(column: pa.Array) -> NDArray[np.float64]:
    """Return float64 [n], NaN where null; integers beyond 2^53 lose their last digits."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
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
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if pa.types.is_timestamp(column.type):
        return _of_timestamps(column, file)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        numbers = column.to_numpy(zero_copy_only=False)
        found = times_of_numbers(numbers)
        what, hint = "number", "; numbers are epoch milliseconds"
    else:
        numbers = None
        found = _of_texts(column)
        what, hint = "text", ", expected ISO 8601"
    wrong = np.flatnonzero(found < EARLIEST_NS)  # INVALID_NS is among them
    if len(wrong):
        stamp = column[int(wrong[0])].as_py()
        if numbers is not None:
            hint = unit_hint(stamp) or hint
        when = (
            "no time" if found[wrong[0]] == INVALID_NS else f"{iso_time(int(found[wrong[0]]))}, before 1990"
        )
        raise ParquetError(f"{file}: column `timestamp` has the {what} {stamp!r}, which is {when}{hint}")
    return found


def _of_timestamps(column: pa.Array, file: Path) -> NDArray[np.int64]:
    raw: NDArray[np.int64] = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    limit = np.iinfo(np.int64).max // NS_PER_UNIT[column.type.unit]
    if len(raw) and (raw.max() > limit or raw.min() < -limit):
        raise ParquetError(f"{file}: column `timestamp` has times outside the years 1678 to 2262")
    return raw * np.int64(NS_PER_UNIT[column.type.unit])


def _of_texts(column: pa.Array) -> NDArray[np.int64]:
    """Return the times of ISO 8601 texts; each distinct text is parsed once."""
    encoded = column.cast(pa.string()).dictionary_encode()
    times = times_of(encoded.dictionary.to_pylist())
    found: NDArray[np.int64] = times[encoded.indices.to_numpy()]
    return found
