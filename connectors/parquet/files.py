"""Files of history, Parquet and CSV alike: found in directories, with their schemas, sizes and rows.

Where a table lacks `timestamp` or `series`, the columns that `ColumnNames` names stand for them.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.csv.dialect import is_csv
from connectors.csv.table import csv_table
from connectors.csv.time_column import TIMESTAMP
from connectors.errors import ParquetError
from connectors.names import NAMES, ColumnNames
from connectors.parquet.recorded_names import without_covered

Batches = Generator[pa.RecordBatch, None, None]
_HIDDEN = ("_", ".")
_GZ = ".csv.gz"


def find_files(path: Path) -> list[Path]:
    """Return the files of a path, sorted: Parquet files of a directory, or where it has none, CSV files.

    Hidden files and directories are left out, and files of a recording that another one covers. Raises
    ParquetError if there is nothing.
    """
    if path.is_dir():
        inside = [file for file in path.rglob("*") if file.name.lower().endswith((".parquet", ".csv", _GZ))]
        shown = [file for file in sorted(inside) if not _is_hidden(file.relative_to(path))]
        tables = without_covered([file for file in shown if file.suffix == ".parquet"])
        found = tables or [*filter(is_csv, shown)]
        if not found:
            raise ParquetError(f"{path}: no *.parquet, *.csv or *.csv.gz file in this directory or below it")
        return found
    if not path.exists():
        raise ParquetError(f"{path}: no such file or directory")
    return [path]


def _is_hidden(inside: Path) -> bool:
    return any(part.startswith(_HIDDEN) for part in inside.parts)


def schema_of(file: Path, names: ColumnNames = NAMES) -> pa.Schema:
    """Read the schema of a file. Raises ParquetError if it is neither readable Parquet nor CSV."""
    if is_csv(file):
        return csv_table(file, names).schema
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
    own = _own_names(schema, names)
    fields = [one.with_name(own.get(one.name, one.name)) for one in schema]
    return pa.schema(fields, schema.metadata) if own else schema


@dataclass(frozen=True, slots=True)
class TimeOrigin:
    """Where the times of a file come from.

    column   the name of the column in the file
    form     such as "epoch s", "text" or the type of Parquet
    zone     the time zone that Parquet states or the offset that the first text has; None without one
    """

    column: str
    form: str
    zone: str | None


def time_origin(file: Path, names: ColumnNames = NAMES) -> TimeOrigin:
    """Return where the times of a file come from. Raises ParquetError if it cannot be read."""
    if is_csv(file):
        table = csv_table(file, names)
        form = "text" if table.unit is None else f"epoch {table.unit}"
        return TimeOrigin(table.dialect.names[table.time_at], form, table.offset)
    schema = pq.read_schema(file)
    column = TIMESTAMP if TIMESTAMP in schema.names or names.time is None else names.time
    kind = schema.field(column).type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    form = "epoch ms" if is_number else "text" if pa.types.is_string(kind) else str(kind)
    return TimeOrigin(column, form, kind.tz if pa.types.is_timestamp(kind) else None)


def times_without_name(file: Path) -> list[str]:
    """Return the columns of a Parquet file without `timestamp` that have times by their type."""
    schema = pa.schema([]) if is_csv(file) else schema_of(file)
    has_name = TIMESTAMP in schema.names
    return [one.name for one in schema if pa.types.is_timestamp(one.type) and not has_name]


def num_rows_of(file: Path, names: ColumnNames = NAMES) -> int:
    """Return the number of rows of a file whose schema could be read."""
    return csv_table(file, names).num_rows if is_csv(file) else pq.read_metadata(file).num_rows


def batches_of(file: Path, names: ColumnNames, rows: int, columns: Sequence[str]) -> Batches:
    """Yield some columns of a file, at most `rows` rows at once, in its order.

    Raises:
        ParquetError: a CSV file cannot be read.
        ArrowException, OSError, UnicodeDecodeError: a Parquet file is damaged.
    """
    if is_csv(file):
        yield from csv_table(file, names).batches(rows, columns)
        return
    with open_file(file) as parquet:
        own = _own_names(parquet.schema_arrow, names)
        theirs = {name: one for one, name in own.items()}
        for batch in parquet.iter_batches(rows, columns=[theirs.get(name, name) for name in columns]):
            yield batch.rename_columns([own.get(name, name) for name in batch.schema.names])


def open_file(file: Path) -> pq.ParquetFile:
    """Open a file to be read in pieces: without read-ahead a row group is never in memory as a whole."""
    return pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)


def _own_names(schema: pa.Schema, names: ColumnNames) -> dict[str, str]:
    """Return the name with which each column of other names is read."""
    wanted = ((TIMESTAMP, names.time), ("series", names.series))
    return {
        one: name
        for name, one in wanted
        if one is not None and one in schema.names and name not in schema.names
    }
