"""Recognises the form of messages from their bytes, and decodes them as the daemon would."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from connectors.formats.codec import channels_in
from connectors.records import Decoded, Raw, RawColumns
from detector.config.input.registry import SchemaRegistrySection
from detector.config.input.section import InputSection, form_of, input_codec
from trainer.errors import TrainerError
from trainer.setup.proposal import Beside, Keys, UnclearError, keys_for

_USUAL = {"series": "$.series", "time": "$.timestamp", "values": "$.values"}
_LINE_PROTOCOL = re.compile(
    r"[^\s,{\[\"]+(,[^\s,=]+=[^\s,]+)* [^\s,=]+=(\"[^\"]*\"|\S+?)(,[^\s,=]+=(\"[^\"]*\"|[^\s,]+))*( -?\d+)?"
)
_DELIMITED = re.compile(r"[^;,\t{\[]+([;,\t][^;,\t]*)+")
_SCHEMA_ID_BYTES = 5
_NOT_READ = (json.JSONDecodeError, UnicodeDecodeError, RecursionError, ValueError)
_Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """Hold what messages are: the keys of [input] that read them, or forms that are not read, with counts."""

    keys: Keys | None
    forms: Counter[str]


def seen(
    values: Iterable[bytes | None],
    beside: Iterable[Beside] = repeat(Beside()),
    propose: Callable[[bytes, Beside], Keys | None] = keys_for,
) -> Seen:
    """Return the most common form of some messages.

    Args:
        values: Their bytes.
        beside: What comes with each of them.
        propose: Returns the keys of [input] for one of them, as `keys_for` does.

    >>> seen([b'{"series": "a", "timestamp": 1767225600000, "values": {"x": 1}}']).keys
    {}
    >>> seen([b"2026-01-01,pump-1,3.5"]).forms.most_common(1)
    [('CSV', 1)]
    """
    forms: Counter[str] = Counter()
    found: Counter[tuple[tuple[str, str | tuple[str, ...]], ...]] = Counter()
    for value, other in zip(values, beside, strict=False):  # without `beside` it has no end
        try:
            keys = propose(value, other) if value else None
        except UnclearError as error:
            forms[str(error)] += 1
            continue
        if keys is None:
            forms[_form(value, _json(value))] += 1
        else:
            found[tuple(keys.items())] += 1
    if found and sum(found.values()) >= sum(forms.values()):
        keys = dict(found.most_common(1)[0][0])
        return Seen({key: one for key, one in keys.items() if _USUAL.get(key) != one}, forms)
    return Seen(None, forms)


def decoded(
    raws: Sequence[Raw], section: InputSection, registry: SchemaRegistrySection | None = None
) -> tuple[tuple[str, ...], Decoded]:
    """Return the channels of messages, and the messages decoded as the daemon does. Raises TrainerError."""
    raw = RawColumns.of(raws)
    channels = channels_in(raw, form_of(section, registry))
    if not channels:
        raise TrainerError("no message has a number; [input] would read no channel")
    return channels, input_codec(channels, section, registry).decode_columns(raw)


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


def _form(value: bytes | None, body: Any) -> str:
    if not value:
        return "a message without a value (tombstone)"
    if isinstance(body, dict):
        return "JSON without numbers"
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
