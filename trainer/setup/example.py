"""Shows a message in a comment of the configuration, without the texts that a reader of it need not see.

A message can have a password or the name of a person. So of its texts only those remain that the comment is
for: names of series and channels, and times.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from connectors.formats.line_protocol.lines import Line, lines_of
from connectors.times import INVALID_NS, times_of

_LONGEST = 200
_HIDDEN = "..."


def example_of(value: bytes, names: Iterable[str]) -> str:
    """Return a message for a comment, in one line of at most 200 characters and three dots.

    Args:
        value: The message.
        names: Texts that are shown: names of series and channels.

    >>> example_of(b'{"id": "a", "token": "s3cret", "flow": 1.5}', ["a"])
    '{"id": "a", "token": "...", "flow": 1.5}'
    """
    shown = frozenset(one for name in names for one in (name, *_parts(name)))
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"{len(value):,} bytes, which are no text"
    try:
        text = json.dumps(_masked(json.loads(text), shown), ensure_ascii=False)
    except (ValueError, RecursionError):
        line = next((one for one in lines_of(text) if isinstance(one, Line)), None)
        text = f"{len(value):,} bytes" if line is None else _line(line, shown)
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _parts(name: str) -> list[str]:
    """Return the texts that `connectors.formats.places.joined` may have made a name of."""
    return [part.replace("%2F", "/").replace("%25", "%") for part in name.split("/")]


def _masked(found: Any, shown: frozenset[str]) -> Any:
    if isinstance(found, dict):
        return {name: _masked(inner, shown) for name, inner in found.items()}
    if isinstance(found, list):
        return [_masked(inner, shown) for inner in found]
    return _text(found, shown) if isinstance(found, str) else found


def _line(line: Line, shown: frozenset[str]) -> str:
    """Return a line of line protocol."""
    tags = "".join(f",{_escaped(name)}={_escaped(_text(text, shown))}" for name, text in line.tags.items())
    fields = ",".join(f"{_escaped(name)}={_field(one)}" for name, one in line.fields.items())
    return f"{_escaped(line.measurement)}{tags} {fields} {'' if line.stamp is None else line.stamp}".strip()


def _field(found: float | bool | str) -> str:
    if isinstance(found, str):
        return f'"{_HIDDEN}"'
    return str(found).lower()


def _text(text: str, shown: frozenset[str]) -> str:
    is_shown = text in shown or times_of([text])[0] != INVALID_NS
    return text if is_shown else _HIDDEN


def _escaped(name: str) -> str:
    return re.sub(r"([,= ])", r"\\\1", name)
