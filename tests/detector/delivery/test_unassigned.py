"""Which messages are unassigned: by name and by channels, however they are cut, and what is said of them."""

from __future__ import annotations

import json
import logging
from dataclasses import fields, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.formats.codec import codec_of
from connectors.formats.form import Form
from connectors.records import Batch, Codec, RawColumns, Readings, Reject
from connectors.records import Raw as RawMessage
from connectors.times import Clock
from connectors.wide_json.decoder import JsonWideCodec, Limits
from detector.delivery.routing.tally import UnassignedSeries
from detector.delivery.unassigned import Admission, channels_of_messages
from detector.engine.engine import Engine, knows
from tests.connectors.formats.kits import stream
from tests.support.artifacts import make_artifact

CHANNELS = ("flow", "pressure")
COLUMNS = ("timestamp_ns", "values")
NAMES = ("pump-1", "pump-2", "conveyor-1", "tank")


def message(name: str, second: int, *channels: str) -> bytes:
    values = {channel: float(second % 7) for channel in channels}
    return json.dumps(
        {"series": name, "timestamp": 1_700_000_000_000 + 1000 * second, "values": values}
    ).encode()


def batch_of(values: list[bytes], first: int = 0, unknown: str = "ignore") -> Batch:
    """A decoded batch of one partition whose offsets begin at `first`."""
    codec = JsonWideCodec(CHANNELS, limits=Limits(unknown_channels=unknown))
    raw = [
        RawMessage("readings", 0, first + at, 1_700_000_000_000, None, value)
        for at, value in enumerate(values)
    ]
    decoded = codec.decode_columns(RawColumns.of(raw))
    return Batch(decoded.readings, decoded.rejects)


def nobody(name: str) -> bool:
    return False


def series_of(readings: Readings) -> list[str]:
    return [readings.names[code] for code in readings.series.tolist()]


def test_a_name_that_matches_no_pattern_is_unassigned() -> None:
    admission = Admission(("pump-*", "fan[0-9]"))
    values = [message(name, 0, "flow") for name in ("pump-1", "conveyor-1", "fan7", "fan", "conveyor-1")]
    found = admission.admit(batch_of([*values, message("tank", 0, "level"), b"{oops"]), nobody)
    assert series_of(found.readings) == ["pump-1", "fan7"]
    assert [one.reason for one in found.rejects] == ["not_json"]
    assert dict(admission.unassigned.series) == {"name": 3, "channels": 0}
    assert dict(admission.unassigned.messages) == {"name": 4, "channels": 0}
    assert admission.unassigned.most[0] == UnassignedSeries("conveyor-1", "name", 2)


def test_a_series_is_assigned_from_its_first_message_with_enough_channels_on() -> None:
    admission = Admission((), 2)
    values = [
        message("pump-1", 0, "flow"),
        message("pump-1", 1, "flow", "pressure"),
        message("pump-1", 2, "flow"),
        message("pump-1", 3, "mood"),
        message("conveyor-1", 0, "flow"),
        message("tank", 0, "level"),
    ]
    found = admission.admit(batch_of(values), nobody)
    assert found.readings.offset.tolist() == [1, 2]
    assert [(one.reason, one.offset) for one in found.rejects] == [("no_known_channel", 3)]
    assert {one.name for one in admission.unassigned.most} == {"conveyor-1", "tank"}
    later = admission.admit(batch_of([message("conveyor-1", 9, "flow", "pressure")], 6), nobody)
    assert len(later.readings) == 1
    assert {one.name for one in admission.unassigned.most} == {"tank"}


def test_a_known_series_stays_assigned_whatever_its_messages_lack() -> None:
    admission = Admission((), 2)
    batch = batch_of([message("pump-1", 0, "flow"), message("pump-1", 1, "mood")])
    assert admission.admit(batch, lambda name: name == "pump-1") is batch


def test_without_patterns_only_series_without_any_known_channel_are_unassigned() -> None:
    admission = Admission()
    whole = batch_of([message("pump-1", 0, "flow"), b"{oops", message("pump-1", 1, "mood")])
    assert admission.admit(whole, nobody) is whole
    found = admission.admit(batch_of([message("tank", 0, "level")] * 3), nobody)
    assert (len(found.readings), found.rejects) == (0, ())
    assert dict(admission.unassigned.messages) == {"name": 0, "channels": 3}


def test_a_refused_channel_of_an_own_series_is_a_dead_letter() -> None:
    batch = batch_of([message(name, 0, "flow", "mood") for name in ("pump-1", "tank")], unknown="reject")
    found = Admission(("pump-*",)).admit(batch, nobody)
    assert [(one.reason, one.series) for one in found.rejects] == [("unknown_channel", "pump-1")]


