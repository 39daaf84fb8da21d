"""Recognises the form of messages from their bytes. Wide JSON is the only one that the daemon reads."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from connectors.records import Raw
from connectors.times import EARLIEST_NS, times_of
from connectors.wide_json.decoder import Decoded, JsonWideCodec
from connectors.wide_json.encoder import FieldNames, infer_channels

_LINE_PROTOCOL = re.compile(
    r"[^\s,{\[\"]+(,[^\s,=]+=[^\s,]+)* [^\s,=]+=(\"[^\"]*\"|\S+?)(,[^\s,=]+=(\"[^\"]*\"|[^\s,]+))*( -?\d+)?"
)
_DELIMITED = re.compile(r"[^;,\t{\[]+([;,\t][^;,\t]*)+")
_SCHEMA_ID_BYTES = 5
_NOT_READ = (json.JSONDecodeError, UnicodeDecodeError, RecursionError, ValueError)
_Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """Hold what messages are: wide JSON with these fields, or forms that are not read, with their counts."""

    fields: FieldNames | None
    forms: Counter[str]


def seen(values: Iterable[bytes | None]) -> Seen:
    """Return the most common form of some messages.

    >>> seen([b'{"series": "a", "timestamp": 1767225600000, "values": {"x": 1}}']).fields
    FieldNames(series='series', timestamp='timestamp', values='values')
    >>> seen([b"cpu,host=a idle=3.5 1767225600000000000"]).forms.most_common(1)
    [('line protocol (InfluxDB)', 1)]
    """
    forms: Counter[str] = Counter()
    fields: Counter[FieldNames] = Counter()
    for value in values:
        body = _json(value)
        names = _fields(body) if isinstance(body, dict) else None
        if names is None:
            forms[_form(value, body)] += 1
        else:
            fields[names] += 1
    if fields and sum(fields.values()) >= sum(forms.values()):
        return Seen(fields.most_common(1)[0][0], forms)
    return Seen(None, forms)


def decoded(values: Sequence[bytes | None], fields: FieldNames) -> tuple[tuple[str, ...], Decoded]:
    """Return the channels of messages, and the messages decoded as the daemon does. Needs one channel."""
    channels = infer_channels(values, fields)
    raws = [Raw("", 0, at, -1, None, value) for at, value in enumerate(values)]
    return channels, JsonWideCodec(channels, fields).decode(raws)


def interval_seconds(readings: Decoded) -> float | None:
    """Return the median step of the series of some readings; None without two times of a series."""
    times, series = readings.readings.timestamp_ns, readings.readings.series
    order = np.lexsort((times, series))
    steps = np.diff(times[order])[np.diff(series[order]) == 0]
    steps = steps[steps > 0]
    return float(np.median(steps)) / 1e9 if len(steps) else None


def _json(value: bytes | None) -> Any:
    try:
        return json.loads(value or b"")
    except _NOT_READ:
        return None


def _fields(body: _Object) -> FieldNames | None:
    """Return the fields of a message that names a series and a time beside an object of values."""
    values = [key for key, one in body.items() if isinstance(one, dict) and _has_number(one)]
    times = [key for key, one in body.items() if _is_time(one)]
    texts = [key for key, one in body.items() if isinstance(one, str) and one and key not in times]
    found = (_one_of(texts, "series"), _one_of(times, "timestamp"), _one_of(values, "values"))
    series, timestamp, inside = found
    if series is None or timestamp is None or inside is None:
        return None
    return FieldNames(series, timestamp, inside)


def _one_of(names: Sequence[str], usual: str) -> str | None:
    """Return the usual name if it is there, else the only or the first one."""
    return usual if usual in names else next(iter(names), None)


def _has_number(body: _Object) -> bool:
    return any(isinstance(one, int | float) for one in body.values())


def _is_time(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    return bool(times_of([value])[0] >= EARLIEST_NS)


def _form(value: bytes | None, body: Any) -> str:
    if not value:
        return "a message without a value (tombstone)"
    if isinstance(body, dict):
        return _form_of_object(body)
    if isinstance(body, list):
        inside = "objects" if body and isinstance(body[0], dict) else "values"
        return f"a JSON array of {inside}"
    if body is not None:
        return f"a single JSON value ({type(body).__name__})"
    if value.startswith(b"Obj\x01"):
        return "an Avro container file"
    if value[0] == 0 and len(value) > _SCHEMA_ID_BYTES:
        number = int.from_bytes(value[1:_SCHEMA_ID_BYTES], "big")
        return f"Avro or Protobuf with the magic byte of a schema registry, schema {number}"
    return _form_of_text(value)


def _form_of_object(body: _Object) -> str:
    if any(isinstance(one, dict) and _has_number(one) for one in body.values()):
        return "JSON with an object of values, but without a text that names the series or a time in epoch ms"
    if _has_number(body):
        return "flat JSON: the values stand beside series and time, not in an object of their own"
    return "JSON without numbers"


def _form_of_text(value: bytes) -> str:
    try:
        text = value.decode().strip()
    except UnicodeDecodeError:
        return "binary, of an unknown form"
    if not text.isprintable() and "\n" not in text and "\t" not in text:
        return "binary, of an unknown form"
    line = text.splitlines()[0] if text else ""
    if _LINE_PROTOCOL.fullmatch(line):
        return "line protocol (InfluxDB)"
    return "CSV" if _DELIMITED.fullmatch(line) else "text, of an unknown form"
