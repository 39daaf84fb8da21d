"""Where a message has what: paths, keys, headers, topics, the broker's time; units, zones, names, scales."""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import CodecError
from connectors.formats.channels import Scale, Selection
from connectors.formats.codec import channels_in, codec_of, plain_fields
from connectors.formats.form import Form
from connectors.formats.places import joined, path_of
from connectors.records import Decoded, Raw, RawColumns
from connectors.times import Clock
from connectors.wide_json.encoder import FieldNames
from connectors.wide_json.limits import Limits

NOW_S = 1_767_225_600
NOW_NS = NOW_S * 10**9
BODY = {"site": "north", "device": {"id": 17, "name": "pump"}, "ts": NOW_S * 1000, "flow": 1.5, "unit": "C"}


def decoded(
    form: Form, body: object = BODY, channels: tuple[str, ...] = ("flow",), **more: object
) -> Decoded:
    raw = Raw(
        "plant/1", 0, 7, NOW_S * 1000, b"key-1", json.dumps(body).encode(), (("m", b"first"), ("m", b"last"))
    )
    return codec_of(channels, form, Limits()).decode_columns(RawColumns.of([raw._replace(**more)]))


@pytest.mark.parametrize(
    ("places", "name"),
    [
        (("$.device.name",), "pump"),
        (("$.device.id",), "17"),
        (("$['device']['name']",), "pump"),
        (("$.site", "$.device.name", "$.device.id"), "north/pump/17"),
        (("key",), "key-1"),
        (("topic",), "plant/1"),
        (("topic:2",), "1"),
        (("topic:2", "topic:1"), "1/plant"),
        (("header:m",), "last"),
        (("topic", "key"), "plant%2F1/key-1"),
    ],
)
def test_the_series_is_where_it_is_said_to_be(places: tuple[str, ...], name: str) -> None:
    found = decoded(Form(series=places, time="$.ts", values="$"))
    assert found.readings.names == (name,)
    assert (found.rejects, found.unknown_values) == ((), 0)


@pytest.mark.parametrize(
    ("places", "more", "reason", "words"),
    [
        (("$.device.serial",), {}, "missing_field", "no field $.device.serial"),
        (("$.device",), {}, "wrong_type", "got object - at $.device"),
        (("$.flow",), {}, "wrong_type", "got float - at $.flow"),
        (("key",), {"key": None}, "missing_field", "the message has no key"),
        (("key",), {"key": b"\xff"}, "wrong_type", "no UTF-8"),
        (("key",), {"key": b""}, "missing_field", "empty"),
        (("header:other",), {}, "missing_field", "no header other"),
        (("topic:3",), {}, "missing_field", "topic 'plant/1' has no level 3"),
    ],
)
def test_a_series_that_is_not_there_is_named(
    places: tuple[str, ...], more: dict[str, object], reason: str, words: str
) -> None:
    (reject,) = decoded(Form(series=places, time="$.ts", values="$"), **more).rejects
    assert reject.reason == reason
    assert words in reject.detail


@pytest.mark.parametrize(
    "text",
    ["device.id", "$device", "$.", "$..a", "$.a[x]", "header:", "$.a b", "", "tag", "topic:", "topic:0"],
)
def test_a_place_that_is_none_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(CodecError, match=r"no (place|path)"):
        codec_of(("a",), Form(series=(text,)))


@given(
    st.lists(st.text(max_size=4), min_size=2, max_size=3),
    st.lists(st.text(max_size=4), min_size=2, max_size=3),
)
def test_different_parts_have_different_names(first: list[str], second: list[str]) -> None:
    assert (joined(first) == joined(second)) == (first == second)


