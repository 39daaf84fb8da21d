"""Parquet files that appear when they are complete."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.errors import ParquetError
from connectors.parquet.dataset import TIMESTAMP
from connectors.parquet.reader import _timestamps


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
