"""Wide JSON to readings: what is kept, what is refused and why, and that nothing ever raises."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.errors import CodecError
from connectors.formats.codec import channels_in
from connectors.formats.form import Form
from connectors.records import REASONS, RawColumns, Readings, Reject
from connectors.wide_json.decoder import FieldNames, JsonWideCodec, Limits, Raw
from connectors.wide_json.encoder import encode

CHANNELS = ("temperature", "pressure", "vibration")
NOW_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
NOW_NS = NOW_MS * 1_000_000
codec = JsonWideCodec(CHANNELS)


def raw(value: bytes | None, offset: int = 0, timestamp_ms: int = NOW_MS, partition: int = 3) -> Raw:
    return Raw("plant", partition, offset, timestamp_ms, b"key", value)


def message(
    series: object = "pump-1", timestamp: object = NOW_MS, values: object = None, **more: object
) -> bytes:
    values = {"temperature": 1.5, "pressure": 2.5, "vibration": 3.5} if values is None else values
    return json.dumps({"series": series, "timestamp": timestamp, "values": values, **more}).encode()


def decode_one(
    value: bytes | None, using: JsonWideCodec = codec, timestamp_ms: int = NOW_MS
) -> Readings | Reject:
    decoded = using.decode([raw(value, timestamp_ms=timestamp_ms)])
    assert len(decoded.readings) + len(decoded.rejects) == 1
    return decoded.rejects[0] if decoded.rejects else decoded.readings


def reading(value: bytes | None, using: JsonWideCodec = codec, timestamp_ms: int = NOW_MS) -> Readings:
    found = decode_one(value, using, timestamp_ms)
    assert isinstance(found, Readings), found
    return found


def refusal(value: bytes | None, using: JsonWideCodec = codec, timestamp_ms: int = NOW_MS) -> Reject:
    found = decode_one(value, using, timestamp_ms)
    assert isinstance(found, Reject), found
    assert found.reason in REASONS
    return found


def test_messages_become_columns_in_order_of_arrival() -> None:
    records = [
        raw(message("b", NOW_MS + 1), 10, partition=1),
        raw(message("a", NOW_MS), 20, partition=2),
        raw(message("b", NOW_MS + 2, {"vibration": -1}), 11, partition=1),
    ]
    readings = codec.decode(records).readings
    assert readings.names == ("b", "a")
    assert readings.series.tolist() == [0, 1, 0]
    assert (readings.timestamp_ns - NOW_NS).tolist() == [1_000_000, 0, 2_000_000]
    np.testing.assert_array_equal(readings.values, [[1.5, 2.5, 3.5], [1.5, 2.5, 3.5], [np.nan, np.nan, -1]])
    assert readings.partition.tolist() == [1, 2, 1]
    assert readings.offset.tolist() == [10, 20, 11]
    types = (readings.series, readings.timestamp_ns, readings.values, readings.partition, readings.offset)
    assert [column.dtype.name for column in types] == ["int32", "int64", "float64", "int32", "int64"]


def test_no_messages_become_no_readings() -> None:
    decoded = codec.decode([])
    assert (len(decoded.readings), decoded.rejects, decoded.unknown_values) == (0, (), 0)
    assert decoded.readings.values.shape == (0, 3)


@pytest.mark.parametrize(
    ("stamp", "expected_ns"),
    [
        (NOW_MS, NOW_NS),
        (NOW_MS + 0.25, NOW_NS + 250_000),
        (float(NOW_MS), NOW_NS),
        ("2026-01-01T00:00:00Z", NOW_NS),
        ("2026-01-01T00:00:00.123456Z", NOW_NS + 123_456_000),
        ("2026-01-01T00:00:00.123456789Z", NOW_NS + 123_456_000),
        ("2026-01-01 00:00:00", NOW_NS),
        ("2026-01-01T02:00:00+02:00", NOW_NS),
        ("2026-01-01", NOW_NS),
        ("1990-01-01T00:00:00Z", 631_152_000_000_000_000),
    ],
)
def test_timestamps_are_epoch_milliseconds_or_iso_8601(stamp: object, expected_ns: int) -> None:
    assert reading(message(timestamp=stamp)).timestamp_ns.tolist() == [expected_ns]


def test_kinds_of_timestamps_may_be_mixed_in_a_batch() -> None:
    stamps = [NOW_MS, "2026-01-01T00:00:01Z", NOW_MS + 2000.0, NOW_MS + 3000, "2026-01-01T00:00:01Z"]
    readings = codec.decode([raw(message(timestamp=stamp)) for stamp in stamps]).readings
    assert ((readings.timestamp_ns - NOW_NS) // 1_000_000_000).tolist() == [0, 1, 2, 3, 1]


@pytest.mark.parametrize(
    ("stamp", "detail"),
    [
        (NOW_MS // 1000, "are these seconds"),
        (0, "1970-01-01"),
        (-1, "1969-12-31"),
        ("1989-12-31T23:59:59Z", "too long ago"),
        (NOW_MS + 86_400_001, "too far ahead of the broker's time"),
        (NOW_MS * 1000, "neither epoch milliseconds nor an ISO 8601 time; are these microseconds?"),
        (NOW_MS * 10**6, "are these nanoseconds"),
        (10**30, "neither"),
        (-(2**63), "neither"),
        (1e300, "neither"),
        ("yesterday", "'yesterday' is neither epoch milliseconds nor an ISO 8601 time"),
        ("", "'' is neither"),
        (str(NOW_MS), "neither"),
        ("20260101", "neither"),
        ("9999-12-31T23:59:59Z", "neither"),
        ("0001-01-01T00:00:00+14:00", "neither"),
    ],
)
def test_a_time_that_cannot_be_true_is_refused(stamp: object, detail: str) -> None:
    reject = refusal(message(timestamp=stamp))
    assert reject.reason == "bad_timestamp"
    assert detail in reject.detail


def test_a_reading_may_lie_a_day_ahead_of_the_broker_and_no_more() -> None:
    assert len(reading(message(timestamp=NOW_MS + 86_400_000))) == 1
    assert refusal(message(timestamp=NOW_MS), timestamp_ms=NOW_MS - 86_400_001).reason == "bad_timestamp"


def test_without_a_broker_timestamp_the_future_is_not_limited() -> None:
    assert len(reading(message(timestamp=NOW_MS + 10**11), timestamp_ms=-1)) == 1


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"nonsense",
        b"{",
        message()[:-1],
        message() + b"x",
        message() + message(),
        b'{"series": "\xff", "timestamp": 1767225600000, "values": {"temperature": 1}}',
        b'{"series": "a", "timestamp": 1767225600000, "values": {"\xff": 1, "temperature": 1}}',
        b'{"series": "\\ud800", "timestamp": 1767225600000, "values": {"temperature": 1}}',
        b'\xef\xbb\xbf{"series": "a", "timestamp": 1767225600000, "values": {"temperature": 1}}',
        b'{"deep": ' + b"[" * 100_000,
        None,
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_not_json_is_refused_as_such(value: bytes | None) -> None:
    assert refusal(value).reason == "not_json"


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (b'{"timestamp": 1767225600000, "values": {"temperature": 1}}', "`series`"),
        (b'{"series": "a", "values": {"temperature": 1}}', "`timestamp`"),
        (b'{"series": "a", "timestamp": 1767225600000}', "`values`"),
        (message(series=""), "$.series"),
        (b"{}", "`series`"),
    ],
)
def test_a_missing_field_is_named(value: bytes, field: str) -> None:
    reject = refusal(value)
    assert reject.reason == "missing_field"
    assert field in reject.detail


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (message(series=7), "$.series"),
        (message(series=None), "$.series"),
        (message(timestamp=None), "$.timestamp"),
        (message(timestamp=True), "$.timestamp"),
        (message(timestamp={}), "$.timestamp"),
        (message(values=[1, 2, 3]), "$.values"),
        (message(values={"temperature": "21.5"}), "$.values.temperature"),
        (message(values={"temperature": {"value": 1}}), "$.values.temperature"),
        (b"[]", "object"),
        (b"null", "object"),
        (b'"text"', "object"),
    ],
)
def test_a_wrong_type_is_refused_and_its_place_named(value: bytes, place: str) -> None:
    reject = refusal(value)
    assert reject.reason == "wrong_type"
    assert place in reject.detail


def test_a_boolean_is_0_or_1() -> None:
    found = codec.decode([raw(message(values={"temperature": True, "pressure": False}))])
    np.testing.assert_array_equal(found.readings.values[0, :2], [1.0, 0.0])


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 400])
def test_a_value_too_large_for_a_float_is_not_finite(number: bytes) -> None:
    value = (
        b'{"series": "a", "timestamp": 1767225600000, "values": {"temperature": 1, "pressure": '
        + number
        + b"}}"
    )
    reject = refusal(value)
    assert reject.reason == "not_finite"
    assert "$.values.pressure" in reject.detail


def test_a_time_too_large_for_a_float_is_a_bad_timestamp() -> None:
    value = b'{"series": "a", "timestamp": 1e999, "values": {"temperature": 1}}'
    assert refusal(value).reason == "bad_timestamp"


def test_null_is_a_missing_value() -> None:
    assert reading(message(values={"temperature": None, "pressure": 2})).values.tolist()[0][1:2] == [2.0]
    assert np.isnan(reading(message(values={"temperature": None, "pressure": 2})).values[0, [0, 2]]).all()


def test_a_message_whose_known_channels_are_all_null_is_a_reading_without_values() -> None:
    assert np.isnan(reading(message(values={"temperature": None})).values).all()


def test_values_of_unknown_channels_are_ignored_and_counted_whatever_they_are() -> None:
    values = {"note": "fine", "pressure": 2, "nested": {"a": [1]}, "temperature": 1, "vibration": 3}
    decoded = codec.decode([raw(message()), raw(message(values=values)), raw(message())])
    assert decoded.readings.values.tolist() == [[1.5, 2.5, 3.5], [1, 2, 3], [1.5, 2.5, 3.5]]
    assert decoded.unknown_values == 2


def test_unknown_channels_can_be_refused() -> None:
    strict = JsonWideCodec(CHANNELS, limits=Limits(unknown_channels="reject"))
    reject = refusal(message(values={"temperature": 1, "speed": 2}), strict)
    assert (reject.reason, "'speed'" in reject.detail) == ("unknown_channel", True)
    assert len(reading(message(), strict)) == 1


@pytest.mark.parametrize("values", [{}, {"speed": 1}, {"speed": None, "Temperature": 3}])
def test_a_message_without_any_known_channel_is_refused(values: dict[str, object]) -> None:
    assert refusal(message(values=values)).reason == "no_known_channel"


def test_a_message_above_the_limit_is_refused_unread() -> None:
    small = JsonWideCodec(CHANNELS, limits=Limits(max_bytes=200))
    reject = refusal(b"x" * 201, small)
    assert (reject.reason, reject.detail) == ("too_large", "201 bytes, the limit is 200")
    assert len(reading(message(), small)) == 1


def test_the_length_of_a_series_name_is_bounded_in_characters() -> None:
    assert reading(message(series="ü" * 256)).names == ("ü" * 256,)
    assert refusal(message(series="u" * 257)).reason == "too_large"


def test_fields_can_have_other_names_and_messages_other_fields() -> None:
    renamed = JsonWideCodec(CHANNELS, FieldNames("device", "ts", "readings"))
    value = {"site": [1, {"a": 2}], "readings": {"pressure": 4}, "ts": NOW_MS, "device": "p", "series": 9}
    readings = reading(json.dumps(value).encode(), renamed)
    assert (readings.names, readings.values[0, 1]) == (("p",), 4.0)


def test_a_reject_keeps_the_bytes_and_where_they_came_from() -> None:
    decoded = codec.decode([raw(message()), Raw("plant", 5, 77, NOW_MS, None, b"\x00\xff")])
    (reject,) = decoded.rejects
    found = (reject.topic, reject.partition, reject.offset, reject.key, reject.value)
    assert found == ("plant", 5, 77, None, b"\x00\xff")


def test_the_detail_of_a_reject_is_bounded() -> None:
    assert len(refusal(message(timestamp="x" * 10_000)).detail) <= 300


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, unique=True))
@example(["a b", "émission", "values", "series", "c0", "温度", "a.b-c/d[0]"])
@example([r"\Processor(_Total)\% Processor Time", 'a"b', "line\nend"])
def test_a_channel_may_have_any_name_that_is_text(channels: list[str]) -> None:
    names = tuple(channels)
    numbers = [float(number) for number in range(len(names))]
    given = dict(zip(names, numbers, strict=True))
    using = JsonWideCodec(names)
    assert reading(message(values=given), using).values.tolist() == [numbers]
    unknown = using.decode([raw(message(values={**given, "another " * 9: "text"}))])
    assert (unknown.readings.values.tolist(), unknown.unknown_values) == ([numbers], 1)
    if len(names) > 1:
        without = reading(message(values={names[1]: 1.0}), using).values[0]
        assert np.isnan(without[0])
        assert without[1] == 1.0
    wrong = decode_one(message(values={**given, names[0]: "text"}), using)
    assert isinstance(wrong, Reject)
    assert wrong.reason == "wrong_type"
    sent = encode(reading(message(values=given), using), names, "plant")[0].value
    assert reading(sent, using).values.tolist() == [numbers]
    assert channels_in(RawColumns.of([raw(sent)]), Form()) == tuple(sorted(names))


@pytest.mark.parametrize("not_finite", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("names", [("a", "NaN"), ('"NaN: NaN,', "a")])
def test_a_value_that_is_no_number_is_missing_and_loses_nothing_else(
    not_finite: str, names: tuple[str, str]
) -> None:
    value = json.dumps({"series": ": NaN,", "timestamp": NOW_MS, "values": {names[1]: 2.0, names[0]: 1e9}})
    readings = reading(value.replace("1000000000.0", not_finite).encode(), JsonWideCodec(names))
    assert (readings.names, str(readings.values.tolist())) == ((": NaN,",), "[[nan, 2.0]]")


@given(st.binary(max_size=30), st.sampled_from([b"NaN", b"Infinity", b'{"a": NaN, ', b'"NaN']))
def test_bytes_with_such_words_become_a_reading_or_a_reject(rest: bytes, word: bytes) -> None:
    decode_one(word + rest)
    decode_one(rest + word)


@pytest.mark.parametrize("clock_ms", [-1, 0, 1, NOW_MS // 1_000, 631_151_999_999])
def test_a_time_of_the_record_before_1990_is_no_limit(clock_ms: int) -> None:
    assert len(reading(message(timestamp=NOW_MS), timestamp_ms=clock_ms)) == 1


def test_a_refused_time_names_the_clock_that_it_was_held_against() -> None:
    reject = refusal(message(timestamp=NOW_MS), timestamp_ms=NOW_MS - 10 * 86_400_000)
    assert "broker's time 2025-12-22T00:00:00" in reject.detail


@pytest.mark.parametrize(
    ("channels", "fields", "complaint"),
    [
        ((), FieldNames(), "at least one channel"),
        (("a", "b", "a"), FieldNames(), "'a' is listed twice"),
        (("a",), FieldNames(series="x", timestamp="x"), "need three different names"),
        (("",), FieldNames(), "empty name"),
        (("\ud800",), FieldNames(), "no valid Unicode"),
        (("a",), FieldNames(series='quo"te'), "cannot be used in JSON"),
    ],
)
def test_a_codec_that_could_decode_nothing_is_refused(
    channels: tuple[str, ...], fields: FieldNames, complaint: str
) -> None:
    with pytest.raises(CodecError, match=complaint):
        JsonWideCodec(channels, fields)


# What producers get wrong, mixed with what they get right.
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
stamps = st.integers(NOW_MS - 10**9, NOW_MS) | st.just("2026-01-01T00:00:00Z") | any_json
cells = st.dictionaries(
    st.sampled_from([*CHANNELS, "speed"]), st.floats(-1e9, 1e9) | st.none() | any_json, max_size=5
)
bodies = st.fixed_dictionaries(
    {}, optional={"series": st.sampled_from(["a", "b", ""]) | any_json, "timestamp": stamps, "values": cells}
)
good = st.builds(
    message,
    st.sampled_from(["a", "b", "c"]),
    st.integers(NOW_MS - 10**9, NOW_MS),
    st.dictionaries(st.sampled_from(CHANNELS), st.floats(-1e9, 1e9), min_size=1, max_size=3),
)
values = st.binary(max_size=40) | st.none() | bodies.map(lambda body: json.dumps(body).encode()) | good


def cut(value: bytes, at: int, insert: bytes) -> bytes:
    return value[:at] + insert + value[at + 1 :]


damaged = st.builds(cut, good, st.integers(0, 80), st.binary(max_size=3))


def records_of(found: Sequence[bytes | None]) -> list[Raw]:
    return [raw(value, offset) for offset, value in enumerate(found)]


@given(st.lists(values | damaged, max_size=8))
@example([b"\n".join([message(), message()]), b""])  # one message that looks like two beside an empty one
@example([b'{"series": "a', b'b", "timestamp": 1767225600000, "values": {"temperature": 1}}'])
def test_any_bytes_become_a_reading_or_a_reject(found: list[bytes | None]) -> None:
    decoded = codec.decode(records_of(found))
    offsets = [*decoded.readings.offset.tolist(), *(reject.offset for reject in decoded.rejects)]
    assert sorted(offsets) == list(range(len(found)))
    assert all(reject.value == (found[reject.offset] or b"") for reject in decoded.rejects)
    assert {reject.reason for reject in decoded.rejects} <= set(REASONS)
    assert not np.isinf(decoded.readings.values).any()
    assert all(0 < len(name) <= 256 for name in decoded.readings.names)
    assert len(decoded.readings.names) == len(set(decoded.readings.series.tolist()))


@given(st.lists(values | damaged, max_size=8), st.integers(0, 8))
def test_a_cut_of_the_stream_changes_nothing(found: list[bytes | None], at: int) -> None:
    records = records_of(found)
    whole, parts = codec.decode(records), [codec.decode(records[:at]), codec.decode(records[at:])]
    assert whole.rejects == sum((part.rejects for part in parts), ())
    assert whole.unknown_values == sum(part.unknown_values for part in parts)
    for column in ("timestamp_ns", "values", "partition", "offset"):
        joined = np.concatenate([getattr(part.readings, column) for part in parts])
        np.testing.assert_array_equal(getattr(whole.readings, column), joined)
    names = [part.readings.names[code] for part in parts for code in part.readings.series]
    assert [whole.readings.names[code] for code in whole.readings.series] == names


@given(st.lists(good, min_size=1, max_size=6), st.lists(values, max_size=6), st.randoms())
def test_bad_messages_take_nothing_valid_with_them(
    valid: list[bytes], others: list[bytes | None], shuffler: object
) -> None:
    mixed = [(value, True) for value in valid] + [(value, False) for value in others]
    shuffler.shuffle(mixed)  # type: ignore[attr-defined]
    decoded = codec.decode(records_of([value for value, _ in mixed]))
    expected = {offset for offset, (_, is_valid) in enumerate(mixed) if is_valid}
    assert expected <= set(decoded.readings.offset.tolist())


@given(st.permutations([*CHANNELS, "speed"]), st.permutations(["series", "timestamp", "values"]))
def test_the_order_of_keys_does_not_matter(channels: list[str], fields: list[str]) -> None:
    body = {
        "series": "a",
        "timestamp": NOW_MS,
        "values": {channel: [*CHANNELS, "speed"].index(channel) for channel in channels},
    }
    readings = reading(json.dumps({field: body[field] for field in fields}).encode())
    assert readings.values.tolist() == [[0, 1, 2]]


finite = st.floats(allow_nan=True, allow_infinity=False)


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8"), min_size=1, max_size=256),
            st.integers(631_152_000_000_000, 4_000_000_000_000_000),
            st.tuples(finite, finite, finite),
        ),
        max_size=5,
    )
)
def test_what_is_encoded_is_decoded_again(rows: list[tuple[str, int, tuple[float, float, float]]]) -> None:
    rows = [row for row in rows if not all(math.isnan(cell) for cell in row[2])]
    names = tuple(dict.fromkeys(name for name, _, _ in rows))
    readings = Readings(
        names,
        np.array([names.index(name) for name, _, _ in rows], np.int32),
        np.array([microseconds * 1_000 for _, microseconds, _ in rows], np.int64),
        np.array([cells for _, _, cells in rows], np.float64).reshape(len(rows), 3),
        np.zeros(len(rows), np.int32),
        np.arange(len(rows), dtype=np.int64),
    )
    messages = encode(readings, CHANNELS, "plant")
    assert [sent.key for sent in messages] == [name.encode() for name, _, _ in rows]
    sent = [Raw(sent.topic, 0, offset, -1, sent.key, sent.value) for offset, sent in enumerate(messages)]
    decoded = codec.decode(sent)
    assert decoded.rejects == ()
    assert decoded.readings.names == names
    for column in ("series", "timestamp_ns", "values", "offset"):
        np.testing.assert_array_equal(getattr(decoded.readings, column), getattr(readings, column))


def test_channels_are_learnt_from_the_numbers_that_messages_carry() -> None:
    found = [
        message(values={"b": 1, "text": "x", "flag": True}),
        b"nonsense",
        None,
        message(values={"a": 0.5}),
    ]
    raws = RawColumns.of([raw(value) for value in found])
    assert channels_in(raws, Form()) == ("a", "b", "flag")