@pytest.mark.parametrize(
    ("clock", "stamp", "expected_ns"),
    [
        (Clock("s"), NOW_S, NOW_NS),
        (Clock("s"), NOW_S + 0.25, NOW_NS + 250_000_000),
        (Clock("ms"), NOW_S * 1000, NOW_NS),
        (Clock("us"), NOW_S * 10**6 + 1, NOW_NS + 1_000),
        (Clock("ns"), NOW_NS + 1, NOW_NS + 1),
        (Clock("s"), "2026-01-01T00:00:00Z", NOW_NS),
        (Clock(zone=ZoneInfo("Europe/Berlin")), "2026-01-01T01:00:00", NOW_NS),
        (Clock(zone=ZoneInfo("Europe/Berlin")), "2026-01-01T00:00:00Z", NOW_NS),
        (Clock(zone=ZoneInfo("Europe/Berlin")), "2025-07-01T02:00:00", 1_751_328_000_000_000_000),
        (Clock(zone=ZoneInfo("Europe/Berlin")), "2025-10-26T02:30:00", 1_761_438_600_000_000_000),
    ],
)
def test_times_have_the_unit_and_the_zone_that_is_said(clock: Clock, stamp: object, expected_ns: int) -> None:
    found = decoded(Form(series=("$.site",), time="$.ts", values="$", clock=clock), {**BODY, "ts": stamp})
    assert found.readings.timestamp_ns.tolist() == [expected_ns]


@given(st.sampled_from(["s", "ms", "us", "ns"]), st.integers(631_152_000, 9_000_000_000))
def test_numbers_and_lists_of_numbers_are_read_alike(unit: str, seconds: int) -> None:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    clock = Clock(unit)  # type: ignore[arg-type]
    stamps = [seconds * per_second, (seconds + 1) * per_second]
    mixed = clock.times_of([*stamps, "2026-01-01"])
    np.testing.assert_array_equal(clock.times_of(stamps), mixed[:2])
    assert mixed[0] == seconds * 10**9


def test_another_unit_than_the_configured_one_is_noticed() -> None:
    (reject,) = decoded(Form(series=("$.site",), time="$.ts", values="$", clock=Clock("s"))).rejects
    assert "are these milliseconds? seconds are expected" in reject.detail


def test_the_time_of_the_broker() -> None:
    form = Form(series=("key",), time="broker", values="$", clock=Clock("s"))
    assert decoded(form, {"flow": 2}).readings.timestamp_ns.tolist() == [NOW_NS]
    assert decoded(form, {"flow": 2}, timestamp_ms=-1).rejects[0].reason == "bad_timestamp"


def test_names_are_chosen_renamed_and_scaled() -> None:
    selection = Selection(
        ("*_raw", "t*"), ("t_set",), {"t_raw": "heat"}, {"heat": Scale(0.5, -10.0), "p_raw": Scale(2.0)}
    )
    form = Form(series=("$.id",), time="$.ts", values="$", selection=selection)
    body = {"id": "a", "ts": NOW_S * 1000, "t_raw": 50, "t_set": 1, "p_raw": 3, "heat": 7, "tx": 1}
    found = decoded(form, body, ("p_raw", "heat", "other"))
    np.testing.assert_array_equal(found.readings.values, [[6.0, 15.0, np.nan]])
    assert found.unknown_values == 1  # tx: the others are excluded, or the old name of a channel
    raw = RawColumns.of([Raw("t", 0, 0, -1, None, json.dumps(body).encode())])
    assert channels_in(raw, form) == ("heat", "p_raw", "tx")


def test_two_names_cannot_be_one_channel() -> None:
    with pytest.raises(CodecError, match="both renamed to channel 'c'"):
        codec_of(("c",), Form(selection=Selection(rename={"a": "c", "b": "c"})))


def test_wide_json_with_plain_fields_keeps_its_own_codec() -> None:
    assert plain_fields(Form()) == FieldNames()
    assert plain_fields(Form(series=("$.id",))) == FieldNames("id")
    others = (
        Form(series=("$.a.b",)), Form(series=("key",)), Form(values="$"), Form("long_json"),
        Form(records="$.r"), Form(clock=Clock("s")), Form(selection=Selection(include=("a",))),
        Form(time="broker"),
    )  # fmt: skip
    assert [plain_fields(form) for form in others] == [None] * len(others)
    assert path_of("@.x").is_of_record