def merged(parts: list[Batch]) -> Batch:
    """One batch of several, each of a partition of its own: the number in the list."""
    readings = [one.readings for one in parts]
    names = tuple(dict.fromkeys(name for one in readings for name in one.names))
    series = [[names.index(name) for name in series_of(one)] for one in readings]
    return Batch(
        Readings(
            names,
            np.array([code for one in series for code in one], np.int32),
            *(np.concatenate([getattr(one, column) for one in readings]) for column in COLUMNS),
            np.repeat(np.arange(len(parts), dtype=np.int32), [len(one) for one in readings]),
            np.concatenate([one.offset for one in readings]),
        ),
        tuple(replace(one, partition=at) for at, part in enumerate(parts) for one in part.rejects),
    )


@pytest.mark.parametrize("first", [0, 100])
def test_offsets_of_different_partitions_are_not_compared(first: int) -> None:
    fitting = batch_of([message("tank", 0, "flow")], 50)
    lacking = batch_of([message("tank", 0, "level")], first)
    admission = Admission()
    found = admission.admit(merged([fitting, lacking]), nobody)
    assert (len(found.readings), found.rejects) == (1, ())
    assert admission.unassigned.messages["channels"] == 1


def test_a_message_of_an_own_series_with_a_reading_of_no_channel_is_a_dead_letter() -> None:
    good, bad = batch_of([message("tank", 0, "flow")], 7), batch_of([message("tank", 0, "level")], 7)
    found = Admission().admit(Batch(good.readings, bad.rejects), nobody)
    assert [one.reason for one in found.rejects] == ["no_known_channel"]


def test_the_channels_of_a_message_are_those_of_all_its_readings() -> None:
    limits = Limits(max_future_ns=0)
    codec = codec_of(("cpu_idle", "mem_used"), Form("line_protocol", ("$.host",), clock=Clock("s")), limits)
    lines = [
        b"cpu,host=a idle=1 1700000000\ncpu,host=b idle=1 1700000000\nmem,host=a used=2 1700000000",
        b"cpu,host=b idle=1 1700000001\ncpu,host=b idle=1 1700000002\ncpu,host=a idle=1 1700000001",
    ]
    raw = [
        RawMessage("readings", 0, at, 1_700_000_000_000 + 9_000, None, value)
        for at, value in enumerate(lines)
    ]
    decoded = codec.decode_columns(RawColumns.of(raw))
    assert channels_of_messages(decoded.readings).tolist() == [2, 1, 2, 1, 1, 1]
    found = Admission((), 2).admit(Batch(decoded.readings, decoded.rejects), nobody)
    assert list(zip(series_of(found.readings), found.readings.offset.tolist(), strict=True)) == [
        ("a", 0),
        ("a", 0),
        ("a", 1),
    ]
    assert channels_of_messages(Readings.empty(2)).tolist() == []


NOW_MS = 1_700_000_000_000


def decoded_by(codec: Codec, bodies: list[Any]) -> Batch:
    """A batch of JSON messages, of which each body becomes one."""
    raw = [
        RawMessage("readings", 0, at, NOW_MS, None, json.dumps(body).encode())
        for at, body in enumerate(bodies)
    ]
    decoded = codec.decode_columns(RawColumns.of(raw))
    return Batch(decoded.readings, decoded.rejects)


WIDE = codec_of(CHANNELS, Form(values="$"))
LONG = codec_of(CHANNELS, Form("long_json"))


def reading(series: str, stamp: Any = NOW_MS, **values: Any) -> dict[str, Any]:
    return {"series": series, "timestamp": stamp, **values}


@pytest.mark.parametrize(
    ("codec", "body"),
    [
        (JsonWideCodec(CHANNELS), reading("conv-1", 1, values={"flow": 1})),
        (JsonWideCodec(CHANNELS), reading("conv-1", values={"flow": "high"})),
        (JsonWideCodec(CHANNELS), reading("conv-1", values=3)),
        (WIDE, reading("conv-1", 1, flow=1)),
        (WIDE, reading("conv-1", "soon", flow=1)),
        (WIDE, reading("conv-1", flow="high")),
        (WIDE, [reading("conv-1", belt=1), reading("conv-1", belt=2)]),
        (WIDE, [reading("conv-1", 1, flow=1), reading("conv-1", flow=1)]),
        (LONG, reading("conv-1", channel="flow", value="high")),
        (LONG, reading("conv-1", 1, channel="flow", value=1)),
    ],
)
def test_a_faulty_message_of_a_series_of_another_model_is_no_dead_letter(codec: Codec, body: Any) -> None:
    batch = decoded_by(codec, [body])
    assert [one.series for one in batch.rejects] == ["conv-1"]
    found = Admission(("pump-*",)).admit(batch, nobody)
    assert (len(found.readings), found.rejects) == (0, ())
    kept = Admission(("conv-*",)).admit(batch, lambda name: True)
    assert kept.rejects == batch.rejects


