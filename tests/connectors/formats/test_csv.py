"""CSV in messages: cells, decimal commas, headers, quotes, what is refused and with which words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from connectors.errors import CodecError
from connectors.formats.codec import codec_of
from connectors.formats.form import Form
from connectors.records import Decoded, Raw, RawColumns

NOW_MS = 1_767_225_600_000
COMMA = Form(
    "csv", ("$.id",), "$.at", columns=("id", "at", "flow", "heat"), delimiter=";", decimal_comma=True
)
POINT = Form("csv", ("$.id", "key"), "$.at", columns=("id", "at", "flow", "heat"))


def decode(form: Form, *values: str) -> Decoded:
    raws = [Raw("t", 0, at, NOW_MS, b"k", value.encode()) for at, value in enumerate(values)]
    return codec_of(("flow", "heat"), form).decode_columns(RawColumns.of(raws))


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *(("5", 5.0), ("5,25", 5.25), (" -5,25 ", -5.25), (",5", 0.5), ("1,5e3", 1500.0)),
        *(("", math.nan), ("NA", math.nan), ("null", math.nan), ("inf", math.nan), ("TRUE", 1.0)),
        *(("false", 0.0), ('"7,5"', 7.5)),
    ],
)
def test_cells(cell: str, value: float) -> None:
    found = decode(COMMA, f"a;{NOW_MS};1;{cell}\r\n")
    assert found.rejects == ()
    np.testing.assert_array_equal(found.readings.values, [[1.0, value]])


@pytest.mark.parametrize("cell", ["high", "1_000", "1.5", "1,000,000", "0x10", "5 bar", "١"])
def test_a_text_is_no_number(cell: str) -> None:
    (reject,) = decode(COMMA, f"a;{NOW_MS};1;{cell}").rejects
    assert (reject.reason, reject.series) == ("wrong_type", "a")
    assert reject.detail == "line 1: expected a number, got a text - at channel 'heat'"


def test_times_headers_quotes_and_several_lines() -> None:
    text = 'id,at,flow,heat\n"a,\n""b""",2026-01-01T00:00:00Z,1.5,2\n\n"c",1767225600001.5,3,4\n'
    readings = decode(POINT, "\ufeff" + text).readings
    assert readings.names == ('a,\n"b"/k', "c/k")
    assert (readings.timestamp_ns - NOW_MS * 10**6).tolist() == [0, 1_500_000]
    assert readings.offset.tolist() == [0, 0]


@pytest.mark.parametrize("names", [("id", "at", "flow", "heat"), ("id", " at", "flow", "heat")])
def test_blanks_around_the_names_of_a_header_do_not_matter(names: tuple[str, ...]) -> None:
    form = Form("csv", ("$.id",), f"$['{names[1]}']", columns=names)
    found = decode(form, f"id, at, flow, heat\na, {NOW_MS}, 1.5, 2\n", f"b,{NOW_MS},1.5,2")
    assert (found.rejects, found.readings.names) == ((), ("a", "b"))


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("a;1;2", "line 1: 3 cells, expected 4: id;at;flow;heat"),
        ('a;1;2;"3', "line 1: no line of CSV: unexpected end of data"),
        ("\n\n", "line 1: the message has no line"),
        (f"a;{NOW_MS};1;2\nb;1;2", "line 2: 3 cells, expected 4: id;at;flow;heat"),
    ],
)
def test_what_is_no_line_is_refused(text: str, detail: str) -> None:
    (reject,) = decode(COMMA, text).rejects
    assert (reject.reason, reject.detail) == ("malformed", detail)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (Form("csv"), "set columns"),
        (Form("csv", columns=("series", "timestamp", "a", "a")), "'a' twice"),
        (Form("csv", columns=("series", "a")), "timestamp is none of the columns series, a"),
        (Form("csv", columns=("series", "timestamp"), delimiter=";;"), "must be one character"),
        (Form("csv", columns=("series", "timestamp"), delimiter='"'), "must be one character"),
        (Form("csv", columns=("series", "timestamp"), decimal_comma=True), "needs another delimiter"),
    ],
)
def test_a_form_that_cannot_be_read_is_named(form: Form, words: str) -> None:
    with pytest.raises(CodecError, match=words):
        codec_of(("flow",), form)
