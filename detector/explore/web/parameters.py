"""Parameters of requests: one declaration each, by which they are read, refused and documented."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from connectors.times import INVALID_NS, times_of

LONGEST_TEXT = 400
_MOST_REPEATED = 64
_LATEST_NS = 9_000_000_000_000_000_000
_LATEST_MS = _LATEST_NS // 1_000_000
_MILLISECONDS = {"type": "string", "pattern": "^[0-8]?[0-9]{1,12}$"}
_TEXT = {"type": "string", "maxLength": LONGEST_TEXT, "pattern": r"^[^\u0000]*$"}


class ParameterError(Exception):
    """A parameter of a request is wrong.

    name     of the parameter
    message  what is wrong with it and what would be right
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


@dataclass(frozen=True, slots=True)
class Parameter:
    """Describe a parameter of the query.

    kind      "time" is read as nanoseconds; "flag" is true or false; "texts" may be repeated;
              "object" is JSON and in bodies alone
    default   its value if it is absent; None: absent is None
    least, most  bounds of a number
    choices   the only texts allowed; empty: any
    is_required  whether a request without it is refused
    values       JSON Schema of its values in a body, where its kind says too little
    """

    name: str
    kind: Literal["time", "number", "text", "texts", "flag", "choice", "object"]
    description: str
    default: Any = None
    least: int = 0
    most: int = 0
    choices: tuple[str, ...] = field(default=())
    is_required: bool = False
    values: Mapping[str, Any] | None = None

    def read(self, given: Sequence[str]) -> Any:
        """Return the value of what was given. Raises ParameterError."""
        if not given and self.is_required:
            raise ParameterError(self.name, "is missing")
        if not given:
            return self.default
        if self.kind == "texts":
            if len(given) > _MOST_REPEATED:
                raise ParameterError(self.name, f"is given more than {_MOST_REPEATED} times")
            return tuple(self._text(one) for one in given)
        if len(given) > 1:
            raise ParameterError(self.name, "is given more than once")
        readers = {"time": self._time, "number": self._number, "flag": self._flag, "choice": self._choice}
        return readers.get(self.kind, self._text)(given[0])

    def read_json(self, given: object) -> Any:
        """Return the value of a field of a body; None counts as absent. Raises ParameterError."""
        if given is None or given == "":
            return self.default
        if self.kind == "time" and isinstance(given, int | float) and not isinstance(given, bool):
            if not 0 <= given <= _LATEST_MS:
                raise ParameterError(self.name, f"is not between 0 and {_LATEST_MS}")
            return self._time(f"{abs(given):.0f}")
        if not isinstance(given, str):
            raise ParameterError(self.name, "is no text")
        return self.read([given])

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the values."""
        schemas: dict[str, dict[str, Any]] = {
            "time": {"anyOf": [_MILLISECONDS, {"type": "string", "format": "date-time"}]},
            "number": {"type": "integer", "minimum": self.least, "maximum": self.most},
            "text": _TEXT,
            "texts": {"type": "array", "maxItems": _MOST_REPEATED, "items": _TEXT},
            "flag": {"type": "boolean"},
            "choice": {"type": "string", "enum": list(self.choices)},
            "object": {"type": "object"},
        }
        schema = schemas[self.kind]
        if self.default is not None and self.kind != "texts":
            schema = schema | {"default": self.default}
        return schema

    def schema_in_body(self) -> dict[str, Any]:
        """Return the JSON Schema of a field of a body; null and an empty text count as absent."""
        absent = [None] if self.kind == "object" else [None, ""]
        kinds = [self.schema() if self.values is None else self.values, {"enum": absent}]
        if self.kind == "time":
            kinds.append({"type": "number", "minimum": 0, "maximum": _LATEST_MS})
        return {"anyOf": kinds, "description": self.description}

    def as_openapi(self) -> dict[str, Any]:
        """Return a parameter of the query as OpenAPI describes it."""
        schema = self.schema()
        about = {"name": self.name, "in": "query", "description": self.description, "schema": schema}
        return about | ({"required": True} if self.is_required else {})

    def _time(self, value: str) -> int:
        plain = value.isascii() and value.isdecimal()
        found = int(value[:20]) * 1_000_000 if plain else int(times_of([value])[0])
        if found != INVALID_NS and 0 <= found <= _LATEST_NS:
            return found
        raise ParameterError(
            self.name, "is no time: write milliseconds since 1970, or a time such as 2026-10-01T12:00:00Z"
        )

    def _number(self, value: str) -> int:
        if not (value.isascii() and value.isdecimal() and len(value) < 10):
            raise ParameterError(self.name, "is no whole number")
        found = int(value)
        if not self.least <= found <= self.most:
            raise ParameterError(self.name, f"is not between {self.least} and {self.most}")
        return found

    def _text(self, value: str) -> str:
        if len(value) > LONGEST_TEXT:
            raise ParameterError(self.name, f"is longer than {LONGEST_TEXT} characters")
        if "\0" in value:
            raise ParameterError(self.name, "holds the character NUL")
        return value

    def _flag(self, value: str) -> bool:
        if value not in ("true", "false"):
            raise ParameterError(self.name, "is neither true nor false")
        return value == "true"

    def _choice(self, value: str) -> str:
        if value not in self.choices:
            raise ParameterError(self.name, f"is none of {', '.join(self.choices)}")
        return value


def read_all(parameters: Sequence[Parameter], given: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the value of every parameter, by name.

    Args:
        parameters: what the endpoint takes.
        given: names and values of the query, in its order.

    Raises:
        ParameterError: a value is wrong, or the endpoint takes no such parameter.
    """
    known: Mapping[str, Parameter] = {one.name: one for one in parameters}
    texts: dict[str, list[str]] = {}
    for name, value in given:
        if name not in known:
            raise ParameterError(
                name[:LONGEST_TEXT], f"is unknown here; there are {', '.join(known) or 'none'}"
            )
        texts.setdefault(name, []).append(value)
    return {name: one.read(texts.get(name, ())) for name, one in known.items()}


def read_json(body: bytes, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of a body by name; those that are absent are None.

    Raises:
        ParameterError: it is no JSON object, or has a name that is none of `names`.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ParameterError("body", f"is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ParameterError("body", "is no JSON object")
    unknown = next((name for name in found if name not in names), None)
    if unknown is not None:
        raise ParameterError(unknown[:400], f"is unknown here; there are {', '.join(names)}")
    return {name: found.get(name) for name in names}