@pytest.mark.parametrize(
    "body",
    [
        [reading("conv-1", flow="high"), reading("pump-1", flow=1)],
        [reading("pump-1", flow=1), reading("conv-1", 1, flow=1)],
        [reading("conv-1", flow="high"), reading("pump-1", flow="high")],
        [reading("conv-1", flow="high"), {"timestamp": NOW_MS, "flow": 1}],
    ],
)
def test_a_faulty_message_of_several_series_is_about_none_of_them(body: Any) -> None:
    batch = decoded_by(WIDE, [body])
    assert [one.series for one in batch.rejects] == [""]
    assert Admission(("pump-*",)).admit(batch, nobody).rejects == batch.rejects


def test_each_series_is_logged_once_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    admission = Admission(("pump-*",))
    with caplog.at_level(logging.WARNING):
        for first in range(0, 300, 3):
            values = [message(name, first, "flow") for name in ("tank", f"other-{first}", "tank")]
            admission.admit(batch_of(values, first), nobody)
    told = [record for record in caplog.records if "unassigned" in record.getMessage()]
    assert len(told) == 100
    assert sum(admission.unassigned.messages.values()) == 300


def test_a_series_that_sends_nothing_for_an_hour_is_not_counted_any_more() -> None:
    admission, hour = Admission(("pump-*",)), 3_600 * 10**9
    for name, now in (("tank", 0), ("other", hour // 2), ("pump-1", hour), ("pump-1", hour + 10**9)):
        batch = batch_of([message(name, 0, "flow")])
        admission.admit(replace(batch, tick_ns=10 * hour + now), nobody)
    assert admission.unassigned.series["name"] == 2
    admission.admit(Batch(Readings.empty(2), tick_ns=11 * hour + 61 * 10**9), nobody)
    assert [one.name for one in admission.unassigned.most] == ["other"]
    assert admission.unassigned.messages["name"] == 2


MESSAGES = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from([("flow",), CHANNELS, ("mood",), ("flow", "mood")])),
    max_size=40,
)
CUTS = st.lists(st.integers(0, 40), max_size=5)


def admitted(
    values: list[bytes], cuts: list[int], patterns: tuple[str, ...], least: int
) -> tuple[list, Admission]:
    """The batches that are left; a series is known once it was admitted, as by an engine."""
    admission, known, batches = Admission(patterns, least), set[str](), []
    bounds = sorted({0, len(values), *(cut for cut in cuts if cut < len(values))})
    for start, stop in pairwise(bounds):
        batches.append(admission.admit(batch_of(values[start:stop], start), known.__contains__))
        known |= set(batches[-1].readings.names)
    return batches, admission


@given(MESSAGES, CUTS, st.sampled_from([(), ("pump-*",)]), st.integers(1, 2))
@example([("pump-1", ("mood",)), ("pump-1", ("flow",))], [1], (), 1)
def test_the_cut_into_batches_decides_nothing(
    messages: list[tuple[str, tuple[str, ...]]], cuts: list[int], patterns: tuple[str, ...], least: int
) -> None:
    values = [message(name, at, *channels) for at, (name, channels) in enumerate(messages)]
    whole, one = admitted(values, [], patterns, least)
    parts, other = admitted(values, cuts, patterns, least)

    def offsets(batches: list[Batch]) -> tuple[list[int], list[int]]:
        rejects: list[Reject] = [reject for batch in batches for reject in batch.rejects]
        return [int(at) for batch in batches for at in batch.readings.offset], [r.offset for r in rejects]

    assert offsets(whole) == offsets(parts)
    assert one.unassigned == other.unassigned
    kept, refused = offsets(whole)
    assert len(kept) + len(refused) + sum(one.unassigned.messages.values()) == len(values)


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=60))
def test_verdicts_are_those_of_a_stream_without_the_others(names: list[str]) -> None:
    values = [message(name, at, *CHANNELS) for at, name in enumerate(names)]
    own = [value for value, name in zip(values, names, strict=True) if name.startswith("pump")]
    mixed, alone = Engine(make_artifact()), Engine(make_artifact())
    found = mixed.step(Admission(("pump-*",)).admit(batch_of(values), partial(knows, mixed)).readings)
    expected = alone.step(batch_of(own).readings)
    assert found.verdicts.names == expected.verdicts.names
    for column in fields(found.verdicts):
        if column.name != "names":
            one, other = (getattr(part.verdicts, column.name) for part in (found, expected))
            np.testing.assert_array_equal(one, other, err_msg=column.name)
    assert mixed.latest.names == alone.latest.names


