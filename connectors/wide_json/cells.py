"""The values of wide JSON messages: their types for the decoder, and their way into a table of cells.

The JSON values NaN, Infinity and -Infinity are no JSON, but many producers write them. They are read as
null: the value is missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

_NOT_FINITE = re.compile(rb'("(?:[^"\\]|\\.)*")|(?<=[\s:,\[])(?:NaN|-?Infinity)(?=[\s,\]}])', re.DOTALL)


class Cells(Protocol):
    """How the values of a message are decoded: the types, and the cells in the order of the channels."""

    strict: Any
    """The type of values without any unknown channel."""
    lenient: Any
    """The type of values with unknown channels of any kind."""

    def known(self, values: Any) -> Any:
        """Return values of the lenient type as those of the strict type; raise msgspec.ValidationError."""

    def row(self, values: Any) -> Sequence[float | bool | None]:
        """Return the cells of one message; None where missing."""


def cells_of(channels: tuple[str, ...]) -> Cells:
    """Return the fastest way to decode values of these channels."""
    return NamedCells(channels) if any(map(_needs_escaping, channels)) else FieldCells(channels)


class FieldCells:
    """Decodes values as a structure with a field for each channel. No name may need escapes in JSON."""

    def __init__(self, channels: tuple[str, ...]) -> None:
        self.strict: Any = _structure(channels, strict=True)
        self.lenient: Any = _structure(channels, strict=False)

    def known(self, values: Any) -> Any:
        """Return the values as they are: the structure has dropped unknown channels."""
        return values

    def row(self, values: Any) -> Sequence[float | bool | None]:
        """Return the fields in their order."""
        return msgspec.structs.astuple(values)


class NamedCells:
    """Decodes values as a dictionary, for names that need escapes in JSON (`a"b`). It is slower."""

    def __init__(self, channels: tuple[str, ...]) -> None:
        self._channels = channels
        self._cell = msgspec.json.Decoder(float | bool | None)
        self.strict: Any = dict[Literal[channels], float | bool | None]  # type: ignore[valid-type]  # made at run time
        self.lenient: Any = dict[str, msgspec.Raw]

    def known(self, values: Any) -> Any:
        """Return the cells of the channels; raise msgspec.ValidationError that names the channel."""
        return {name: self._decoded(name, values[name]) for name in self._channels if name in values}

    def row(self, values: Any) -> Sequence[float | bool | None]:
        """Return the values in the order of the channels."""
        return tuple(map(values.get, self._channels))

    def _decoded(self, name: str, raw: msgspec.Raw) -> float | bool | None:
        try:
            value: float | bool | None = self._cell.decode(raw)
        except msgspec.ValidationError as error:
            raise msgspec.ValidationError(f"{error} - at channel {name!r}") from error
        return value


def table_of(cells: Cells, values: Sequence[Any], num_channels: int) -> NDArray[np.float64]:
    """Return the cells of messages as float64 [messages, channels], NaN for absent and null."""
    flat = list(chain.from_iterable(map(cells.row, values)))
    return np.array(flat, np.float64).reshape(len(values), num_channels)


def without_nan(value: bytes) -> bytes:
    """Return a message with null for each NaN and infinity outside of its texts.

    >>> without_nan(b'{"NaN": NaN, "b": [-Infinity, 1]}')
    b'{"NaN": null, "b": [null, 1]}'
    """
    if b"NaN" not in value and b"Infinity" not in value:
        return value
    return _NOT_FINITE.sub(lambda found: found[1] or b"null", value)


def _structure(channels: tuple[str, ...], strict: bool) -> type[msgspec.Struct]:
    """Return a structure with one field a channel; if `strict`, any other name is an error."""
    fields = [
        (f"c{number}", float | bool | None, msgspec.field(name=channel, default=None))
        for number, channel in enumerate(channels)
    ]
    return msgspec.defstruct("Values", fields, gc=False, forbid_unknown_fields=strict)


def _needs_escaping(name: str) -> bool:
    """Whether msgspec refuses the name for a field of a structure."""
    return any(letter in '"\\' or letter < " " for letter in name)
