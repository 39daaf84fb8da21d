"""Locate an error in a TOML file: the line of a key, or of the table that lacks it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import get_args

from pydantic import BaseModel

_NAME = r"(?:[\w\-]+|\"[^\"]*\"|'[^']*')"
_TABLE = re.compile(rf"^\s*(\[\[?)\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*\]")
_PART = re.compile(_NAME)
Place = tuple[str | int, ...]
"""Where pydantic places a value: ("kafka",), ("kafka", "topic"), ("notify", 0, "url")."""


def table_of(place: Sequence[str | int], model: type[BaseModel]) -> Place:
    """Return the part of a place that is its table.

    That is [section], [section.NAME] where names are free, or [[section]] with its number.
    """
    field = model.model_fields.get(str(place[0])) if place else None
    is_plain = field is None or hasattr(field.annotation, "model_fields")
    return tuple(place[: 1 if is_plain else 2])


def section_in(table: Place, model: type[BaseModel]) -> type[BaseModel] | None:
    """Return the class that describes a table's keys; None where the section is unknown."""
    field = model.model_fields.get(str(table[0])) if table else None
    if field is None:
        return None
    found = [one for one in (field.annotation, *get_args(field.annotation)) if hasattr(one, "model_fields")]
    return found[0] if found else None


def heading(table: Place) -> str:
    """Write a table as the file does; a table of an array gets its number.

    >>> heading(("kafka",)), heading(("channels", "flow")), heading(("notify", 1))
    ('[kafka]', '[channels.flow]', '[[notify]] #2')
    """
    if len(table) == 2 and isinstance(table[1], int):
        return f"[[{table[0]}]] #{table[1] + 1}"
    return f"[{'.'.join(str(part) for part in table)}]"


def line_of(text: str, table: Place, key: str | None) -> int | None:
    """Return the line of a key, or of its table, counted from 1; None where the file has neither."""
    current: Place = ()
    seen: dict[str, int] = {}
    table_line = None
    for number, line in enumerate(text.splitlines(), 1):
        if match := _TABLE.match(line):
            current = tuple(part.strip("\"'") for part in _PART.findall(match.group(2)))
            if match.group(1) == "[[" and len(current) == 1:
                name = str(current[0])
                seen[name] = seen.get(name, -1) + 1
                current = (name, seen[name])
            if current == table:
                table_line = number
        elif current == table and key is not None and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
            return number
    return table_line
