"""Explain what is wrong with a configuration: place, key, found, expected, remedy."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel

from detector.config.error_location import Place, heading, line_of, section_in, table_of
from detector.config.secrets import is_secret
from detector.config.types import shown

_NO_TABLE = {"model_type", "dict_type"}
_NO_ARRAY = {"tuple_type", "list_type"}


@dataclass(frozen=True, slots=True)
class Checked:
    """A configuration that is being checked, as far as its errors need it.

    label   the file, or what stands in for it
    text    the content of the file
    model   the class that describes it
    flags   (section, key) -> command-line flag that gave the value
    """

    label: str
    text: str
    model: type[BaseModel]
    flags: Mapping[Place, str] = field(default_factory=dict)
    variables: Mapping[Place, str] = field(default_factory=dict)
    others: Collection[str] = ()

    def overridden(self, variables: Mapping[Place, str], others: Collection[str]) -> Checked:
        """Return this with the environment variables that gave values, and the sections that are left out."""
        return replace(self, variables=variables, others=others)

    def problem(self, error: Any) -> str:
        """Return one line on one of pydantic's errors, without the value of a secret."""
        table = table_of(error["loc"], self.model)
        rest = [str(part) for part in error["loc"][len(table) :]]
        key = tuple(error["loc"][: len(table) + 1])
        place = self.flags.get(key) or self.variables.get(key) or self._line(table, rest)
        found = self._explain(error, table, rest)
        return ": ".join(part for part in (place, self._name(table, rest), found) if part)

    def _line(self, table: Place, rest: list[str]) -> str:
        tables = (table, (*table, 0))  # the second where the file has [[section]] and [section] is expected
        lines = (line_of(self.text, one, rest[0] if rest else None) for one in tables)
        line = next((one for one in lines if one), None)
        return f"{self.label}:{line}" if line else self.label

    @staticmethod
    def _name(table: Place, rest: list[str]) -> str:
        return f"{heading(table)} {'.'.join(rest)}".strip() if table else ""

    def _explain(self, error: Any, table: Place, rest: list[str]) -> str:
        kind, value = error["type"], error["input"]
        if kind == "missing":
            return f"missing; this {'value has no default' if rest else 'section is required'}"
        if kind == "extra_forbidden":
            return self._unknown(table, rest)
        if not rest and kind in _NO_ARRAY and isinstance(value, dict):
            return f"write [[{table[0]}]] with two brackets; there may be several of these tables"
        if not rest and kind in _NO_TABLE:
            return _how_to_write(table, value)
        message = str(error["msg"]).removeprefix("Value error, ")
        if isinstance(value, dict):
            return message
        hides = bool(rest) and is_secret(section_in(table, self.model), rest[0])
        return f"{message}, found {'***' if hides else shown(value)}"

    def _unknown(self, table: Place, rest: list[str]) -> str:
        sections = [*self.model.model_fields, *self.others]
        known = list(getattr(section_in(table, self.model), "model_fields", {})) if rest else sections
        name = rest[-1] if rest else str(table[-1])
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean `{nearest[0]}`?" if nearest else f"known: {', '.join(known)}"
        return f"unknown {'key' if rest else 'section'} `{name}`; {hint}"


def _how_to_write(table: Place, value: object) -> str:
    """Return the remedy for a value where a table is expected."""
    if len(table) == 2 and isinstance(table[1], int):
        return f"write [[{table[0]}]] above its keys; each entry is a table"
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return f"write {heading(table)} with one bracket; there is only one such table"
    return f"write {heading(table)} above its keys; it is a table"
