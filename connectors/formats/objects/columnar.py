"""The fast way through objects: all messages of a batch at once, one field after the other.

It works if every message is what most are. Where one is not, it returns None, and the slow way finds out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from operator import itemgetter
from typing import Any

import orjson

from connectors.formats.contract import RefusedError
from connectors.formats.objects.records import Body, json_body
from connectors.formats.places import Path
from connectors.records import RawColumns
from connectors.wide_json.limits import Limits

_ABSENT = (KeyError, IndexError, TypeError)


@dataclass(frozen=True, slots=True)
class Records:
    """The readings of all messages, in order: row of the message, whole body, object of the reading."""

    message: Sequence[int]
    bodies: Sequence[Any]
    records: Sequence[Any]

    def column(self, path: Path, kinds: frozenset[type]) -> list[Any] | None:
        """Return what stands at a path, one a reading; None where it is absent, or of another type."""
        found: Any = self.records if path.is_of_record else self.bodies
        try:
            for step in path.steps:
                found = map(itemgetter(step), found)
            column = list(found)
        except _ABSENT:
            return None
        return column if set(map(type, column)) <= kinds else None


def records_at_once(raw: RawColumns, inside: Path | None, limits: Limits, body_of: Body) -> Records | None:
    """Return the readings of messages that are all objects, or all arrays of objects; None of others.

    Args:
        raw: the messages.
        inside: the array of readings in each message; None: the body is a reading, or an array of them.
        limits: the permitted size of a message.
        body_of: reads the bytes of a message.
    """
    values: Any = raw.value
    try:
        if max(map(len, values), default=0) > limits.max_bytes:
            return None
        bodies = list(map(orjson.loads if body_of is json_body else body_of, values))
    except (TypeError, orjson.JSONDecodeError, RefusedError):
        return None
    rows = range(len(bodies))
    whole = Records(rows, bodies, bodies)
    found = bodies if inside is None else whole.column(inside, frozenset({list, dict}))
    kinds = None if found is None else set(map(type, found))
    if found is None or kinds not in ({dict}, {list}):
        return None
    if kinds == {dict}:
        return Records(rows, bodies, found)
    sizes = list(map(len, found))
    records = list(chain.from_iterable(found))
    if 0 in sizes or set(map(type, records)) != {dict}:
        return None
    message = list(chain.from_iterable(map(repeat, rows, sizes)))
    return Records(message, records if inside is None else [bodies[at] for at in message], records)
