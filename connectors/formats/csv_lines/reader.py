"""Reads lines of CSV, one or several in a message, whose columns the form names.

    pump-17;2026-01-01T00:00:00Z;21,3;

`$.NAME` is a column. A cell is missing if it is empty, or one of a few usual words. `true` and `false` are 1
and 0. A line with the names of the columns is a header, and no reading. Blanks around them do not matter.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from io import StringIO

import numpy as np

from connectors.errors import CodecError
from connectors.formats.channels import Columns
from connectors.formats.contract import RefusedError, Rows, Table, usable
from connectors.formats.form import Form
from connectors.formats.places import Path, SeriesPlace, TimePlace, check_single
from connectors.records import RawColumns
from connectors.times import Clock
from connectors.values import MISSING_WORDS
from connectors.wide_json.limits import Limits, Refusal

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(?i:inf|infinity)")
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_BOOL = {"true": 1.0, "false": 0.0}
_NOT_DELIMITERS = frozenset('"\r\n ')


class CsvReader:
    """Reads a row from each line. Raises CodecError for columns and places that are none."""

    def __init__(self, form: Form, columns: Columns, limits: Limits) -> None:
        self.clock = form.clock or Clock()
        self._series, self._time = SeriesPlace(form.series), TimePlace(form.time)
        paths = [*self._series.paths, *([self._time.path] if self._time.path else [])]
        check_single(paths, "a column")
        _check(form, paths)
        self._columns, self._limits = columns, limits
        self._header = [name.strip() for name in form.columns]
        self._names, self._delimiter, self._has_comma = form.columns, form.delimiter, form.decimal_comma
        places = {str(path.steps[0]) for path in paths}
        self._known = [(name, columns.at[name]) for name in self._names if name in columns.at]
        self._others = [
            name
            for name in self._names
            if name not in columns.at and name not in places and columns.takes(name)
        ]

    def read(self, raw: RawColumns) -> Table:
        """Read messages in order of arrival."""
        rows, cells = Rows(), list[list[float]]()
        for at, value in usable(raw, self._limits, rows.refusals, "malformed"):
            number = 0
            try:
                for number, line in enumerate(self._lines(value), 1):
                    self._add(raw, at, number, line, rows, cells)
            except RefusedError as error:
                refusal = error.refusal
                rows.refuse(at, Refusal(refusal.reason, f"line {number + 1}: {refusal.detail}"))
        known = np.full((len(cells), self._columns.num), np.nan)
        for place, (_, column) in enumerate(self._known):
            known[:, column] = [one[place] for one in cells]
        return rows.table(self.clock, self._columns.scaled(known))

    def _lines(self, value: bytes) -> Iterator[list[str]]:
        """Yield the cells of each line. Raises RefusedError, with which the lines end."""
        try:
            text = value.decode("utf-8-sig")
            found = 0
            for line in csv.reader(StringIO(text, newline=""), delimiter=self._delimiter, strict=True):
                if line:
                    found += 1
                    yield line
        except UnicodeDecodeError:
            raise RefusedError("malformed", "the message is no UTF-8") from None
        except csv.Error as error:
            raise RefusedError("malformed", f"no line of CSV: {error}") from None
        if not found:
            raise RefusedError("malformed", "the message has no line")

    def _add(
        self, raw: RawColumns, at: int, number: int, line: list[str], rows: Rows, cells: list[list[float]]
    ) -> None:
        """Add the row of a line, or refuse the line."""
        if [cell.strip() for cell in line] == self._header:
            return
        series = ""
        try:
            if len(line) != len(self._names):
                what = f"{len(line)} cells, expected {len(self._names)}: {self._delimiter.join(self._names)}"
                raise RefusedError("malformed", what[:200])
            named = dict(zip(self._names, line, strict=True))
            series = self._series.find(raw, at, named, named)
            stamp = self._stamp(self._time.find(raw, at, named, named))
            found = [self._cell(name, named[name]) for name, _ in self._known]
            self._count(named, found, rows)
        except RefusedError as error:
            refusal = error.refusal
            rows.refuse(at, Refusal(refusal.reason, f"line {number}: {refusal.detail}", series))
            return
        rows.add(at, series, stamp)
        cells.append(found)

    def _count(self, named: dict[str, str], found: list[float], rows: Rows) -> None:
        """Count values of names that are no channels. Raises RefusedError where there are no others."""
        unknown = [name for name in self._others if self._number(named[name].strip()) is not None]
        if unknown and self._columns.rejects_unknown:
            raise RefusedError("unknown_channel", f"channel {min(unknown)!r} is not configured")
        if self._columns.at and (unknown or not self._known) and all(one != one for one in found):
            some = f"only channels such as {min(unknown)!r}" if unknown else "no values"
            what = f"{some}, expected such as {next(iter(self._columns.at))!r}"
            raise RefusedError("no_known_channel", what)
        rows.unknown.update(unknown)

    def _cell(self, name: str, cell: str) -> float:
        """Return the value of a channel, NaN where missing. Raises RefusedError."""
        cell = cell.strip()
        if cell in MISSING_WORDS:
            return np.nan
        number = self._number(cell)
        if number is None:
            raise RefusedError("wrong_type", f"expected a number, got a text - at channel {name!r}")
        return number

    def _number(self, cell: str) -> float | None:
        """Return a cell as a number, None where it is none."""
        if self._has_comma:
            cell = cell.replace(",", ".", 1) if "." not in cell else ""
        return float(cell) if _NUMBER.fullmatch(cell) else _BOOL.get(cell.lower())

    def _stamp(self, found: int | float | str) -> int | float | str:
        """Return a time as a number where it is one."""
        if not isinstance(found, str):
            return found
        cell = found.strip()
        if _INTEGER.fullmatch(cell):
            return int(cell)
        number = self._number(cell)
        return cell if number is None or not np.isfinite(number) else number


def _check(form: Form, paths: list[Path]) -> None:
    """Raise CodecError for columns of one name, and for a place that is no column."""
    names = form.columns
    if not names:
        raise CodecError("format csv needs the names of its columns: set columns")
    if len(set(names)) < len(names):
        raise CodecError(f"columns has {max(names, key=names.count)!r} twice")
    if len(form.delimiter) != 1 or form.delimiter in _NOT_DELIMITERS:
        raise CodecError(f"delimiter {form.delimiter!r} must be one character, such as ; or a tab")
    if form.decimal_comma and form.delimiter == ",":
        raise CodecError('decimal = "comma" needs another delimiter than a comma, such as ;')
    for path in paths:
        if path.steps[0] not in names:
            raise CodecError(f"{path.text} is none of the columns {', '.join(names)}")
