"""Writes Parquet files that become visible only when they are complete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.durable import make_durable
from connectors.errors import ParquetError
from connectors.parquet.columns import TIMESTAMP


class TableWriter:
    """Appends chunks of columns to one Parquet file, which appears at `close`.

    Used as a context manager, it closes the file, or removes what was written if the block raised.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str] | None = None, durable: bool = False) -> None:
        """Prepare a file at `path`. Nothing is created yet.

        Args:
            path: the file.
            metadata: entries of the metadata of its schema.
            durable: once the file appears, it and its name are on disk, whatever happens to the machine.
        """
        self._path, self._durable = path, durable
        self._scratch = path.with_name(f".{path.name}.part")
        self._metadata = dict(metadata or {})
        self._writer: pq.ParquetWriter | None = None

    def write(self, columns: Mapping[str, Any]) -> None:
        """Append one chunk.

        Args:
            columns: name -> array. `timestamp` may be int64 [n], nanoseconds since the epoch. All chunks have
                the same columns.

        Raises:
            ParquetError: the file cannot be written.
        """
        arrays = {name: _timestamps(v) if name == TIMESTAMP else pa.array(v) for name, v in columns.items()}
        self.write_table(pa.table(arrays))

    def write_table(self, table: pa.Table) -> None:
        """Append the rows of a table. Raises ParquetError as `write` does."""
        if self._metadata:
            table = table.replace_schema_metadata(self._metadata)
        try:
            if self._writer is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._writer = pq.ParquetWriter(self._scratch, table.schema)
            self._writer.write_table(table.cast(self._writer.schema))
        except (OSError, pa.ArrowException) as error:
            raise ParquetError(f"{self._path}: cannot be written: {error}") from error

    def close(self, path: Path | None = None) -> None:
        """Complete the file, under another name of its directory if one is given.

        If nothing was written, none appears. Raises ParquetError.
        """
        if self._writer is None:
            return
        self._path = path or self._path
        try:
            self._writer.close()
            if self._durable:
                make_durable(self._scratch)
            self._scratch.replace(self._path)
            if self._durable:
                make_durable(self._path.parent)
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
        else:
            self.abandon()

    def abandon(self) -> None:
        """Remove what was written; no file appears."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._scratch.unlink(missing_ok=True)


def join_files(files: Iterable[Path], out: Path) -> None:
    """Write the rows of Parquet files with the same columns into one file, which appears when it is complete.

    A row group is in memory at a time. Raises ParquetError.
    """
    with TableWriter(out) as writer:
        for file in files:
            try:
                with pq.ParquetFile(file) as source:
                    for number in range(source.num_row_groups):
                        writer.write_table(source.read_row_group(number))
            except (pa.ArrowException, OSError) as error:
                raise ParquetError(f"{file}: cannot be read: {str(error).splitlines()[0]}") from error


def _timestamps(values: Any) -> pa.Array:
    if isinstance(values, np.ndarray) and values.dtype == np.int64:
        return pa.array(values.view("M8[ns]"), pa.timestamp("ns", tz="UTC"))
    return pa.array(values)
