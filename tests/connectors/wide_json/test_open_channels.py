"""Open series have whatever channels they send; other series are decoded as if there were no open ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.records import Codec, Decoded, Raw
from connectors.wide_json.decoder import FieldNames, JsonWideCodec
from connectors.wide_json.limits import Limits
from connectors.wide_json.open_channels import OpenCodec, OpenNames

NOW_MS = 1_700_000_000_000
Row = tuple[str, int, dict[str, float]]
CELLS = st.one_of(
    st.floats(-1e6, 1e6).map(lambda one: round(one, 3)),
    st.integers(-5, 5),
    st.booleans(),
    st.sampled_from([None, "on", [1], {"deep": 1}, "3.5"]),
)
MESSAGES = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["pump-1", "pump-2", "fan-1", "press-1"]),
            st.dictionaries(st.sampled_from(["flow", "heat", "speed", "mood", ""]), CELLS, max_size=4),
        ),
        st.sampled_from([b"{oops", b"[]", b'{"series": "fan-1"}', b'{"series": 3}']),
    ),
    max_size=30,
)


def encoded(messages: Sequence[Any]) -> list[bytes]:
    return [
        one
        if isinstance(one, bytes)
        else json.dumps({"series": one[0], "timestamp": NOW_MS + at, "values": one[1]}).encode()
        for at, one in enumerate(messages)
    ]


def raw_of(values: list[bytes], first: int = 0) -> list[Raw]:
    return [Raw("t", (first + at) % 2, first + at, NOW_MS, None, one) for at, one in enumerate(values)]


def open_codec(inner: Codec | None = None, most: int = 100) -> tuple[OpenCodec, OpenNames]:
    names = OpenNames(most)
    return OpenCodec(inner, FieldNames(), Limits(), lambda name: not name.startswith("pump-"), names), names


def decoded(codec: Codec, raw: list[Raw]) -> Decoded:
    from connectors.records import RawColumns

    return codec.decode_columns(RawColumns.of(raw))


def rows_of(found: Decoded, channels: tuple[str, ...]) -> list[Row]:
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


def is_pump(value: bytes) -> bool:
    try:
        return str(json.loads(value)["series"]).startswith("pump-")
    except (ValueError, TypeError, KeyError):
        return False


@settings(max_examples=60)
@given(MESSAGES)
def test_series_of_the_inner_codec_are_as_without_open_ones(messages: list[Any]) -> None:
    values = encoded(messages)
    inner = JsonWideCodec(("flow", "heat"))
    codec, _ = open_codec(inner)
    found = decoded(codec, raw_of(values))
    own = [one for one in raw_of(values) if is_pump(one.value or b"")]
    alone = decoded(JsonWideCodec(("flow", "heat")), own)
    offsets = {one.offset for one in own}
    rows = [one for one in rows_of(found, codec.channels) if one[1] in offsets]
    assert rows == rows_of(alone, ("flow", "heat"))
    assert [one for one in found.rejects if one.offset in offsets] == list(alone.rejects)


@settings(max_examples=60)
@given(MESSAGES, st.lists(st.integers(0, 30), max_size=6))
def test_no_cut_changes_a_reading_or_a_reject(messages: list[Any], cuts: list[int]) -> None:
    values = encoded(messages)
    whole, _ = open_codec(JsonWideCodec(("flow", "heat")))
    at_once = decoded(whole, raw_of(values))
    parts, _ = open_codec(JsonWideCodec(("flow", "heat")))
    rows: list[Row] = []
    rejects: list[tuple[str, int, bytes]] = []
    for start, stop in pairwise([0, *sorted(min(one, len(values)) for one in cuts), len(values)]):
        found = decoded(parts, raw_of(values[start:stop], start))
        rows += rows_of(found, parts.channels)
        rejects += [(one.reason, one.offset, one.value) for one in found.rejects]
    assert rows == rows_of(at_once, whole.channels)
    assert rejects == [(one.reason, one.offset, one.value) for one in at_once.rejects]
    offsets = [one[1] for one in rows]
    assert offsets == sorted(offsets)


def test_numbers_are_channels_and_everything_else_is_left_out() -> None:
    codec, names = open_codec()
    body = {"speed": 3, "running": True, "mode": "auto", "list": [1], "gone": None, "": 4.0}
    found = decoded(codec, raw_of(encoded([("fan-1", body)])))
    assert rows_of(found, codec.channels) == [("fan-1", 0, {"speed": 3.0, "running": 1.0})]
    assert set(names.names) == {"speed", "running", "gone"}
    assert found.rejects == ()


def test_a_text_where_a_number_was_spoils_no_other_value() -> None:
    codec, _ = open_codec()
    found = decoded(codec, raw_of(encoded([("fan-1", {"a": 1, "b": 2}), ("fan-1", {"a": "off", "b": 3})])))
    assert rows_of(found, codec.channels)[1] == ("fan-1", 1, {"b": 3.0})


def test_a_faulty_message_is_refused_as_it_came() -> None:
    codec, _ = open_codec()
    late = json.dumps({"series": "fan-1", "timestamp": "soon", "values": {"a": 1, "why": "text"}}).encode()
    found = decoded(codec, raw_of([*encoded([("fan-1", {"a": 1})]), late]))
    assert [(one.reason, one.value, one.series) for one in found.rejects] == [
        ("bad_timestamp", late, "fan-1")
    ]


def test_there_are_at_most_so_many_channels() -> None:
    codec, names = open_codec(most=2)
    found = decoded(codec, raw_of(encoded([("fan-1", {"a": 1, "b": 2, "c": 3}), ("fan-2", {"c": 4})])))
    assert rows_of(found, codec.channels) == [("fan-1", 0, {"a": 1.0, "b": 2.0})]
    assert names.names == ("a", "b")
    assert [(one.reason, one.series) for one in found.rejects] == [("no_known_channel", "fan-2")]


def test_nan_in_a_message_of_an_open_series_leaves_the_other_values() -> None:
    codec, _ = open_codec(JsonWideCodec(("flow", "heat")))
    text = b'{"series": "fan-1", "timestamp": %d, "values": {"noise": -Infinity, "heat": NaN, "speed": 2}}'
    found = decoded(codec, raw_of([text % NOW_MS]))
    assert rows_of(found, codec.channels) == [("fan-1", 0, {"speed": 2.0})]
    assert codec.channels == ("flow", "heat", "noise", "heat", "speed")
    assert (found.rejects, found.unknown_values) == ((), 0)
