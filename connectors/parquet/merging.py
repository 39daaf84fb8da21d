"""Merges Parquet files of one table into one file, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.errors import ParquetError
from connectors.parquet.files import open_file, schema_of
from connectors.parquet.writer import TableWriter

_GROUP_ROWS = 1 << 16


def merge_files(files: Sequence[Path], path: Path, metadata: Mapping[str, str]) -> None:
    """Write the rows of files with equal columns into one file, in the order of the files.

    Promise: `path` appears once it is whole and on disk. The other files stay.

    Raises:
        ParquetError: A file is damaged, or `path` cannot be written.
    """
    with TableWriter(path, metadata, durable=True) as writer:
        held: list[pa.RecordBatch] = []
        for batch in (batch for file in files for batch in _batches(file)):
            held.append(batch)
            if sum(one.num_rows for one in held) >= _GROUP_ROWS:
                writer.write_table(pa.Table.from_batches(held))
                held = []
        if held:
            writer.write_table(pa.Table.from_batches(held))


def has_columns_of(file: Path, other: Path) -> bool:
    """Return whether two files have the same columns of the same types, in one order."""
    return bool(schema_of(file).equals(schema_of(other), check_metadata=False))


def metadata_of(file: Path) -> dict[str, str]:
    """Return the entries of the metadata of a file. Raises ParquetError."""
    found = schema_of(file).metadata or {}
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, value in found.items()}


def rows_of(file: Path) -> int:
    """Return the number of rows of a file. Raises ParquetError if it is damaged."""
    try:
        return int(pq.read_metadata(file).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise ParquetError(f"{file}: damaged: {str(error).splitlines()[0]}") from error


def _batches(file: Path) -> Iterator[pa.RecordBatch]:
    try:
        with open_file(file) as parquet:
            yield from parquet.iter_batches(_GROUP_ROWS)
    except (pa.ArrowException, OSError) as error:
        raise ParquetError(f"{file}: damaged: {str(error).splitlines()[0]}") from error
