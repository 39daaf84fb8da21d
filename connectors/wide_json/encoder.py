"""Encodes readings as wide JSON messages, the format that `connectors.wide_json.decoder` decodes."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from connectors.records import Message, Readings
from connectors.times import NS_PER_MS, iso_time


@dataclass(frozen=True, slots=True)
class FieldNames:
    """Names of the three fields of a message."""

    series: str = "series"
    timestamp: str = "timestamp"
    values: str = "values"


def encode(
    readings: Readings, channels: tuple[str, ...], topic: str, fields: FieldNames | None = None
) -> list[Message]:
    """Return wide JSON messages of the readings, keyed by series. NaN values are left out.

    It is the inverse of decoding for timestamps of whole microseconds and finite values.

    Args:
        readings: what to encode.
        channels: the names of the columns of `readings.values`.
        topic: the topic of the messages.
        fields: the field names.
    """
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
            fields.timestamp: iso_time(timestamp_ns)
            if timestamp_ns % NS_PER_MS
            else timestamp_ns // NS_PER_MS,
            fields.values: {c: v for c, v in zip(channels, values, strict=True) if v == v},
        }
        messages.append(Message(topic, name.encode(), to_json(body)))
    return messages
