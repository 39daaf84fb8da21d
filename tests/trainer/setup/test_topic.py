"""`streamgauge init TOPIC`: which form messages have, what is proposed, once against a broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamgauge
from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.records import Message, Raw, RawColumns
from connectors.wide_json.encoder import FieldNames
from detector.config.input.section import InputSection, input_codec
from detector.config.load import load_config
from tests.connectors.formats.kits import stream
from trainer.errors import TooLittleDataError, TrainerError
from trainer.setup.csv_lines import CsvProposal
from trainer.setup.daemon_file import daemon_file
from trainer.setup.example import example_of
from trainer.setup.messages import seen
from trainer.setup.proposal import Beside
from trainer.setup.topic import look_at_messages, reading_line

MS = 1_767_225_600_000


def raws(values: Sequence[bytes | None]) -> list[Raw]:
    return [Raw("t", 0, at, MS, b"k", value) for at, value in enumerate(values)]


def wide(row: int, fields: FieldNames = FieldNames()) -> bytes:  # noqa: B008 - a frozen value
    """A message; two series take turns, each sends every 30 s."""
    body = {
        fields.series: f"pump-{row % 2}",
        fields.timestamp: MS + row // 2 * 30_000,
        fields.values: {"flow": row / 4, "heat": None if row % 3 else 2},
    }
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (b"[1767225600000, 1.5]", "a JSON array of values"),
        (b"3.5", "a single JSON value (float)"),
        (b'{"a": "b"}', "JSON without numbers"),
        (b'[{"a": "b"}]', "a JSON array of objects"),
        (b'weather text="dry" ', "line protocol"),
        (b"pump-1;on;off", "CSV"),
        (b"hall-1,pump-1,3.5", "CSV with several texts that may be the series, $.column_1, $.column_2"),
        (b"\x00\x00\x00\x01\x02\x06abc", "magic byte of a schema registry, schema 258"),
        (b"Obj\x01\x04\x14avro", "an Avro container file"),
        (b"\x08\x96\x01\xff", "binary"),
        (b"hello world", "text, of an unknown form"),
        (b'{"zone": "a", "line": "b", "x": 1}', "several texts that may be the series, $.zone, $.line"),
        (b"", "tombstone"),
        (None, "tombstone"),
    ],
)
def test_a_form_that_is_not_read_is_named(value: bytes | None, form: str) -> None:
    found = seen([value] * 3, [Beside()] * 3, CsvProposal([value] * 3, [Beside()] * 3).keys_for)
    if not form.startswith("CSV with"):
        found = seen([value] * 3)
    assert found.keys is None
    ((words, count),) = found.forms.items()
    assert count == 3
    assert form in words
    with pytest.raises(TrainerError, match=r"topic t: .* a form that is not read yet: 3 of 3: "):
        look_at_messages(raws([value] * 3), "t", ("b:1",))


@given(value=st.one_of(st.none(), st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_no_message_raises(value: bytes | None) -> None:
    found = seen([value])
    assert (found.keys is None) == (sum(found.forms.values()) == 1)


@given(
    num=st.integers(3, 60), names=st.permutations(["unit", "at", "readings", "series", "timestamp", "values"])
)
def test_wide_json_is_read_whatever_its_fields_are_called(num: int, names: list[str]) -> None:
    fields = FieldNames(*names[:3])
    look = look_at_messages(raws([*(wide(row, fields) for row in range(num)), b"{}"]), "t", ("b:1",))
    usual = {"series": "series", "time": "timestamp", "values": "values"}
    places = {"series": fields.series, "time": fields.timestamp, "values": fields.values}
    assert look.stream.keys == {key: f"$.{name}" for key, name in places.items() if name != usual[key]}
    assert look.stream.channels == ("flow", "heat")
    assert look.stream.interval_seconds == 30
    assert [line.split() for line in look.lines[2:4]] == [
        ["pump-0", "2026-01-01T00:00:00.000Z", "flow=0,", "heat=2"],
        ["pump-1", "2026-01-01T00:00:00.000Z", "flow=0.25"],
    ]
    assert len(look.lines) == 5
    assert look.refused[0].startswith("1 messages: missing_field")


@pytest.mark.parametrize(
    ("value", "keys", "shown"),
    [
        (
            b'{"machine": "a", "firmware": "2", "at": 1767225600, "flow": 1.5}',
            {"series": "$.machine", "time": "$.at", "time_unit": "s", "values": "$"},
            "a  2026-01-01T00:00:00.000Z  flow=1.5",
        ),
        (
            b'{"device": {"id": "a"}, "sent-at": "2026-01-01", "data": {"now": {"flow": 1.5, "heat": 2}}}',
            {"series": "$.device.id", "time": "$.sent-at", "values": "$.data.now"},
            "a  2026-01-01T00:00:00.000Z  flow=1.5, heat=2",
        ),
        (
            b'[{"series": "a", "timestamp": 1767225600000, "flow": 1.5}]',
            {"values": "$"},
            "a  2026-01-01T00:00:00.000Z  flow=1.5",
        ),
        (
            b'{"machine": "a", "samples": [{"t": 1767225600000, "flow": 1.5}]}',
            {"series": "$.machine", "time": "@.t", "records": "$.samples", "values": "@"},
            "a  2026-01-01T00:00:00.000Z  flow=1.5",
        ),
        (
            b'{"plant": "a", "tag": "flow", "value": 1.5, "time": 1767225600000000}',
            {"format": "long_json", "series": "$.plant", "time": "$.time", "time_unit": "us",
             "channel": "$.tag", "value": "$.value"},
            "a  2026-01-01T00:00:00.000Z  flow=1.5",
        ),
        (
            b"cpu,host=a,dc=b idle=3.5,busy=1i 1767225600000000000",
            {"format": "line_protocol"},
            "a  2026-01-01T00:00:00.000Z  cpu_busy=1, cpu_idle=3.5",
        ),
        (
            b'{"machine": "a", "sent": 1767225601, "samples": [{"t": 1767225600000, "x": 1}]}',
            {"series": "$.machine", "time": "@.t", "records": "$.samples", "values": "@"},
            "a  2026-01-01T00:00:00.000Z  x=1",
        ),
        (
            b'{"ts": 1767225600000, "status": "running", "machine_name": "p-1", "x": 1.5}',
            {"series": "$.machine_name", "time": "$.ts", "values": "$"},
            "p-1  2026-01-01T00:00:00.000Z  x=1.5",
        ),
        (
            b'{"id": "a", "uptime_bytes": 1000000000, "ts": 1767225600123, "x": 1.5}',
            {"series": "$.id", "time": "$.ts", "values": "$"},
            "a  2026-01-01T00:00:00.123Z  uptime_bytes=1e+09, x=1.5",
        ),
        (
            b'{"zone": "k", "line": "b", "seen": 1767225600000, "bytes": 1000000000}',
            {"series": "$.zone", "time": "$.seen", "values": "$"},
            "k  2026-01-01T00:00:00.000Z  bytes=1e+09",
        ),
        (
            b'{"unit": "m3/h", "plant": "a", "tag": "flow", "value": 1.5}',
            {"format": "long_json", "series": "$.plant", "time": "broker",
             "channel": "$.tag", "value": "$.value"},
            "a  2026-01-01T00:00:00.000Z  flow=1.5",
        ),
        (
            b'{"status": "running", "flow": 1.5}',
            {"series": "key", "time": "broker", "values": "$"},
            "k  2026-01-01T00:00:00.000Z  flow=1.5",
        ),
        (
            b'{"flow": 1.5}',
            {"series": "key", "time": "broker", "values": "$"},
            "k  2026-01-01T00:00:00.000Z  flow=1.5",
        ),
        (
            stream({"unit": ["a"], "at": pa.array([MS], pa.timestamp("ms")), "flow": [1.5]}),
            {"format": "arrow", "series": "$['unit']", "time": "$['at']"},
            "a  2026-01-01T00:00:00.000Z  flow=1.5",
        ),
        (
            b"cpu,dc=b idle=3.5 1767225600",
            {"format": "line_protocol", "series": "$['dc']", "time_unit": "s"},
            "b  2026-01-01T00:00:00.000Z  cpu_idle=3.5",
        ),
        (
            b"cpu,host=a idle=3.5 1767225600000",
            {"format": "line_protocol", "time_unit": "ms"},
            "a  2026-01-01T00:00:00.000Z  cpu_idle=3.5",
        ),
        (
            b'machine;at;flow;note\npump-1;2026-01-01 00:00:00;21,5;"a; b"',
            {"format": "csv", "columns": ("machine", "at", "flow", "note"), "delimiter": ";"}
            | {"series": "$.machine", "time": "$.at", "decimal": "comma"},
            "pump-1  2026-01-01T00:00:00.000Z  flow=21.5",
        ),
        (
            b"1767225600\tpump-1\t3.5",
            {"format": "csv", "columns": ("column_1", "column_2", "column_3"), "delimiter": "\t"}
            | {"series": "$.column_2", "time": "$.column_1", "time_unit": "s"},
            "pump-1  2026-01-01T00:00:00.000Z  column_3=3.5",
        ),
        (
            b"machine; time; temp\npump-1; 2026-01-01T00:00:00Z; 3.5",
            {"format": "csv", "columns": ("machine", "time", "temp"), "delimiter": ";"}
            | {"series": "$.machine", "time": "$.time"},
            "pump-1  2026-01-01T00:00:00.000Z  temp=3.5",
        ),
        (
            b"2026-01-01T00:00:00Z,pump-1,3.5,NA",
            {"format": "csv", "columns": ("column_1", "column_2", "column_3", "column_4")}
            | {"series": "$.column_2", "time": "$.column_1"},
            "pump-1  2026-01-01T00:00:00.000Z  column_3=3.5",
        ),
    ],
)  # fmt: skip
def test_a_form_is_proposed_and_its_messages_are_shown(
    tmp_path: Path, value: bytes, keys: dict[str, str], shown: str
) -> None:
    look = look_at_messages(raws([value] * 5), "t", ("b:1",))
    assert look.stream.keys == keys
    assert [line.strip() for line in look.lines[2:5]] == [shown] * 3
    assert any("no message names the columns" in line for line in look.lines) == ("column_1" in str(keys))
    file = tmp_path / "streamgauge.toml"
    file.write_text(daemon_file(look.stream, "models/t", "the topic t"))
    codec = input_codec(tuple(look.stream.channels), load_config(file, {}).input)
    found = codec.decode_columns(RawColumns.of(raws([value])))
    assert reading_line(found.readings, 0, tuple(look.stream.channels)).strip() == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (
            b'{"id": "a", "key": "s3cret", "ts": "2026-01-01", "by": {"n": "Jo"}, "x": 1.5, "t": ["s3cret"]}',
            '{"id": "a", "key": "...", "ts": "2026-01-01", "by": {"n": "..."}, "x": 1.5, "t": ["..."]}',
        ),
        (
            b'{"machine": "a", "tag": "flow", "unit": "s3cret", "value": 1.5, "time": 1767225600000}',
            '{"machine": "a", "tag": "flow", "unit": "...", "value": 1.5, "time": 1767225600000}',
        ),
        (
            b'# s3cret\ncpu\\ 1,host=a,token=s3cret idle=3.5,on=t,by="s3cret" 1767225600000000000',
            'cpu\\ 1,host=a,token=... idle=3.5,on=true,by="..." 1767225600000000000',
        ),
        (
            b'{"id": "a", "ts": 1767225600000, "x": 1.5, "s3cret": "' + b"s3cret" * 200 + b'"}',
            '{"id": "a", "ts": 1767225600000, "x": 1.5, "s3cret": "..."}',
        ),
        (
            b"machine,token,at,x\na,s3cret,2026-01-01,1.5",
            "a,...,2026-01-01,1.5",
        ),
    ],
)
def test_the_message_in_the_configuration_has_no_texts_but_names_and_times(value: bytes, shown: str) -> None:
    stream = look_at_messages(raws([value] * 3), "t", ("b:1",)).stream
    assert stream.example == shown
    assert f"\n# {shown}\n" in daemon_file(stream, "models/t", "the topic t")


@pytest.mark.parametrize("first", ["p\u00a01;2026-01-01T00:00:00Z;1.5", "[1];2026-01-01T00:00:00Z;1.5"])
def test_a_first_line_that_cannot_be_shown_is_its_size(tmp_path: Path, first: str) -> None:
    values = [first.encode(), *[b"p1;2026-01-01T00:00:01Z;1.5"] * 9]
    look = look_at_messages(raws(values), "t", ("b:1",))
    assert look.stream.keys["columns"] == ("column_1", "column_2", "column_3")
    assert look.stream.example == f"{len(values[0]):,} bytes"
    file = tmp_path / "streamgauge.toml"
    file.write_text(daemon_file(look.stream, "models/t", "the topic t"))
    assert load_config(file, {}).input.format == "csv"


@given(
    texts=st.lists(st.text(st.sampled_from("ab1,;.\"'\n\t {"), max_size=20), max_size=6),
    more=st.lists(st.binary(max_size=20), max_size=3),
)
def test_csv_is_proposed_or_not_and_never_raises_anything_else(texts: list[str], more: list[bytes]) -> None:
    values = [*(one.encode() for one in texts), *more]
    beside = [Beside()] * len(values)
    found = seen(values, beside, CsvProposal(values, beside).keys_for)
    if found.keys is not None:
        section = InputSection.model_validate(found.keys)  # which refuses columns that cannot be read
        assert section.format == "csv"


def test_parts_of_a_joined_name_are_shown_and_long_messages_cut() -> None:
    assert (
        example_of(b'{"a": "x/y", "b": "z", "c": "q"}', ["x%2Fy/z"]) == '{"a": "x/y", "b": "z", "c": "..."}'
    )
    assert example_of(b"[" + b"1," * 300 + b"1]", []) == "[" + "1, " * 66 + "1..."
    assert example_of(b"[" * 100_000, []) == "100,000 bytes"
    assert example_of(b"\xff" * 3, []) == "3 bytes, which are no text"


def test_an_empty_topic_is_named() -> None:
    with pytest.raises(TooLittleDataError, match=r"topic t has no messages yet; send some"):
        look_at_messages([], "t", ("b:1",))


def test_a_topic_of_the_broker_gives_a_configuration_and_the_command_that_records_it(
    tmp_path: Path,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic, fields = kafka_topic(), FieldNames("machine", "at", "data")
    producer = Producer(Connection((kafka_bootstrap,)))
    producer.produce([Message(topic, b"k", wide(row, fields)) for row in range(40)])
    producer.close()
    command = ["init", topic, "--bootstrap", kafka_bootstrap, "--out", str(tmp_path)]
    assert streamgauge.main(command) == 0
    printed = capsys.readouterr().out
    assert printed.count("pump-") == 3
    config = load_config(tmp_path / "streamgauge.toml", {})
    assert config.kafka.topic == topic
    assert (config.input.series, config.input.time, config.input.values) == (("$.machine",), "$.at", "$.data")
    assert config.kafka.bootstrap_servers == (kafka_bootstrap,)
    record = next(line.split()[1:] for line in printed.splitlines() if "streamgauge record" in line)
    assert streamgauge.main(record) == 0
    assert "recorded 40 readings of 2 series" in capsys.readouterr().out
    assert streamgauge.main(["init", str(tmp_path / "history"), "--out", str(tmp_path), "--force"]) == 0
