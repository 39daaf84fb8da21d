"""Readings to bytes: wide JSON, as `connectors.wide_json.decoder` reads it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from connectors.records import Message, Readings

_MS = 1_000_000
"""Nanoseconds in a millisecond."""


@dataclass(frozen=True, slots=True)
class FieldNames:
    """What the producers call the three fields of a message."""

    series: str = "series"
    timestamp: str = "timestamp"
    values: str = "values"


def encode(
    readings: Readings, channels: tuple[str, ...], topic: str, fields: FieldNames | None = None
) -> list[Message]:
    """Wide JSON messages of the readings, keyed by series; NaN is left out. The inverse of decoding
    for timestamps of whole microseconds and finite values."""
    fields = fields or FieldNames()
    to_json = msgspec.json.Encoder().encode
    messages = []
    rows = zip(
        readings.series.tolist(), readings.timestamp_ns.tolist(), readings.values.tolist(), strict=True
    )
    for series, timestamp_ns, values in rows:
        name = readings.names[series]
        body = {
            fields.series: name,
            fields.timestamp: iso_time(timestamp_ns) if timestamp_ns % _MS else timestamp_ns // _MS,
            fields.values: {c: v for c, v in zip(channels, values, strict=True) if v == v},
        }
        messages.append(Message(topic, name.encode(), to_json(body)))
    return messages


def infer_channels(values: Iterable[bytes | None], fields: FieldNames | None = None) -> tuple[str, ...]:
    """The numeric channels of these messages, sorted; messages that cannot be read are passed over."""
    fields = fields or FieldNames()
    message = msgspec.defstruct("Message", [("values", dict[str, Any], msgspec.field(name=fields.values))])
    decode = msgspec.json.Decoder(message).decode
    found: set[str] = set()
    for value in values:
        try:
            cells: dict[str, Any] = decode(value or b"").values  # type: ignore[attr-defined]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        found.update(name for name, cell in cells.items() if type(cell) in (int, float))
    return tuple(sorted(found))


def iso_time(timestamp_ns: int) -> str:
    """ISO 8601 in UTC, to the microsecond."""
    return str(np.datetime64(timestamp_ns // 1_000, "us")) + "Z"
