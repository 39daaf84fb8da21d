"""A CSV file as a table: its schema from one pass over all rows, and its rows in batches of bounded memory.

The schema is what the same table would have in Parquet: `timestamp`, float64 for numbers and booleans, text,
null for a column without values. Times become UTC timestamps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from connectors.csv.cells import NumberForm, cleaned, numbers, times, unit_of_cell
from connectors.csv.columns import ColumnTally, Fault, settle_decimals
from connectors.csv.dialect import Dialect, dialect_of, not_utf8, open_bytes
from connectors.csv.time_column import TIMESTAMP, time_column
from connectors.errors import CsvError
from connectors.names import ColumnNames
from connectors.times import EARLIEST_NS, INVALID_NS, iso_time

_FIRST_CELLS = 100
_SERIES = "series"
_MOST_SCANS = 4_096
_OFFSET = re.compile(r"\d{2}:\d{2}[\d.,:]* ?([+-]\d{2}:?\d{2}|Z|UTC|GMT)$")
FAULT = b"fault"
"""Key of a field's metadata: why a column that is mostly numbers is text."""
WRITTEN = b"written"
"""Key of a field's metadata: how a number with signs between thousands is read."""
DECIMAL_SIGN, DOUBT = b"decimal_sign", b"doubt"
"""Keys of a field's metadata: the sign before decimals, and a number whose sign may stand between thousands.

Both are empty where there is none.
"""


