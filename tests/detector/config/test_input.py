"""[input]: what it makes of old and new keys, and what it refuses with which words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from connectors.formats.codec import plain_fields
from connectors.formats.contract import FormCodec
from connectors.records import Raw, RawColumns
from connectors.wide_json.decoder import JsonWideCodec
from connectors.wide_json.encoder import FieldNames
from detector.config.input.section import InputSection, form_of, input_codec
from detector.config.load import load_config
from detector.errors import ConfigError

START = '[model]\npath = "models/pump"\n[kafka]\ntopic = "readings"\n[input]\n'


def section(directory: Path, text: str, environ: dict[str, str] | None = None) -> InputSection:
    file = directory / "streamgauge.toml"
    file.write_text(START + text)
    return load_config(file, environ or {}).input


def test_files_with_field_names_mean_what_they_meant(tmp_path: Path) -> None:
    found = section(tmp_path, 'series_field = "id"\ntimestamp_field = "the time"\nvalues_field = "a.b"')
    assert plain_fields(form_of(found)) == FieldNames("id", "the time", "a.b")
    codec = input_codec(("x",), found)
    assert isinstance(codec, JsonWideCodec)
    assert isinstance(input_codec(("x",), section(tmp_path, "")), JsonWideCodec)


def test_one_place_or_several_and_the_environment(tmp_path: Path) -> None:
    assert section(tmp_path, 'series = "$.a"').series == ("$.a",)
    assert section(tmp_path, 'series = ["$.a", "key"]').series == ("$.a", "key")
    found = section(
        tmp_path, "", {"STREAMGAUGE_INPUT__SERIES": "topic,key", "STREAMGAUGE_INPUT__TIME": "broker"}
    )
    assert (found.series, found.time) == (("topic", "key"), "broker")


def test_names_and_scales_reach_the_decoder(tmp_path: Path) -> None:
    found = section(
        tmp_path, 'rename = { t = "heat" }\nmax_future = "1h"\n[input.scale.heat]\nfactor = 0.5\noffset = 3'
    )
    codec = input_codec(("heat",), found)
    assert isinstance(codec, FormCodec)
    assert codec.limits.max_future_ns == 3_600 * 10**9
    value = b'{"series": "a", "timestamp": 1767225600000, "values": {"t": 10}}'
    readings = codec.decode_columns(RawColumns.of([Raw("t", 0, 0, -1, None, value)])).readings
    np.testing.assert_array_equal(readings.values, [[8.0]])


@pytest.mark.parametrize(
    ("unit", "given"), [("s", True), ("ms", True), ("us", True), ("ns", True), ("ns", False)]
)
def test_every_unit_of_line_protocol_is_read(tmp_path: Path, unit: str, given: bool) -> None:
    key = f'time_unit = "{unit}"' if given else ""
    codec = input_codec(("m_f",), section(tmp_path, f'format = "line_protocol"\n{key}'))
    stamp = 1_767_225_600 * 10 ** {"s": 0, "ms": 3, "us": 6, "ns": 9}[unit]
    found = codec.decode_columns(RawColumns.of([Raw("t", 0, 0, -1, None, f"m,host=a f=1 {stamp}".encode())]))
    assert found.rejects == ()
    assert found.readings.timestamp_ns.tolist() == [1_767_225_600_000_000_000]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('series = "device.id"', "'device.id' is no place in a message; expected a path such as $.device.id"),
        ('time = "key"', "'key' is no place of a time; expected a path such as $.ts, or broker"),
        ('values = "$.a["', "'$.a[' is no path"),
        ('series = "$.a"\nseries_field = "b"', "`series` and `series_field` say the same; keep one of them"),
        ('channel = "$.tag"', "`channel` is for format long_json or long_avro, not for wide_json"),
        (
            'format = "arrow"\nrecords = "$.x"',
            "`records` is for format wide_json or avro or long_json or long_avro, not for arrow",
        ),
        ('channel_tags = ["cpu"]', "`channel_tags` is for format line_protocol"),
        (
            'format = "line_protocol"\ntime = "$.ts"',
            "`time` of line_protocol is only broker: without it, each line has its own",
        ),
        ('format = "line_protocol"\nseries = "$.a.b"', "'$.a.b' does not name a tag; expected $.NAME"),
        *(
            (
                f'format = "line_protocol"\n{key} = "{one}"',
                f"`{key}` is for format wide_json or long_json or arrow",
            )
            for key, one in (("series_field", "a"), ("timestamp_field", "a"), ("time_zone", "Asia/Tokyo"))
        ),
        (
            'format = "long_json"\nvalues_field = "a"',
            "`values_field` is for format wide_json or avro, not for long_json",
        ),
        ('format = "arrow"\nseries = "$.a.b"', "'$.a.b' does not name a column; expected $.NAME"),
        ('format = "arrow"\nseries = ["$.a", "$[0]"]', "'$[0]' does not name a column; expected $.NAME"),
        ('format = "arrow"\ntime = "$"', "'$' does not name a column; expected $.NAME"),
        ('time_zone = "Mars/Base"', "expected a time zone such as Europe/Berlin, found 'Mars/Base'"),
        ('time_unit = "minutes"', "time_unit"),
        ('format = "xml"', "format"),
        ('rename = { a = "c", b = "c" }', "both renamed to channel 'c'"),
        ("[input.scale.heat]\nfactor = nan", "scale"),
        ("[input.scale.heat]\nfaktor = 2", "unknown key `faktor`"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        section(tmp_path, text)
    assert words in str(caught.value)
    assert "[input" in str(caught.value)
