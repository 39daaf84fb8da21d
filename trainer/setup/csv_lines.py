"""Proposes how messages of CSV are read: the columns, their names, and which is the series and the time."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from io import StringIO

from connectors.times import INVALID_NS, times_of
from connectors.values import MISSING_WORDS
from trainer.setup.proposal import Beside, Keys, UnclearError, Value, place_of_series, place_of_time

_DELIMITERS = (";", "\t", "|", ",")
_POINT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?\d+,\d+")
_HIDDEN = "..."
UNNAMED = "column_"
"""The beginning of the names of columns that no message names."""

Lines = list[list[str]]


class CsvProposal:
    """Looks at all messages of a sample once; `keys_for` then answers for each of them.

    Args:
        values: the messages.
        beside: what comes with each of them.
    """

    def __init__(self, values: Sequence[bytes | None], beside: Iterable[Beside]) -> None:
        pairs = [(_text(value), other) for value, other in zip(values, beside, strict=True)]
        texts = [(text, other) for text, other in pairs if text is not None]
        self._keys: Keys | None = None
        self._unclear = ""
        for delimiter in _DELIMITERS:
            lines = [(line, other) for text, other in texts for line in _lines(text, delimiter)]
            width = max((len(line) for line, _ in lines), default=0)
            fitting = [(line, other) for line, other in lines if len(line) == width]
            if width > 1 and 2 * len(fitting) > len(texts):
                self._take(fitting, delimiter)
                return

    def keys_for(self, value: bytes, beside: Beside) -> Keys | None:
        """Return the keys of [input] for a message; None if it is no CSV of the columns of the others.

        Raises:
            UnclearError: several columns may be the series.
        """
        text = _text(value)
        if text is None or self._keys is None:
            return None
        widths = {len(line) for line in _lines(text, str(self._keys["delimiter"]))}
        if widths != {len(self._keys["columns"])}:
            return None
        if self._unclear:
            raise UnclearError(self._unclear)
        return {key: one for key, one in self._keys.items() if (key, one) != ("delimiter", ",")}

    def _take(self, lines: Sequence[tuple[list[str], Beside]], delimiter: str) -> None:
        """Make the keys of lines with equally many cells."""
        header = next((line for line, _ in lines if _is_header(line)), None)
        rows = [pair for pair in lines if not _is_header(pair[0])]
        has_comma = delimiter != "," and _has_comma([line for line, _ in rows])
        record = _record(rows, has_comma)
        if not any(isinstance(found, float | int) for found in record):
            return
        names = tuple(
            [cell.strip() for cell in header or ()] or [f"{UNNAMED}{at}" for at in range(1, len(record) + 1)]
        )
        leaves = [(_place(name), "$", found) for name, found in zip(names, record, strict=True)]
        beside = rows[0][1]
        time, unit, of_times = place_of_time(leaves, beside.timestamp_ms)
        texts = {
            path: one for path, _, one in leaves if isinstance(one, str) and one and path not in of_times
        }
        self._keys = {"format": "csv", "columns": names, "delimiter": delimiter}
        try:
            series = place_of_series(texts, beside.key)
        except UnclearError as error:
            self._unclear = str(error).replace("JSON", "CSV", 1)
            return
        self._keys |= {"series": series, "time": time, **unit} | ({"decimal": "comma"} if has_comma else {})


def example_line(value: bytes, keys: Keys, names: Iterable[str]) -> str:
    """Return the first reading of a message as a line; its texts are hidden, except `names` and times.

    Where no line can be shown, as with letters that cannot be printed, it is the size of the message.
    """
    shown, delimiter = frozenset(names), str(keys.get("delimiter", ","))
    line = next((one for one in _lines(_text(value) or "", delimiter) if not _is_header(one)), None)
    if line is None:
        return f"{len(value):,} bytes"

    def masked(cell: str) -> str:
        is_number = _POINT.fullmatch(cell) or _COMMA.fullmatch(cell) or cell.strip() in MISSING_WORDS
        return cell if is_number or cell in shown or times_of([cell])[0] != INVALID_NS else _HIDDEN

    out = StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="").writerow(masked(cell) for cell in line)
    return "".join(letter if letter.isprintable() or letter == "\t" else " " for letter in out.getvalue())


def _place(name: str) -> str:
    return f"$.{name}" if name.replace("-", "_").isidentifier() else f"$['{name}']"


def _text(value: bytes | None) -> str | None:
    """Return a message as text; None where it is none, or begins as JSON does."""
    try:
        text = (value or b"").decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    is_plain = all(one.isprintable() or one in "\r\n\t" for one in text)
    return text if is_plain and text.strip() and text.lstrip()[0] not in "{[" else None


def _lines(text: str, delimiter: str) -> Lines:
    try:
        return [
            line for line in csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True) if line
        ]
    except csv.Error:
        return []


def _is_header(line: Sequence[str]) -> bool:
    """Return whether all cells are different names. A quote in a name could not be written in a path."""
    cells = [cell.strip() for cell in line]
    plain = all(cell and "'" not in cell and _of_cell(cell, has_comma=True) is cell for cell in cells)
    return (
        plain and len(set(cells)) == len(cells) and all(times_of([cell])[0] == INVALID_NS for cell in cells)
    )


def _has_comma(rows: Lines) -> bool:
    cells = [cell.strip() for line in rows for cell in line]
    return any(map(_COMMA.fullmatch, cells)) and not any(
        "." in one and _POINT.fullmatch(one) for one in cells
    )


def _record(rows: Sequence[tuple[list[str], Beside]], has_comma: bool) -> list[Value]:
    """Return for each column the first cell of the kind that most of its cells have."""
    found: list[Value] = []
    for cells in zip(*(line for line, _ in rows), strict=True):
        known = [_of_cell(cell.strip(), has_comma) for cell in cells if cell.strip() not in MISSING_WORDS]
        numbers = [one for one in known if not isinstance(one, str)]
        texts = [one for one in known if isinstance(one, str)]
        some: Sequence[Value] = numbers if len(numbers) >= len(texts) else texts
        found.append(next(iter(some), ""))
    return found


def _of_cell(cell: str, has_comma: bool) -> Value:
    """Return a number where a cell is one, otherwise its text."""
    if has_comma and _COMMA.fullmatch(cell):
        return float(cell.replace(",", "."))
    if not _POINT.fullmatch(cell):
        return cell
    return int(cell) if re.fullmatch(r"[+-]?\d{1,20}", cell) else float(cell)
