"""Read a small table of Parquet as plain rows."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from connectors.errors import ParquetError
from connectors.parquet.files import open_file


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file as plain values; times are ISO 8601 text.

    Raises:
        ParquetError: the file is no Parquet, or has a value that no text can hold.
    """
    try:
        with open_file(path) as file:
            table = file.read()
        for at, field in enumerate(table.schema):
            if pa.types.is_timestamp(field.type):  # Python has no nanoseconds
                kind = pa.timestamp("us", tz=field.type.tz)
                table = table.set_column(at, field.name, table.column(at).cast(kind, safe=False))
        rows: list[dict[str, Any]] = table.to_pylist()
    except (pa.ArrowException, ValueError) as error:
        raise ParquetError(f"{path}: {error}") from error
    return [
        {
            name: one.isoformat() if isinstance(one, datetime) else one
            for name, one in row.items()
            if one is not None
        }
        for row in rows
    ]
