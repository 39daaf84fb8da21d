"""Line protocol: escapes, types, times, and what a line becomes."""

from __future__ import annotations

from typing import SupportsIndex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.formats.codec import codec_of
from connectors.formats.contract import RefusedError
from connectors.formats.form import Form
from connectors.formats.line_protocol.lines import MOST_BAD, Line, lines_of
from connectors.records import Raw, RawColumns
from connectors.times import Clock

NOW_S = 1_767_225_600
NOW_NS = NOW_S * 10**9


def one(text: str) -> Line:
    (found,) = lines_of(text)
    assert isinstance(found, Line), found
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m f=1 5", Line("m", {}, {"f": 1.0}, 5)),
        ("m f=1", Line("m", {}, {"f": 1.0}, None)),
        (
            "m,a=b f=-1.5e3,g=7i,h=7u,k=t,l=FALSE -5",
            Line("m", {"a": "b"}, {"f": -1500.0, "g": 7.0, "h": 7.0, "k": True, "l": False}, -5),
        ),
        (r"my\ m\,x,t\=g=v\ 1\,2 f\ f=1", Line("my m,x", {"t=g": "v 1,2"}, {"f f": 1.0}, None)),
        (r"m=a,t=C:\x f=1", Line("m=a", {"t": r"C:\x"}, {"f": 1.0}, None)),
        (r'm s="a, b=c \" \\ \n",f=2 9', Line("m", {}, {"s": 'a, b=c " \\ \\n', "f": 2.0}, 9)),
        ('m s="two\nlines",f=2 9', Line("m", {}, {"s": "two\nlines", "f": 2.0}, 9)),
        (r"m,t=a\\ b f=1", Line("m", {"t": "a\\ b"}, {"f": 1.0}, None)),
    ],
)
def test_a_line_is_read_as_the_specification_says(text: str, expected: Line) -> None:
    assert one(text) == expected
    assert one(f"# comment\r\n\r\n  {text}\r\n") == expected


@pytest.mark.parametrize(
    "text",
    [
        *("m", "m f", "m f=", "m f=1 x", "m f=1 5 5", "m,a f=1", "m,a= f=1", ",a=b f=1", "m =1", "m f=nan"),
        *("m f=1_0", "m f=0x1", "m f=high", 'm f="open', "m f=1,", "m f=1 1.5", "m,a=b=c f=1", 'm f="a"b 1'),
        *("m f=inf", "m f=1ii", r"m,a=b\\,c f=1 2 3", "m f=٣"),
    ],
)
def test_a_line_that_is_none_is_refused_and_the_next_one_read(text: str) -> None:
    for quoted in ("n g=1", 'n g=1,s="x"'):
        first, second = (
            lines_of(f"{text}\n{quoted}") if '"open' not in text else (*lines_of(text), one(quoted))
        )
        assert isinstance(first, RefusedError), first
        assert first.refusal.reason == "malformed"
        assert isinstance(second, Line)


class Counted(str):
    """A text that counts the letters which slices copy."""

    copied = 0

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        found = super().__getitem__(key)
        type(self).copied += len(found)
        return found


@pytest.mark.parametrize("bad", ["x\n", ",\n", "m f=1 x\n", 'm f="a"b\n', "m,a f=1" + " " * 500 + "\n"])
def test_bad_lines_copy_only_what_their_refusals_show(bad: str) -> None:
    text = Counted("\\\n" + bad * 900)
    Counted.copied = 0
    found = list(lines_of(text))
    assert len(found) == 901
    assert all(isinstance(line, RefusedError) for line in found)
    assert Counted.copied <= 901 * 61


@pytest.mark.parametrize("escape", ["", 'n s="x",g=1\n'])
def test_a_message_is_given_up_after_many_bad_lines(escape: str) -> None:
    num = bool(escape)
    last = [*lines_of(escape + "x\n" * (MOST_BAD - 1) + "m f=1")]
    assert len(last) == MOST_BAD + num
    assert last[-1] == Line("m", {}, {"f": 1.0}, None)
    assert len([*lines_of(escape + "x\n" * 400_000 + "m f=1")]) == MOST_BAD + num


name = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\\"), min_size=1).filter(str.strip)


@given(
    st.lists(st.tuples(name, name), max_size=3, unique_by=lambda pair: pair[0]),
    name,
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_names_with_any_letter_survive(tags: list[tuple[str, str]], field: str, value: float) -> None:
    def written(text: str) -> str:
        return text.replace(",", r"\,").replace("=", r"\=").replace(" ", r"\ ")

    head = "".join(f",{written(key)}={written(text)}" for key, text in tags)
    found = one(f'm{head} {written(field)}={value!r},other="" 1')
    assert (found.tags, found.fields) == (dict(tags), {field: value, "other": ""})


def test_tags_name_the_series_and_belong_to_the_channel() -> None:
    form = Form("line_protocol", ("$.site", "$.host"), clock=Clock("s"), channel_tags=("cpu",))
    text = (
        f"cpu,site=n,host=a,cpu=cpu0 idle=1,busy=9 {NOW_S}\n"
        f"cpu,site=n,host=a,cpu=cpu1 idle=2 {NOW_S}\n"
        f"mem,site=n,host=b used=3i {NOW_S}\n"
        f"mem,site=n used=3i {NOW_S}\n"
    )
    codec = codec_of(("cpu_cpu0_idle", "cpu_cpu1_idle", "mem_used"), form)
    (reject,), readings = (found := codec.decode_columns(_raw(text))).rejects, found.readings
    assert [readings.names[code] for code in readings.series] == ["n/a", "n/a", "n/b"]
    assert readings.values.tolist()[2][2] == 3.0
    assert readings.timestamp_ns.tolist() == [NOW_NS] * 3
    assert found.unknown_values == 1
    assert (reject.reason, reject.detail) == ("missing_field", "line 4: no field $.host")


def test_a_line_without_a_time_has_that_of_the_broker() -> None:
    codec = codec_of(("m_f",), Form("line_protocol", ("$.h",)))
    assert codec.decode_columns(_raw("m,h=a f=1")).readings.timestamp_ns.tolist() == [NOW_NS]
    (reject,) = codec.decode_columns(_raw("m,h=a f=1", -1)).rejects
    assert reject.reason == "bad_timestamp"
    own = codec_of(("m_f",), Form("line_protocol", ("$.h",), "broker"))
    assert own.decode_columns(_raw(f"m,h=a f=1 {NOW_NS - 10**9}")).readings.timestamp_ns.tolist() == [NOW_NS]


def test_another_precision_than_the_configured_one_is_noticed() -> None:
    codec = codec_of(("m_f",), Form("line_protocol", ("$.h",)))
    (reject,) = codec.decode_columns(_raw(f"m,h=a f=1 {NOW_S}")).rejects
    assert "are these seconds? nanoseconds are expected" in reject.detail


def _raw(text: str, broker_ms: int = NOW_S * 1000) -> RawColumns:
    return RawColumns.of([Raw("t", 0, 0, broker_ms, None, text.encode())])
