"""The tables of a configuration file: plain sections and arrays of them, how people and variables call them.

[kafka]       STREAMGAUGE_KAFKA__TOPIC
[[notify]]    STREAMGAUGE_NOTIFY__NAME__URL, where NAME is the table's `name`, capitals and _ alone
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from detector.config.error_location import Place, heading

PREFIX = "STREAMGAUGE_"


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a file. `number` counts from 1 in an array, and is None for a plain section."""

    section: str
    number: int | None
    values: dict[str, Any]
    fields: Mapping[str, FieldInfo]

    @property
    def shown(self) -> str:
        """How people call it."""
        return heading(self.where)

    @property
    def variables(self) -> str:
        """How the names of its environment variables begin."""
        if self.number is None:
            return f"{PREFIX}{self.section}__".upper()
        return f"{PREFIX}{self.section}__{env_name(self.values.get('name', self.number))}__".upper()

    @property
    def where(self) -> Place:
        """Where pydantic says that it is: ("kafka",), ("notify", 0)."""
        return (self.section,) if self.number is None else (self.section, self.number - 1)


def env_name(name: object) -> str:
    """A table's name as an environment variable has it."""
    return re.sub(r"\W", "_", str(name)).upper()


def fields_of(annotation: Any) -> tuple[Mapping[str, FieldInfo], bool]:
    """The keys of a section's class, and whether it is an array of them; no keys of what is no section."""
    one_of = [part for part in get_args(annotation) if hasattr(part, "model_fields")]
    return getattr(one_of[0] if one_of else annotation, "model_fields", {}), bool(one_of)


def tables(values: dict[str, Any], model: type[BaseModel]) -> Iterator[Table]:
    """Every table that the model knows; plain sections also where the file has none. What stands in the
    place of a table and is none is passed over: it is told as an error of its own."""
    for name, field in model.model_fields.items():
        fields, is_array = fields_of(field.annotation)
        found = values.get(name, [] if is_array else {})
        if is_array and isinstance(found, list):
            for number, one in enumerate(found, 1):
                if isinstance(one, dict):
                    yield Table(name, number, one, fields)
        elif not is_array and isinstance(found, dict):
            yield Table(name, None, found, fields)


def override(values: dict[str, Any], model: type[BaseModel], environ: Mapping[str, str]) -> dict[Place, str]:
    """Put the environment's values in place; returns which variable is where."""
    overridden: dict[Place, str] = {}
    for table in tables(values, model):
        for key, field in table.fields.items():
            variable = table.variables + key.upper()
            if variable in environ:
                text = environ[variable]
                table.values[key] = text.split(",") if "tuple" in str(field.annotation) else text
                overridden[*table.where, key] = variable
        if table.number is None and table.values:
            values[table.section] = table.values
    return overridden
