"""Iterate over the tables of a configuration file, and override their values from the environment.

[kafka]       STREAMGAUGE_KAFKA__TOPIC
[[notify]]    STREAMGAUGE_NOTIFY__NAME__URL, where NAME is the `name` of the table in capitals and _
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
    """Hold one table of a file. `number` counts from 1 in an array, and is None for a plain section."""

    section: str
    number: int | None
    values: dict[str, Any]
    fields: Mapping[str, FieldInfo]

    @property
    def shown(self) -> str:
        """The heading of the table, for people."""
        return heading(self.where)

    @property
    def variables(self) -> str:
        """The beginning of the names of its environment variables."""
        if self.number is None:
            return f"{PREFIX}{self.section}__".upper()
        return f"{PREFIX}{self.section}__{env_name(self.values.get('name', self.number))}__".upper()

    @property
    def where(self) -> Place:
        """The place that pydantic gives it: ("kafka",), ("notify", 0)."""
        return (self.section,) if self.number is None else (self.section, self.number - 1)


def env_name(name: object) -> str:
    """Return the name of a table as environment variables contain it.

    >>> env_name("on-call")
    'ON_CALL'
    """
    return re.sub(r"\W", "_", str(name)).upper()


def fields_of(annotation: Any) -> tuple[Mapping[str, FieldInfo], bool]:
    """Return the keys of a section's class (none for another type), and whether there is an array of them."""
    one_of = [part for part in get_args(annotation) if hasattr(part, "model_fields")]
    return getattr(one_of[0] if one_of else annotation, "model_fields", {}), bool(one_of)


def tables(values: dict[str, Any], model: type[BaseModel]) -> Iterator[Table]:
    """Yield every table that the model knows, and plain sections also where the file lacks them.

    A value that stands in the place of a table is skipped: validation reports it.
    """
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
    """Put the values of the environment in place; return place -> variable."""
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
