"""DuckDB in this process: the one place that imports it. It reads Parquet and nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from detector.explore.store.layout import STATES, TABLES, ExploreError

Columns = dict[str, np.ndarray[Any, Any]]
_MEMORY = "1GB"
_SAFE = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}


def text(value: str) -> str:
    """Return a text as SQL.

    >>> text("pump's")
    "'pump''s'"
    """
    return "'" + value.replace("'", "''") + "'"


def name(value: str) -> str:
    """Return the name of a column as SQL.

    >>> name('the "main" flow')
    '"the ""main"" flow"'
    """
    return '"' + value.replace('"', '""') + '"'


def rank(column: str) -> str:
    """Return SQL for how bad a state is, from 1; 0 for one that this release does not know."""
    return f"coalesce(list_position([{', '.join(map(text, STATES))}], {column}), 0)"


def time(nanoseconds: int) -> str:
    """Return a time as SQL that can be compared with a column `timestamp`."""
    return f"make_timestamp_ns({int(nanoseconds)})::TIMESTAMPTZ_NS"


def day(nanoseconds: int) -> str:
    """Return the UTC day of a time as SQL that can be compared with the column `day` of the directories."""
    return f"make_timestamp_ns({int(nanoseconds)})::DATE"


class Database:
    """A connection in memory; requests that come at the same time each have a cursor of their own."""

    def __init__(
        self,
        directories: Sequence[Path],
        memory: str = _MEMORY,
        files: Any = None,
        roots: Sequence[str] = (),
    ) -> None:
        """Open DuckDB. It can read and write below `directories` and `roots` alone; its settings are locked.

        Args:
            directories: the first one also receives what does not fit into memory.
            memory: the most memory of all queries, such as "512MB".
            files: a file system of fsspec that opens paths of its own scheme.
            roots: what it may open, such as "scheme://folder".
        """
        threads = max(1, min(4, len(os.sched_getaffinity(0))))
        self._connection = duckdb.connect(config=dict(_SAFE))
        if files is not None:
            self._connection.register_filesystem(files)
        allowed = ", ".join(text(one) for one in (*(str(one.resolve()) for one in directories), *roots))
        for line in (
            f"SET threads = {threads}",
            f"SET memory_limit = {text(memory)}",
            "SET TimeZone = 'UTC'",
            "SET disabled_optimizers = 'statistics_propagation'",  # it takes NaN for numbers within bounds
            f"SET temp_directory = {text(str(directories[0].resolve()))}",
            f"SET allowed_directories = [{allowed}]",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            self._connection.execute(line)

    def execute(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query. Raises ExploreError with DuckDB's message."""
        with self._connection.cursor() as cursor:
            try:
                return cursor.execute(sql, list(values)).fetchall()
            except duckdb.Error as error:
                raise ExploreError(f"the store cannot be read: {_first_line(error)}") from error

    def insert(self, table: str, rows: Sequence[Sequence[object]]) -> None:
        """Append rows to a table in memory."""
        if rows:
            marks = ", ".join("?" for _ in rows[0])
            self._connection.executemany(f"INSERT INTO {table} VALUES ({marks})", [list(row) for row in rows])

    def load(self, table: str, columns: Columns, types: Mapping[str, str]) -> None:
        """Make a table in memory of arrays of equal length, in place of one of that name.

        Args:
            table: its name.
            columns: arrays; None in arrays of objects is NULL.
            types: the type of each column in SQL.
        """
        wanted = ", ".join(f"{name(one)}::{kind} AS {name(one)}" for one, kind in types.items())
        with self._connection.cursor() as cursor:
            cursor.register("given", columns)
            cursor.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT {wanted} FROM given")

    def columns(self, sql: str, values: Sequence[object] = ()) -> Columns:
        """Return the columns of a query; NULL is NaN in numbers and None in texts."""
        with self._connection.cursor() as cursor:
            try:
                found = cursor.execute(sql, list(values)).fetchnumpy()
            except duckdb.Error as error:
                raise ExploreError(f"the store cannot be read: {_first_line(error)}") from error
        return {key: _filled(column) for key, column in found.items()}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def open_store(store: Path) -> Database:
    """Return a database with a view of each table of the store. Raises ExploreError."""
    database = Database([store])
    for table in TABLES:
        files = text(str(store.resolve() / table / "*" / "*.parquet"))
        database.execute(f"CREATE VIEW {table} AS FROM read_parquet({files}, hive_partitioning = true)")
    return database


def _filled(column: Any) -> np.ndarray[Any, Any]:
    if not isinstance(column, np.ma.MaskedArray):
        return np.asarray(column)
    if column.dtype.kind in "fiub":
        return np.ma.filled(column.astype(np.float64), np.nan)
    found = np.array(column.data, object)
    found[np.ma.getmaskarray(column)] = None  # numpy would fill in "?"
    return found


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
