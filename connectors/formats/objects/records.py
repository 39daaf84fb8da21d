"""Objects inside messages: the body of each message, and the readings in it, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from connectors.formats.contract import RefusedError, Rows, usable
from connectors.formats.places import Path, kind_of
from connectors.records import RawColumns
from connectors.wide_json.cells import without_nan
from connectors.wide_json.limits import Limits, Refusal

Body = Callable[[bytes], Any]
"""Turns the bytes of a message into objects, arrays, texts and numbers; raises RefusedError."""


def json_body(value: bytes) -> Any:
    """Return the JSON of a message; NaN and infinities are null. Raises RefusedError."""
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        if b"NaN" not in value and b"Infinity" not in value:
            raise _refused(error) from None
    try:
        return orjson.loads(without_nan(value))
    except orjson.JSONDecodeError as error:
        raise _refused(error) from None


def records_of(
    raw: RawColumns, rows: Rows, body_of: Body, inside: Path | None, limits: Limits
) -> Iterator[tuple[int, int, Any, Any]]:
    """Yield (row of the message, number in its array, body, record) of each reading.

    A message without readings is refused. The number counts from 1, and is 0 where there is no array.

    Args:
        raw: the messages.
        rows: takes the refusals.
        body_of: reads the bytes of a message.
        inside: the array of readings; None: the body is a reading, or an array of them.
        limits: the permitted size of a message.
    """
    for at, value in usable(raw, limits, rows.refusals, "not_json" if body_of is json_body else "malformed"):
        try:
            body = body_of(value)
            found = body if inside is None else inside.find(body, body)
        except RefusedError as error:
            rows.refuse(at, error.refusal)
            continue
        if type(found) is dict:
            yield at, 0, body, found
        elif type(found) is list and found:
            for number, record in enumerate(found, 1):
                yield at, number, body if inside else record, record
        else:
            rows.refuse(at, _no_readings(found, inside))


def numbered(refusal: Refusal, number: int, series: str = "") -> Refusal:
    """Return a refusal that also names the reading of an array, and the series of the reading.

    `Rows` removes the series where the array has readings of others too.
    """
    detail = f"reading {number}: {refusal.detail}" if number else refusal.detail
    return Refusal(refusal.reason, detail, series)


def _no_readings(found: Any, inside: Path | None) -> Refusal:
    place = f" - at {inside.text}" if inside else ""
    if type(found) is list:
        return Refusal("missing_field", f"an array without readings{place}")
    return Refusal("wrong_type", f"expected an object or an array of objects, got {kind_of(found)}{place}")


def _refused(error: orjson.JSONDecodeError) -> RefusedError:
    reason = "not_finite" if "infinity" in str(error) else "not_json"
    return RefusedError(reason, str(error))