@dataclass(frozen=True, slots=True)
class CsvTable:
    """What one pass over a file found.

    schema    names and types as Parquet would have them
    num_rows  rows below the header
    dialect   how the file is written
    forms     how the numbers of each column are written, None for other columns; by place in the file
    time_at   the place of the column of times
    unit      the unit of epoch numbers; None for texts
    offset    the offset from UTC that the first time states, such as "+01:00"; None without one
    """

    file: Path
    schema: pa.Schema
    num_rows: int
    dialect: Dialect
    forms: tuple[NumberForm | None, ...]
    time_at: int
    unit: str | None
    offset: str | None

    def batches(self, rows: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, `rows` in each batch but the last. Raises CsvError."""
        places = {name: self.schema.get_field_index(name) for name in columns}
        wanted = pa.schema([self.schema.field(at) for at in places.values()])
        row = 0
        for cells in _rebatched(_blocks(self.file, self.dialect, list(places.values())), rows):
            arrays = [self._column(cells[f"{at}"], at, row) for at in places.values()]
            yield pa.RecordBatch.from_arrays(arrays, schema=wanted)
            row += len(cells)

    def _column(self, cells: pa.Array, at: int, row: int) -> pa.Array:
        if at == self.time_at:
            return pa.array(self._times(cells, row).view("M8[ns]")).cast(pa.timestamp("ns", "UTC"))
        form = self.forms[at]
        if pa.types.is_null(self.schema.field(at).type):
            return pa.nulls(len(cells))
        return cells if form is None else numbers(cells, form)

    def _times(self, cells: pa.Array, row: int) -> NDArray[np.int64]:
        if cells.null_count:
            at = pc.index(cells.is_null(), True).as_py()
            raise self._error(row + at, "is empty; every row needs its time")
        found = times(cells, self.unit)
        wrong = np.flatnonzero(found < EARLIEST_NS)  # INVALID_NS is among them
        if len(wrong):
            at = int(wrong[0])
            raise self._error(row + at, _time_fault(cells[at].as_py(), int(found[at]), self.unit))
        return found

    def _error(self, row: int, what: str) -> CsvError:
        return located(self.file, self.dialect, row, self.time_at, what)


def csv_table(file: Path, names: ColumnNames) -> CsvTable:
    """Return a file as a table. It is read once, and again only when it has changed. Raises CsvError."""
    try:
        state = file.stat()
    except OSError as error:
        raise CsvError(f"{file}: cannot be read: {error.strerror}") from error
    return _scanned(file, names, state.st_mtime_ns, state.st_size)


def located(file: Path, dialect: Dialect, row: int, at: int, what: str) -> CsvError:
    """Return the error of one cell: file, line, column and what is wrong."""
    return CsvError(f"{file}: line {_line_of(file, dialect, row)}: column {dialect.names[at]!r} {what}")


@lru_cache(maxsize=_MOST_SCANS)
def _scanned(file: Path, names: ColumnNames, mtime_ns: int, num_bytes: int) -> CsvTable:
    """Read a file once. The last two arguments make a changed file another one."""
    dialect = dialect_of(file)
    tallies = [ColumnTally() for _ in dialect.names]
    first: list[list[str]] = [[] for _ in dialect.names]
    num_rows = 0
    for block in _blocks(file, dialect, range(len(tallies))):
        for at, tally in enumerate(tallies):
            cells = block.column(at)
            if len(first[at]) < _FIRST_CELLS:
                known = cleaned(cells).drop_null()
                first[at] += known[: _FIRST_CELLS - len(first[at])].to_pylist()
            tally.add(cells, num_rows)
        num_rows += block.num_rows
    cells_of = dict(zip(dialect.names, first, strict=True))
    time_at = dialect.names.index(time_column(dialect.names, cells_of, names, file)) if num_rows else 0
    settle_decimals([one for at, one in enumerate(tallies) if at != time_at], dialect.delimiter)
    unit = unit_of_cell(first[time_at][0]) if first[time_at] else None
    kinds = [_field(file, dialect, names, at, tally) for at, tally in enumerate(tallies)]
    kinds[time_at] = pa.field(TIMESTAMP, pa.timestamp("ns", "UTC"))
    forms = tuple(tally.form() for tally in tallies)
    return CsvTable(file, pa.schema(kinds), num_rows, dialect, forms, time_at, unit, _offset(first[time_at]))


def _field(file: Path, dialect: Dialect, names: ColumnNames, at: int, tally: ColumnTally) -> pa.Field:
    name = dialect.names[at]
    if name == names.series and _SERIES not in dialect.names:
        name = _SERIES
    if name in (_SERIES, "split"):
        tally.is_text, tally.fault = True, None
    if not tally.has_values:
        return pa.field(name, pa.null())
    if tally.fault is None:
        form = tally.form()
        how: dict[bytes, str] = {DECIMAL_SIGN: tally.decimal_sign(), DOUBT: tally.doubt(dialect.delimiter)}
        if form is not None and form.startswith("grouped"):
            how[WRITTEN] = _read_as(tally, form)
        return pa.field(name, pa.float64() if form else pa.string(), metadata=how)
    return pa.field(name, pa.string(), metadata={FAULT: _words(file, dialect, tally.fault)})


def _read_as(tally: ColumnTally, form: NumberForm) -> str:
    cell = tally.first[form][1]
    return f"{cell!r:.40} is read as {numbers(pa.array([cell]), form)[0].as_py():.15g}"


def _offset(stamps: Sequence[str]) -> str | None:
    found = _OFFSET.search(stamps[0]) if stamps else None
    return None if found is None else found.group(1)


def _words(file: Path, dialect: Dialect, fault: Fault) -> str:
    return f"line {_line_of(file, dialect, fault.row)}: {fault.cell!r:.40} {fault.why}"


def _time_fault(cell: str, found_ns: int, unit: str | None) -> str:
    if found_ns != INVALID_NS and found_ns >= 0:
        return f"has {cell!r}, which is {iso_time(found_ns)}, before 1990"
    if "/" in cell:
        return f"has {cell!r}, where day and month can be swapped; write 2026-12-31 23:59:00"
    hint = "ISO 8601, such as 2026-12-31 23:59:00" if unit is None else f"a number of epoch {unit}, as above"
    return f"has {cell!r:.60}, which is no time; expected {hint}"


def _blocks(file: Path, dialect: Dialect, places: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """Yield the cells of some columns as strings, null where empty; columns are named by their place."""
    short: list[Any] = []

    def refuse(row: Any) -> str:
        short.append(row)
        return "error"

    with _translated(file, dialect, short), _stream(file) as stream:
        kinds = {f"{at}": pa.string() for at in range(len(dialect.names))}
        try:
            reader = pa_csv.open_csv(
                stream,
                pa_csv.ReadOptions(
                    use_threads=False,
                    block_size=dialect.block_bytes,
                    skip_rows=dialect.skip_lines,
                    column_names=list(kinds),
                ),
                pa_csv.ParseOptions(delimiter=dialect.delimiter, invalid_row_handler=refuse),
                pa_csv.ConvertOptions(
                    column_types=kinds,
                    null_values=[""],
                    strings_can_be_null=True,
                    include_columns=[f"{at}" for at in places],
                ),
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return
            raise
        yield from (block for block in reader if block.num_rows)


def _stream(file: Path) -> pa.NativeFile:
    return pa.input_stream(str(file), compression="gzip" if file.name.lower().endswith(".gz") else None)


@contextmanager
def _translated(file: Path, dialect: Dialect, short: list[Any]) -> Iterator[None]:
    """Turn what reading raises into a CsvError that names the line, where it is known."""
    try:
        yield
    except (pa.ArrowException, OSError, EOFError) as error:
        if short:
            row = short[0]
            line = _line_of(file, dialect, row.number - dialect.skip_lines - 1)
            raise CsvError(
                f"{file}: line {line} is cut into {row.actual_columns} by {dialect.delimiter!r},"
                f" the header into {row.expected_columns};"
                f" complete or remove the line, or quote fields that contain {dialect.delimiter!r}"
            ) from error
        reason = str(error).splitlines()[0]
        if "UTF8" in reason:
            raise CsvError(not_utf8(file, None)) from error
        raise CsvError(f"{file}: cannot be read as CSV, or is truncated: {reason}") from error


def _rebatched(blocks: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in batches of `rows`, the last one shorter."""
    held: list[pa.RecordBatch] = []
    num_held = 0
    for block in blocks:
        held.append(block)
        num_held += block.num_rows
        if num_held >= rows:
            whole = _joined(held)
            last = num_held - num_held % rows
            yield from (whole.slice(at, rows) for at in range(0, last, rows))
            held, num_held = [whole.slice(last)], num_held - last
    if num_held:
        yield _joined(held)


def _joined(blocks: list[pa.RecordBatch]) -> pa.RecordBatch:
    return blocks[0] if len(blocks) == 1 else pa.concat_batches(blocks)


def _line_of(file: Path, dialect: Dialect, row: int) -> int:
    """Return the line of a row, both from the first on; empty lines are no rows."""
    with open_bytes(file) as stream:
        lines = enumerate(islice(stream, dialect.skip_lines, None), dialect.skip_lines + 1)
        filled = (number for number, line in lines if line.strip(b"\r\n"))
        return next(islice(filled, row, None))
