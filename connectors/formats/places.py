"""Where a message has its series, its time and its values.

$.device.id      a field, from the outermost object of the message
@.device.id      a field, from one element of the array that `records` names
$['odd name'][0] a field whose name is no word; an element of an array
key              the key of the message, as UTF-8
topic            the name of the topic
topic:2          its second level, of a topic of MQTT such as plant/pump-1/readings
header:NAME      the last header of this name, as UTF-8
broker           the broker's timestamp of the message; of a time only
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import getitem
from typing import Any

from connectors.errors import CodecError
from connectors.formats.contract import RefusedError
from connectors.records import RawColumns

_STEP = re.compile(r"\.([\w\-]+)|\[(\d+)\]|\['([^']+)'\]|\[\"([^\"]+)\"\]")
_HEADER = "header:"
_LEVEL = re.compile(r"topic:([1-9]\d?)")
BROKER = "broker"
STAMPS = frozenset({int, float, str})
"""The types of a time in a message."""
_PLACES = "a path such as $.device.id, key, topic, topic:2 or header:NAME"

Lookup = Callable[[Any, Any], Any]
"""(the whole body, the record) -> what stands at a path; raises RefusedError."""
FromMessage = Callable[[RawColumns, int], Any]
"""(messages, row) -> what stands beside the body; raises RefusedError."""


@dataclass(frozen=True, slots=True)
class Path:
    """A path into the body of a message. `is_of_record`: it begins at the record (`@`), not at the body."""

    text: str
    steps: tuple[str | int, ...]
    is_of_record: bool

    def find(self, body: Any, record: Any, may_be_null: bool = False) -> Any:
        """Return what stands at the path. Raises RefusedError where nothing does, or null unless it may."""
        try:
            found = reduce(getitem, self.steps, record if self.is_of_record else body)
        except (KeyError, IndexError, TypeError):
            raise RefusedError("missing_field", f"no field {self.text}") from None
        if found is None and not may_be_null:
            raise RefusedError("missing_field", f"field {self.text} is null")
        return found


def path_of(text: str) -> Path:
    """Return a path. Raises CodecError where the text is none.

    >>> path_of("$.device['serial no'][0]").steps
    ('device', 'serial no', 0)
    """
    steps: list[str | int] = []
    at = 1
    while match := _STEP.match(text, at):
        word, number, single, double = match.groups()
        steps.append(int(number) if number is not None else word or single or double)
        at = match.end()
    if text[:1] not in ("$", "@") or at != len(text):
        raise CodecError(f"{text!r} is no path such as $.device.id or $['odd name'][0]")
    return Path(text, tuple(steps), text[0] == "@")


def field_of(name: str) -> Path:
    """Return the path of a field of the outermost object, whatever letters its name has."""
    return Path(name, (name,), False)


def check_single(paths: Sequence[Path], what: str) -> None:
    """Raise CodecError for a path that is not one name.

    Args:
        paths: The paths of a format whose messages have no objects inside objects.
        what: What a name stands for, such as `a column`.
    """
    for path in paths:
        if len(path.steps) != 1 or isinstance(path.steps[0], int):
            raise CodecError(f"{path.text!r} does not name {what}; expected $.NAME or $['odd name']")


def beside_the_body(place: str) -> FromMessage | None:
    """Return how to find a place that is no path; None of a path. Raises CodecError for anything else."""
    if place == "key":
        return lambda raw, at: _text(raw.key[at], "key")
    if place == "topic":
        return lambda raw, at: raw.topic[at]
    if match := _LEVEL.fullmatch(place):
        level = int(match[1])
        return lambda raw, at: _level(raw.topic[at], level)
    if place.startswith(_HEADER) and len(place) > len(_HEADER):
        name = place.removeprefix(_HEADER)
        return lambda raw, at: _text(_header(raw.headers[at], name), f"header {name}")
    if place[:1] in ("$", "@"):
        return None
    raise CodecError(f"{place!r} is no place in a message; expected {_PLACES}")


def joined(parts: Sequence[str]) -> str:
    """Return the name of a series made of several parts, so that other parts have another name.

    >>> joined(["plant 7", "pump"]), joined(["a/b", "c"])
    ('plant 7/pump', 'a%2Fb/c')
    """
    if len(parts) == 1:
        return parts[0]
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def name_of(found: Any, place: str) -> str:
    """Return a part of the name of a series: a text, or an integer. Raises RefusedError."""
    if type(found) is int:
        return str(found)
    if found == "":
        raise RefusedError("missing_field", f"the name of the series is empty - at {place}")
    if type(found) is str:
        return found
    raise RefusedError("wrong_type", f"expected a text or an integer, got {kind_of(found)} - at {place}")


def kind_of(found: Any) -> str:
    """Return the kind of a value of JSON, for a person."""
    names = {dict: "object", list: "array", str: "str", bool: "bool", int: "int", float: "float"}
    return names.get(type(found), "null" if found is None else type(found).__name__)


def _level(topic: str, level: int) -> str:
    levels = topic.split("/")
    if level > len(levels):
        raise RefusedError("missing_field", f"topic {topic!r} has no level {level}")
    return levels[level - 1]


def _header(headers: Sequence[tuple[str, bytes]], name: str) -> bytes | None:
    return next((value for key, value in reversed(headers) if key == name), None)


def _text(found: bytes | None, what: str) -> str:
    if found is None:
        raise RefusedError("missing_field", f"the message has no {what}")
    try:
        return found.decode()
    except UnicodeDecodeError:
        raise RefusedError("wrong_type", f"the {what} of the message is no UTF-8") from None


class SeriesPlace:
    """Where the name of a series is: one place, or several whose texts are joined."""

    def __init__(self, places: Sequence[str | Path]) -> None:
        """Raises CodecError for a text that is no place."""
        paths = [one if isinstance(one, Path) else _path_or_none(one) for one in places]
        self.paths = tuple(one for one in paths if one is not None)
        self.only = self.paths[0] if len(places) == len(self.paths) == 1 else None
        self._finds = [_finder(place, path) for place, path in zip(places, paths, strict=True)]

    def find(self, raw: RawColumns, at: int, body: Any, record: Any) -> str:
        """Return the name of the series of a record of message `at`. Raises RefusedError."""
        if self.only is not None:
            found = self.only.find(body, record)
            return found if type(found) is str and found else name_of(found, self.only.text)
        return joined([find(raw, at, body, record) for find in self._finds])


def _path_or_none(place: str) -> Path | None:
    return path_of(place) if beside_the_body(place) is None else None


def _finder(place: str | Path, path: Path | None) -> Callable[[RawColumns, int, Any, Any], str]:
    if path is not None:
        return lambda raw, at, body, record: name_of(path.find(body, record), path.text)
    beside = beside_the_body(str(place))
    assert beside is not None, "a place is a path or beside the body"
    return lambda raw, at, body, record: name_of(beside(raw, at), str(place))


class TimePlace:
    """Where the time of a reading is: a path, or the broker's timestamp of the message."""

    def __init__(self, place: str | Path) -> None:
        """Raises CodecError for a text that is neither a path nor `broker`."""
        if place != BROKER and isinstance(place, str) and place[:1] not in ("$", "@"):
            raise CodecError(f"{place!r} is no place of a time; expected a path such as $.ts, or {BROKER}")
        self.path = None if place == BROKER else place if isinstance(place, Path) else path_of(place)

    def find(self, raw: RawColumns, at: int, body: Any, record: Any) -> int | float | str:
        """Return the stamp as it was sent. Raises RefusedError."""
        if self.path is None:
            stamp = int(raw.timestamp_ms[at])
            if stamp < 0:
                raise RefusedError("bad_timestamp", "the message has no timestamp of the broker")
            return stamp
        found = self.path.find(body, record)
        if type(found) in STAMPS:
            return found  # type: ignore[no-any-return]  # one of the three
        if isinstance(found, datetime):
            return found.isoformat()
        what = f"expected a number or a text, got {kind_of(found)} - at {self.path.text}"
        raise RefusedError("wrong_type", what)
