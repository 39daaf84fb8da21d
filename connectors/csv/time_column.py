"""Finds the column of times in the header and the first rows of a CSV file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from connectors.csv.cells import unit_of_cell
from connectors.errors import CsvError
from connectors.names import ColumnNames

TIMESTAMP = "timestamp"
_NAME = re.compile(
    r"(.*[_\W])?(time ?stamp|date ?time|time|date|ts|zeit|datum|zeitstempel|epoch|when)([_\W].*)?",
    re.IGNORECASE,
)
_STAMP = re.compile(
    r"\s*(\d{4}[-/]\d\d[-/]\d\d|\d\d?[./]\d\d?[./]\d{4})([T ]\d\d:?\d\d.*)?\s*|\s*\d{8}T\d{4,6}.*",
    re.IGNORECASE,
)


def time_column(
    names: Sequence[str], first: Mapping[str, Sequence[str]], wanted: ColumnNames, file: Path
) -> str:
    """Return the name of the column of times.

    It is `timestamp`, else the one that is asked for, else `timestamp` in other letters, else the only one of
    dates and times. Among several, and among epoch numbers, the name decides.

    Args:
        names: the header.
        first: some cells of each column that are not missing.
        wanted: what a table calls its times.
        file: named in errors.

    Raises:
        CsvError: no column is it, or several may be.
    """
    if TIMESTAMP in names:
        return TIMESTAMP
    if wanted.time is not None and wanted.time in names:
        return wanted.time
    texts = [one for one in names if _mostly(_STAMP.fullmatch, first[one])]
    numbers = [one for one in names if _mostly(unit_of_cell, first[one])]
    named = [one for one in names if one.strip().lower() == TIMESTAMP]
    sensible = [one for one in texts or numbers if _NAME.fullmatch(one)]
    for found in (named, texts, sensible):
        if len(found) == 1:
            return found[0]
    remedy = (
        "rename the column of times to `timestamp`, or name it as [data] time in the training configuration,"
        " or with `init --time`"
    )
    several = named or sensible or texts
    if several:
        raise CsvError(f"{file}: several columns may be the times: {', '.join(map(repr, several))}; {remedy}")
    shown = ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")
    raise CsvError(
        f"{file}: no column of times: none is ISO 8601, such as 2026-12-31 23:59:00, or epoch numbers with a"
        f" name such as `time`; found {shown}; {remedy}"
    )


def _mostly(is_time: Callable[[str], object], cells: Sequence[str]) -> bool:
    """Return whether at least half of some cells are times. One that is none is named when it is read."""
    return bool(cells) and 2 * sum(bool(is_time(cell)) for cell in cells) >= len(cells)
