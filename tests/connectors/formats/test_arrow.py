"""Arrow in messages: columns and their types, rows without a series or a time, what is refused, the page."""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from connectors.formats.codec import channels_in, codec_of
from connectors.formats.form import Form
from connectors.records import Decoded, Raw, RawColumns
from connectors.times import Clock
from detector.config.input.section import InputSection, form_of, input_codec
from tests.connectors.formats.kits import NOW_MS, NOW_NS, stream, written
from tests.connectors.formats.test_page import PAGE
from trainer.setup.topic import reading_line

FORM = Form("arrow", ("$.machine",), "$.at")
AT = pa.array([NOW_MS, NOW_MS + 1], pa.timestamp("ms"))


def decoded(*messages: bytes, form: Form = FORM, channels: tuple[str, ...] = ("flow",)) -> Decoded:
    raws = [Raw("plant", 0, at, NOW_MS, b"k", value) for at, value in enumerate(messages)]
    return codec_of(channels, form).decode_columns(RawColumns.of(raws))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([3, 4], pa.int8()),
        pa.array([3, 4], pa.uint64()),
        pa.array([3, 4], pa.float32()),
        pa.array([Decimal("3.00"), Decimal("4.00")]),
        pa.array([3.0, 4.0]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_every_number_is_a_value(column: pa.Array) -> None:
    assert decoded(stream({"machine": ["a", "b"], "at": AT, "flow": column})).readings.values.tolist() == [
        [3],
        [4],
    ]


@pytest.mark.parametrize(
    ("column", "clock"),
    [
        (pa.array([NOW_MS // 1000], pa.timestamp("s")), None),
        (pa.array([NOW_NS], pa.timestamp("ns", "Asia/Tokyo")), Clock(zone=ZoneInfo("Europe/Berlin"))),
        (pa.array([NOW_MS + 3_600_000], pa.timestamp("ms")), Clock(zone=ZoneInfo("Europe/Berlin"))),
        (pa.array([NOW_MS]), None),
        (pa.array([NOW_MS / 1000]), Clock("s")),
        (pa.array(["2026-01-01T00:00:00"]), None),
    ],
)
def test_times_have_the_unit_and_zone_of_the_column_or_the_clock(
    column: pa.Array, clock: Clock | None
) -> None:
    form = Form("arrow", ("key",), "$.at", clock=clock)
    found = decoded(stream({"at": column, "flow": [1.0]}), form=form)
    assert found.readings.timestamp_ns.tolist() == [NOW_NS]
    assert found.readings.names == ("k",)


def test_a_row_without_series_or_time_leaves_the_others() -> None:
    columns: dict[str, Any] = {
        "machine": ["a", None, "c"],
        "at": pa.array([NOW_MS, NOW_MS, None], pa.timestamp("ms")),
        "flow": [1.0, 2.0, 3.0],
    }
    found = decoded(stream(columns), stream({**columns, "machine": ["a", "b", "c"]}))
    assert [found.readings.names[code] for code in found.readings.series] == ["a", "a", "b"]
    assert [(one.reason, one.offset) for one in found.rejects] == [("missing_field", 0), ("missing_field", 1)]
    assert found.rejects[1].detail == "column $.at is null in a row"


def test_a_compressed_stream_and_one_of_endless_rows_are_refused() -> None:
    batch = pa.record_batch({"machine": ["a"] * 9_000, "at": [NOW_MS] * 9_000, "flow": [0.0] * 9_000})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(batch)
    nulls = pa.record_batch({"flow": pa.nulls(10**9)})
    endless = pa.BufferOutputStream()
    with pa.ipc.new_stream(endless, nulls.schema) as writer:
        writer.write_batch(nulls)
    values = (sink.getvalue().to_pybytes(), endless.getvalue().to_pybytes())
    first, second = decoded(*values, form=Form("arrow", ("key",), "broker")).rejects
    assert (first.reason, second.reason) == ("malformed", "malformed")
    assert "leave compression to Kafka" in first.detail
    assert "1000000000 rows" in second.detail


@pytest.mark.parametrize("name", ["machine", "at", "flow", "other", ""])
def test_two_columns_of_one_name_refuse_their_message_alone(name: str) -> None:
    columns: dict[str, pa.Array] = {"machine": pa.array(["a"]), "at": AT[:1], "flow": pa.array([1.0])}
    good = stream(dict(columns))
    twin = columns.get(name, pa.array([2.0]))
    pairs = [*columns.items(), (name, twin), (name, twin)]
    batch = pa.RecordBatch.from_arrays([column for _, column in pairs], [called for called, _ in pairs])
    found = decoded(good, written(batch), good)
    (reject,) = found.rejects
    num = 3 if name in columns else 2
    assert (reject.offset, reject.reason) == (1, "malformed")
    assert reject.detail == f"{num} columns are called {name!r}"
    assert found.readings.offset.tolist() == [0, 2]


@pytest.mark.parametrize(
    "column",
    [pa.array([True] * 60_000), pa.nulls(60_000), pa.array(np.zeros(60_000, np.int8))],
    ids=["booleans", "nulls", "bytes"],
)
def test_a_small_message_of_many_cells_is_refused(column: pa.Array) -> None:
    channels = ("flow", *(f"c{at}" for at in range(99)))
    form, small = Form("arrow", ("key",), "broker"), stream({"flow": column})
    good = stream({"flow": [1.0]})
    found = decoded(good, small, good, form=form, channels=channels)
    (reject,) = found.rejects
    assert reject.reason == ("too_large" if len(small) > 60_000 else "malformed")
    assert "60000 rows" in reject.detail
    assert found.readings.offset.tolist() == [0, 2]


@pytest.mark.parametrize("at", ["machine", "at", "flow"])
def test_a_dictionary_that_grows_is_refused(at: str) -> None:
    num = 50_000
    text = pa.array(["s" * 100_000, "2026-01-01"])
    codes = pa.DictionaryArray.from_arrays(np.zeros(num, np.int8), text)
    columns = {
        "machine": pa.array(["a"] * num).dictionary_encode(),
        "at": [NOW_MS] * num,
        "flow": [1.0] * num,
    }
    grows = stream({**columns, at: codes})
    assert len(grows) < 1 << 20
    (reject,) = decoded(grows).rejects
    assert reject.reason == "too_large"
    assert reject.detail == "texts of 100000 bytes in a dictionary for 50000 rows"


def test_a_dictionary_of_lists_is_no_channel() -> None:
    lists = pa.DictionaryArray.from_arrays(np.zeros(2, np.int8), pa.array([[1.0, 2.0]]))
    (reject,) = decoded(stream({"machine": ["a", "b"], "at": AT, "flow": lists})).rejects
    assert reject.reason == "wrong_type"


def test_messages_of_several_schemas_keep_their_order() -> None:
    narrow = stream({"machine": ["a"], "at": AT[:1], "flow": [1.0]})
    wide = stream({"machine": ["b"], "at": AT[:1], "flow": [2], "heat": [5]})
    wrong = stream({"machine": ["c"], "at": AT[:1], "flow": ["high"]})
    found = decoded(narrow, wide, narrow, wrong, b"none", wide)
    assert found.readings.offset.tolist() == [0, 1, 2, 5]
    np.testing.assert_array_equal(found.readings.values[:, 0], [1, 2, 1, 2])
    assert [(one.offset, one.reason) for one in found.rejects] == [(3, "wrong_type"), (4, "malformed")]
    assert found.unknown_values == 2


def test_the_example_of_the_page_gives_the_readings_that_it_shows() -> None:
    section = PAGE.read_text().partition("\n## Arrow IPC\n")[2].partition("\n## ")[0]
    config, code, expected = re.findall(r"```(?:toml|python|text)\n(.*?)```", section, re.DOTALL)
    made: dict[str, Any] = {}
    exec(code, made)
    raw = RawColumns.of([Raw("readings", 0, 0, NOW_MS, None, made["message"])])
    given = InputSection.model_validate(tomllib.loads(config)["input"])
    channels = channels_in(raw, form_of(given))
    found = input_codec(channels, given).decode_columns(raw).readings
    assert [reading_line(found, row, channels).strip() for row in range(len(found))] == expected.splitlines()
