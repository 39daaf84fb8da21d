"""Open series in wide JSON with paths, flat objects and arrays: messages alone tell their channels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.formats.channels import Scale, Selection
from connectors.formats.codec import codec_of, opening_of
from connectors.formats.form import Form
from connectors.records import Decoded, Raw, RawColumns
from connectors.times import Clock
from connectors.wide_json.limits import Limits
from connectors.wide_json.open_channels import OpenCodec, OpenNames

NOW_S = 1_700_000_000
SECONDS = Clock("s")
FLAT = Form(series=("$.device.id",), time="$.ts", values="$", clock=SECONDS)
NESTED = Form(series=("key",), time="broker", values="$.data['the values']")
ARRAYS = Form(series=("@.id",), time="@.ts", values="@", records="$.rows", clock=SECONDS)
FORMS = {"flat": FLAT, "nested": NESTED, "arrays": ARRAYS}
NAMES = ("flow", "heat", "speed", "mood", "")
CELLS = st.one_of(
    st.floats(-1e6, 1e6).map(lambda one: round(one, 3)),
    st.integers(-5, 5),
    st.booleans(),
    st.sampled_from([None, "on", [1], {"deep": 1}, "3.5", float("nan")]),
)
READING = st.tuples(
    st.sampled_from(["pump-1", "pump-2", "fan-1", "press-1"]),
    st.dictionaries(st.sampled_from(NAMES), CELLS, max_size=4),
)
BROKEN = st.sampled_from([b"{oops", b"[]", b"7", b'{"ts": 3}', b'{"rows": [3]}', b'{"device": 3}', b""])
Rows = list[tuple[str, int, dict[str, float]]]


def message(kind: str, at: int, readings: Sequence[tuple[str, dict[str, Any]]]) -> Raw:
    """A message of a form; those of one reading have the first."""
    name, values = readings[0]
    if kind == "flat":
        body: Any = {"ts": NOW_S + at, "device": {"id": name}, **values}
    elif kind == "nested":
        body = {"data": {"the values": values}}
    else:
        body = {"rows": [{"id": name, "ts": NOW_S + at, **own} for name, own in readings]}
    return Raw("t", at % 2, at, 1_000 * (NOW_S + at), name.encode(), json.dumps(body).encode())


def messages(kind: str, found: list[Any]) -> list[Raw]:
    return [
        Raw("t", at % 2, at, 1_000 * NOW_S, b"fan-1", one)
        if isinstance(one, bytes)
        else message(kind, at, one)
        for at, one in enumerate(found)
    ]


def opened(form: Form, has_inner: bool = True, most: int = 100) -> OpenCodec:
    inner = codec_of(("flow", "heat"), form) if has_inner else None
    return OpenCodec(inner, opening_of(form, Limits()), is_open, OpenNames(most))


def is_open(name: str) -> bool:
    return not name.startswith("pump-")


def rows_of(found: Decoded, channels: tuple[str, ...]) -> Rows:
    """Readings as values by the name of the channel, in order of arrival."""
    readings = found.readings
    return [
        (
            readings.names[code],
            int(readings.offset[at]),
            {
                name: float(readings.values[at, column])
                for column, name in enumerate(channels[: readings.values.shape[1]])
                if not np.isnan(readings.values[at, column])
            },
        )
        for at, code in enumerate(readings.series.tolist())
    ]


def parts_of(found: Decoded) -> list[tuple[str, int, bytes, str]]:
    """What rejects say, without their words, which name a channel that was known then."""
    return [(one.reason, one.offset, one.value, one.series) for one in found.rejects]


MANY = st.lists(st.one_of(st.lists(READING, min_size=1, max_size=3), BROKEN), max_size=20)


@pytest.mark.parametrize("kind", FORMS)
@settings(max_examples=60)
@given(MANY, st.lists(st.integers(0, 20), max_size=5))
def test_no_cut_changes_a_reading_or_a_reject(kind: str, found: list[Any], cuts: list[int]) -> None:
    raw = messages(kind, found)
    whole, parts = opened(FORMS[kind]), opened(FORMS[kind])
    at_once = whole.decode_columns(RawColumns.of(raw))
    rows: Rows = []
    rejects: list[Any] = []
    strangers: dict[str, int] = {}
    for start, stop in pairwise([0, *sorted(min(one, len(raw)) for one in cuts), len(raw)]):
        part = parts.decode_columns(RawColumns.of(raw[start:stop]))
        rows += rows_of(part, parts.channels)
        rejects += parts_of(part)
        for name, num in part.strangers.items():
            strangers[name] = strangers.get(name, 0) + num
    assert rows == rows_of(at_once, whole.channels)
    assert rejects == parts_of(at_once)
    assert strangers == at_once.strangers
    values = {one.offset: one.value for one in raw}
    assert all(value == values[offset] for _, offset, value, _ in rejects)


@pytest.mark.parametrize("kind", FORMS)
@settings(max_examples=60)
@given(MANY)
def test_series_of_the_inner_codec_are_as_without_open_ones(kind: str, found: list[Any]) -> None:
    raw = messages(kind, found)
    codec, inner = opened(FORMS[kind]), codec_of(("flow", "heat"), FORMS[kind])
    with_open = rows_of(codec.decode_columns(RawColumns.of(raw)), codec.channels)
    alone = rows_of(inner.decode_columns(RawColumns.of(raw)), ("flow", "heat"))
    assert [one for one in with_open if not is_open(one[0])] == [one for one in alone if not is_open(one[0])]


@pytest.mark.parametrize("kind", FORMS)
@settings(max_examples=60)
@given(st.lists(READING, min_size=1, max_size=12))
def test_an_open_series_has_every_number_and_nothing_else(
    kind: str, found: list[tuple[str, dict[str, Any]]]
) -> None:
    codec = opened(FORMS[kind], has_inner=False)
    raw = [message(kind, at, [one]) for at, one in enumerate(found)]
    decoded = codec.decode_columns(RawColumns.of(raw))
    expected = [
        (name, at, {key: float(cell) for key, cell in values.items() if key and is_number(cell)})
        for at, (name, values) in enumerate(found)
    ]
    gone = {one.offset for one in decoded.rejects}
    assert rows_of(decoded, codec.channels) == [one for one in expected if one[1] not in gone]
    assert all(one.reason == "no_known_channel" for one in decoded.rejects)
    assert not any(values for _, at, values in expected if at in gone)


def is_number(cell: Any) -> bool:
    return isinstance(cell, int | float) and cell == cell


def test_names_are_chosen_renamed_and_scaled_and_the_time_is_no_channel() -> None:
    selection = Selection(
        exclude=("raw_*",), rename={"t": "temperature"}, scales={"temperature": Scale(2, 1)}
    )
    form = Form(series=("$.id",), time="$.ts", values="$", clock=SECONDS, selection=selection)
    codec = opened(form, has_inner=False)
    body = {"id": "fan-1", "ts": NOW_S, "t": 20, "raw_t": 7, "firmware": "2.1"}
    raw = Raw("t", 0, 0, 0, None, json.dumps(body).encode())
    found = codec.decode_columns(RawColumns.of([raw]))
    assert rows_of(found, codec.channels) == [("fan-1", 0, {"temperature": 41.0})]
    assert codec.channels == ("temperature",)
    assert found.readings.timestamp_ns.tolist() == [NOW_S * 10**9]


def test_open_series_beside_others_in_one_message_are_counted_and_not_decoded() -> None:
    codec = opened(ARRAYS)
    mixed = message("arrays", 0, [("pump-1", {"flow": 1}), ("fan-1", {"speed": 2, "flow": 3})])
    alone = message("arrays", 1, [("fan-1", {"speed": 4}), ("press-1", {"force": 5})])
    found = codec.decode_columns(RawColumns.of([mixed, alone]))
    assert rows_of(found, codec.channels) == [
        ("pump-1", 0, {"flow": 1.0}),
        ("fan-1", 1, {"speed": 4.0}),
        ("press-1", 1, {"force": 5.0}),
    ]
    assert found.strangers == {"fan-1": 1}
    assert found.rejects == ()


def test_there_are_at_most_so_many_channels() -> None:
    codec = opened(FLAT, has_inner=False, most=2)
    raw = [
        message("flat", 0, [("fan-1", {"a": 1, "b": 2, "c": 3})]),
        message("flat", 1, [("fan-2", {"c": 4})]),
    ]
    found = codec.decode_columns(RawColumns.of(raw))
    assert rows_of(found, codec.channels) == [("fan-1", 0, {"a": 1.0, "b": 2.0})]
    assert [(one.reason, one.series) for one in found.rejects] == [("no_known_channel", "fan-2")]
