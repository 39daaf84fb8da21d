"""Schemas of Avro: parsed once, and refused where a small message could exhaust memory or stack.

Logical types other than timestamps and decimals are read as what they are stored as.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastavro.schema import SchemaParseException, parse_schema

Schema = Any
"""A schema as fastavro has it: a text, a list or a dictionary."""
_TIMES = (
    *("timestamp-millis", "timestamp-micros"),
    *("local-timestamp-millis", "local-timestamp-micros"),
)
_KEPT = frozenset((*_TIMES, "decimal"))
_NAMED = frozenset(("record", "error", "enum", "fixed"))
_DEEPEST = 64
_MOST_NODES = 100_000


class SchemaError(Exception):
    """Raised for a schema that cannot be read; its text says why."""


def parsed(text: str, referred: Mapping[str, str] | None = None) -> Schema:
    """Return a schema for fastavro.

    Args:
        text: the schema as JSON.
        referred: name -> schema as JSON, of the schemas that it refers to, those needed first at the front.

    Raises:
        SchemaError: it is no schema of Avro, or one that is not read.
    """
    named: dict[str, Any] = {}
    try:
        for one in (referred or {}).values():
            parse_schema(_plain(json.loads(one)), named)
        found = parse_schema(_plain(json.loads(text)), named)
    except SchemaParseException as error:
        raise SchemaError(f"the schema cannot be parsed: {error!s:.200}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SchemaError(f"no schema of Avro: {type(error).__name__} {error!s:.150}") from None
    _Walk(named).check(found)
    return found


def _plain(schema: Any) -> Any:
    """Return a schema without the logical types that are read as what they are stored as."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    is_kept = schema.get("logicalType") in _KEPT
    return {
        key: _plain(one) if key in ("type", "items", "values", "fields") else one
        for key, one in schema.items()
        if key != "logicalType" or is_kept
    }


class _Walk:
    """Goes through a parsed schema once, as a reader of its bytes would."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named, self._inside, self._num_nodes = named, list[str](), 0

    def check(self, schema: Any, depth: int = 0) -> bool:
        """Return whether a value may take no byte. Raises SchemaError for a schema that is not read."""
        self._num_nodes += 1
        if depth > _DEEPEST or self._num_nodes > _MOST_NODES:
            raise SchemaError(f"the schema has more than {_DEEPEST} levels or {_MOST_NODES} parts")
        if isinstance(schema, list):
            return [self.check(one, depth + 1) for one in schema] == []
        kind = schema["type"] if isinstance(schema, dict) else schema
        if isinstance(kind, dict | list):
            return self.check(kind, depth + 1)
        if kind in ("record", "error"):
            return self._record(schema, depth)
        if kind in self._named:
            return self._reference(kind, depth)
        if kind in ("array", "map"):
            may_be_empty = self.check(schema["items" if kind == "array" else "values"], depth + 1)
            if may_be_empty and kind == "array":
                raise SchemaError("an array whose items take no byte: a message may have any number")
            return False
        return bool(kind == "null" or (kind == "fixed" and schema["size"] == 0))

    def _record(self, schema: Any, depth: int) -> bool:
        if schema["name"] in self._inside:
            raise SchemaError(f"record {schema['name']!r} contains itself")
        self._inside.append(schema["name"])
        found = [self.check(one["type"], depth + 1) for one in schema["fields"]]
        self._inside.pop()
        return all(found)

    def _reference(self, name: str, depth: int) -> bool:
        if name in self._inside:
            raise SchemaError(f"record {name!r} contains itself")
        return self.check(self._named[name], depth + 1)