def batch_by(codec: Codec, values: list[bytes]) -> Batch:
    raw = [RawMessage("readings", 0, at, NOW_MS, None, value) for at, value in enumerate(values)]
    decoded = codec.decode_columns(RawColumns.of(raw))
    return Batch(decoded.readings, decoded.rejects, strangers=decoded.strangers)


def test_an_array_of_several_strangers_is_no_dead_letter() -> None:
    batch = decoded_by(WIDE, [[reading("conv-1", belt=1), reading("conv-2", belt=2)]])
    assert [(one.reason, one.series, one.strangers) for one in batch.rejects] == [
        ("no_known_channel", "", ("conv-1", "conv-2"))
    ]
    admission = Admission()
    assert admission.admit(batch, nobody).rejects == ()
    assert {one.name for one in admission.unassigned.most} == {"conv-1", "conv-2"}
    assert len(Admission().admit(batch, lambda name: name == "conv-2").rejects) == 1


def test_the_readings_beside_a_stranger_are_judged_and_a_fault_is_a_dead_letter() -> None:
    good, stranger = reading("tank", flow=1), reading("conv-1", belt=1)
    batch = decoded_by(WIDE, [[stranger, good], [stranger, reading("tank", flow="high"), stranger]])
    found = Admission().admit(batch, nobody)
    assert series_of(found.readings) == ["tank"]
    assert [(one.offset, one.reason) for one in found.rejects] == [(1, "wrong_type")]
    late = decoded_by(WIDE, [[stranger, reading("tank", 1, flow=1)]])
    assert [one.reason for one in Admission().admit(late, nobody).rejects] == ["bad_timestamp"]


def test_strangers_of_arrow_are_no_dead_letters() -> None:
    codec = codec_of(CHANNELS, Form("arrow"))
    when = pa.array([NOW_MS] * 2, pa.timestamp("ms"))
    values = [
        stream({"series": ["conv-1", "conv-2"], "timestamp": when, "belt": [1.0, 2.0]}),
        stream({"series": ["conv-1", "conv-1"], "timestamp": when, "belt": [1.0, 2.0]}),
    ]
    batch = batch_by(codec, values)
    assert [one.strangers for one in batch.rejects] == [("conv-1", "conv-2"), ("conv-1",)]
    admission = Admission()
    assert admission.admit(batch, nobody).rejects == ()
    counted = {one.name: one.messages for one in admission.unassigned.most}
    assert counted == {"conv-1": 2, "conv-2": 1}
    assert len(Admission().admit(batch, lambda name: name == "conv-1").rejects) == 2


@pytest.mark.parametrize("kind", ["line_protocol", "long_json"])
def test_a_series_that_only_sends_other_channels_is_counted_after_some_messages(kind: Any) -> None:
    def message_of(series: str, channel: str) -> bytes:
        if kind == "long_json":
            return json.dumps(reading(series, channel=channel, value=1)).encode()
        return f"m,host={series} {channel}=1 {NOW_MS * 10**6}".encode()

    form = Form(kind, ("$.host",)) if kind == "line_protocol" else Form(kind)
    names = CHANNELS if kind == "long_json" else tuple(f"m_{name}" for name in CHANNELS)
    codec = codec_of(names, form)
    admission = Admission(("tank*", "conv*"))
    values = [message_of("tank", "level"), message_of("conv-1", "belt"), message_of("shop", "doors")]
    first = batch_by(codec, [*values, message_of("tank", CHANNELS[0])])
    assert dict(first.strangers) == ({"conv-1": 1, "shop": 1, "tank": 1})
    assert series_of(admission.admit(first, nobody).readings) == ["tank"]
    assert {one.name: one.reason for one in admission.unassigned.most} == {"shop": "name"}
    for _ in range(9):
        admission.admit(batch_by(codec, values), lambda name: name == "tank")
    counted = {one.name: (one.reason, one.messages) for one in admission.unassigned.most}
    assert counted == {"shop": ("name", 10), "conv-1": ("channels", 10)}
    admission.admit(batch_by(codec, [message_of("conv-1", CHANNELS[0])]), nobody)
    assert [one.name for one in admission.unassigned.most] == ["shop"]


def test_a_line_beside_another_of_the_same_series_is_no_stranger() -> None:
    codec = codec_of(("m_flow",), Form("line_protocol", ("$.host",)))
    batch = batch_by(codec, [f"m,host=a flow=1 {NOW_MS}000000\nm,host=a belt=1\nm,host=b belt=1".encode()])
    assert dict(batch.strangers) == {"b": 1}
