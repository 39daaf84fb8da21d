"""Where the descriptions of two versions differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_LONG = 60
_LEFT_OUT = ("training.train_losses", "training.validation_losses", "training.fingerprint")


@dataclass(frozen=True, slots=True)
class Difference:
    """Hold one value in which two descriptions differ: its path, and both values as text."""

    path: str
    one: str
    other: str


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference]:
    """Return where two descriptions differ, in their order; losses and fingerprints of data are left out.

    Long lists are only said to differ.

    >>> differences({"stride": 1, "name": "a"}, {"stride": 2, "name": "a"})
    [Difference(path='stride', one='1', other='2')]
    """
    here, there = dict(_leaves(one)), dict(_leaves(other))
    names = [name for name in dict.fromkeys((*here, *there)) if name not in _LEFT_OUT]
    return [
        Difference(name, _text(here.get(name)), _text(there.get(name)))
        for name in names
        if here.get(name) != there.get(name)
    ]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of everything that is no table; lists of tables go by name or place."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _leaves(one, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        for at, one in enumerate(value):
            yield from _leaves(one, f"{path}[{one.get('name', at)}]")
    else:
        yield path, value


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONG else "long"
