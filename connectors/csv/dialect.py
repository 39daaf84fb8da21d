"""How a CSV file is written, from its first lines: its delimiter, its header and the names in it.

The header is the first line that is neither empty nor begins with `#`. The delimiter is the one of comma,
semicolon, tab and bar that cuts the header into most fields. Text is UTF-8; it may have a byte order mark.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from connectors.errors import CsvError

ENDINGS = (".csv", ".csv.gz")
_DELIMITERS = (",", ";", "\t", "|")
_HEAD_BYTES = 1 << 18
_SAMPLE_LINES = 20
_LEAST_BLOCK, _ROWS_A_BLOCK = 1 << 18, 16
_UTF8_MARK = b"\xef\xbb\xbf"
_OTHER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_VALUE = re.compile(r"\s*([+-]?[\d.,]+([eE][+-]?\d+)?|\d{4}-\d\d-\d\d.*|\d\d\.\d\d\.\d{4}.*)?\s*")
_UNNAMED = "__index_level_{}__"
"""The name of a column without one, as pandas names an index in Parquet: it is no channel."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to cut a file into cells.

    delimiter    one character
    names        the names of the columns, without spaces around them; there may be equal ones
    skip_lines   lines up to the end of the header
    block_bytes  how much to read at once, so that a block has several rows
    """

    delimiter: str
    names: tuple[str, ...]
    skip_lines: int
    block_bytes: int


def is_csv(file: Path) -> bool:
    """Return whether the name of a file ends as that of a CSV file, in any case."""
    return file.name.lower().endswith(ENDINGS)


def open_bytes(file: Path) -> IO[bytes]:
    """Open a file for reading; one that ends with `.gz` is decompressed."""
    return gzip.open(file, "rb") if file.name.lower().endswith(".gz") else file.open("rb")  # type: ignore[return-value]


def dialect_of(file: Path) -> Dialect:
    """Find out how a file is written. Raises CsvError if it cannot be read as CSV; the message says why."""
    lines = _head(file)
    header = next((at for at, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if header is None:
        raise CsvError(f"{file}: has no header; the first line must name the columns")
    delimiter = _delimiter(lines[header:])
    reader = csv.reader(io.StringIO("".join(lines[header:])), delimiter=delimiter)
    try:
        cells = next(reader)
    except csv.Error as error:
        raise CsvError(f"{file}: line {header + 1}: the header cannot be read: {error}") from error
    if len(cells) < 2:
        raise CsvError(
            f"{file}: line {header + 1}: one column only, {cells[0]!r:.60}; separate the columns by one of"
            " comma, semicolon, tab and bar"
        )
    if all(_VALUE.fullmatch(cell) for cell in cells):
        raise CsvError(
            f"{file}: line {header + 1}: has values and no names: {', '.join(cells)!r:.60}; add a line with"
            " the names of the columns before it"
        )
    names = tuple(cell.strip() or _UNNAMED.format(at) for at, cell in enumerate(cells))
    block = max(_LEAST_BLOCK, _ROWS_A_BLOCK * max(map(len, lines)))
    return Dialect(delimiter, names, header + reader.line_num, block)


def _head(file: Path) -> list[str]:
    """Return the first whole lines of a file with their ends."""
    try:
        with open_bytes(file) as stream:
            head = stream.read(_HEAD_BYTES)
    except PermissionError as error:
        raise CsvError(f"{file}: cannot be read: {error.strerror}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise CsvError(f"{file}: cannot be decompressed: {error}; write the file again") from error
    if not head:
        raise CsvError(f"{file}: the file is empty, not CSV")
    if head.startswith(_OTHER_MARKS):
        raise CsvError(f"{file}: is UTF-16; convert it: {_iconv('UTF-16', file)}")
    if head.startswith(b"PAR1"):
        raise CsvError(f"{file}: is Parquet, not CSV; rename it to *.parquet")
    is_whole = len(head) < _HEAD_BYTES
    if not is_whole and b"\n" in head:
        head = head[: head.rindex(b"\n") + 1]
    try:
        return head.removeprefix(_UTF8_MARK).decode().splitlines(keepends=True)
    except UnicodeDecodeError as error:
        line = head.count(b"\n", 0, error.start) + 1
        raise CsvError(not_utf8(file, line)) from error


def not_utf8(file: Path, line: int | None) -> str:
    """Return the message for a file in another encoding; `line` is where that shows, if known."""
    place = "" if line is None else f"line {line}: "
    return f"{file}: {place}is not UTF-8; convert it: {_iconv('CP1252', file)}"


def _iconv(encoding: str, file: Path) -> str:
    return f"iconv -f {encoding} -t UTF-8 {file.name} > utf8-{file.name}"


def _delimiter(lines: list[str]) -> str:
    """Return the delimiter that gives the header most fields; of equal ones, the one that fits more lines."""

    def fit(delimiter: str) -> tuple[int, int]:
        rows = csv.reader(io.StringIO("".join(lines[:_SAMPLE_LINES])), delimiter=delimiter)
        try:
            widths = [len(row) for row in rows if row]
        except csv.Error:
            return 0, 0
        return widths[0], widths.count(widths[0])

    return max(_DELIMITERS, key=fit)
