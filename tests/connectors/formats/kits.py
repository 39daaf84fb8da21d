"""An encoder for each format, and rows for it: what is encoded here has to be decoded by the codec."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from connectors.formats.channels import Selection
from connectors.formats.codec import codec_of
from connectors.formats.contract import FormCodec
from connectors.formats.form import Form
from connectors.times import Clock
from connectors.wide_json.limits import Limits
from tests.connectors.formats.schema_registry import RegistryServer, framed

CHANNELS = ("temperature", "pressure", "a b")
NOW_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
NOW_NS = NOW_MS * 1_000_000


class Row(NamedTuple):
    """A reading: NaN where a value is missing."""

    series: str
    timestamp_ns: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class Kit:
    """A format with its encoder.

    name      shown by the tests
    form      how its messages are read
    encode    rows -> messages; a message has all rows of a call where the format can have several
    several   whether a message can have several rows
    joins     whether a row comes out as a reading for each of its values
    other     a message with one value of a channel that nobody knows
    garbled   a message whose second reading of three has a text for a value; None where it has only one
    """

    name: str
    form: Form
    encode: Callable[[Sequence[Row]], list[bytes]]
    other: bytes
    several: bool = False
    joins: bool = False
    garbled: bytes | None = None

    def codec(self, channels: tuple[str, ...] = CHANNELS, limits: Limits | None = None) -> FormCodec:
        found = codec_of(channels, self.form, limits)
        assert isinstance(found, FormCodec), self.name
        return found


def given_values(row: Row) -> dict[str, float]:
    """The values of a row that are not missing."""
    return {name: value for name, value in zip(CHANNELS, row.values, strict=True) if not math.isnan(value)}


def dumps(body: object) -> bytes:
    return json.dumps(body).encode()


def microseconds(row: Row) -> int:
    return row.timestamp_ns // 1_000


def nested(row: Row) -> dict[str, object]:
    values = {
        name: None if math.isnan(value) else value for name, value in zip(CHANNELS, row.values, strict=True)
    }
    head = {"device": {"serial no": row.series}, "at": [0, microseconds(row)]}
    return {"head": head, "data": {"now": values}}


def flat(row: Row) -> dict[str, object]:
    return {"id": row.series, "ts": row.timestamp_ns, "firmware": "2.1", **given_values(row)}


def long(row: Row) -> list[dict[str, object]]:
    return [
        {"machine": row.series, "tag": name, "reading": value, "at": microseconds(row)}
        for name, value in given_values(row).items()
    ]


NESTED = Form(
    series=("$.head.device['serial no']",),
    time="$.head.at[1]",
    values="$.data.now",
    clock=Clock("us"),
)
FLAT = Form(series=("$.id",), time="$.ts", values="$", clock=Clock("ns"))
LONG = Form("long_json", ("$.machine",), "$.at", channel="$.tag", value="$.reading", clock=Clock("us"))
INSIDE = Form(series=("@.id",), time="@.ts", values="@", records="$.batch", clock=Clock("ns"))
BAD = {"id": "b", "ts": NOW_NS, "temperature": "high"}
GOOD = {"id": "a", "ts": NOW_NS, "temperature": 1.5}
LINES = Form(
    "line_protocol",
    ("$.host",),
    selection=Selection(
        rename={"weather_temperature": "temperature", "weather_pressure": "pressure", "weather_a b": "a b"}
    ),
)


def escaped(name: str) -> str:
    return re.sub(r"([,= ])", r"\\\1", name)


def line(row: Row) -> bytes:
    fields = ",".join(f"{escaped(name)}={value!r}" for name, value in given_values(row).items())
    tags = f"host={escaped(row.series)},site=north"
    return f'weather,{tags} {fields},note="dry, \\"hot\\"" {row.timestamp_ns}'.encode()


ARROW = Form("arrow", ("$.machine",), "$.at", clock=Clock("s"))


def stream(columns: dict[str, object]) -> bytes:
    return written(pa.RecordBatch.from_pydict(columns))


def written(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def arrow(rows: Sequence[Row], coded: bool = False) -> bytes:
    """One stream; `coded`: series by a dictionary, times as numbers, missing values as null."""
    series: pa.Array = pa.array([row.series for row in rows])
    stamps = [row.timestamp_ns for row in rows]
    values = {name: [row.values[at] for row in rows] for at, name in enumerate(CHANNELS)}
    if coded:
        nulls = {name: [None if math.isnan(one) else one for one in cells] for name, cells in values.items()}
        typed = {name: pa.array(cells, pa.float64()) for name, cells in nulls.items()}
        return stream(
            {"machine": series.dictionary_encode(), "at": stamps, "note": ["x"] * len(rows), **typed}
        )
    return stream({"machine": series, "at": pa.array(stamps, pa.timestamp("ns")), **values})


TWINS = written(
    pa.RecordBatch.from_arrays(
        [pa.array(["a"]), pa.array([NOW_NS], pa.timestamp("ns")), pa.array([1.0]), pa.array([2.0])],
        ["machine", "at", "temperature", "temperature"],
    )
)
"""An Arrow stream with two columns of one name."""
REGISTRY = RegistryServer()
"""A registry for the whole run; its thread ends with the process."""
WIDE_SCHEMA = {
    "type": "record",
    "name": "Reading",
    "namespace": "plant",
    "fields": [
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "ts", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
        {"name": "firmware", "type": "string"},
        {"name": "data", "type": {"type": "map", "values": ["null", "double"]}},
    ],
}
BATCH_SCHEMA = {
    "type": "record",
    "name": "Batch",
    "fields": [{"name": "batch", "type": {"type": "array", "items": WIDE_SCHEMA}}],
}
LONG_SCHEMA = {
    "type": "record",
    "name": "Tag",
    "fields": [
        {"name": "machine", "type": "string"},
        {"name": "tag", "type": "string"},
        {"name": "reading", "type": ["double", "string", "null"]},
        {"name": "at", "type": "long"},
    ],
}
AVRO = Form("avro", ("$.id",), "$.ts", "$.data", schemas=REGISTRY.client())
AVRO_INSIDE = Form("avro", ("@.id",), "@.ts", "@.data", records="$.batch", schemas=REGISTRY.client())
LONG_AVRO = Form(
    "long_avro",
    ("$.machine",),
    "$.at",
    channel="$.tag",
    value="$.reading",
    clock=Clock("us"),
    schemas=REGISTRY.client(),
)
for _number, _schema in enumerate((WIDE_SCHEMA, BATCH_SCHEMA, LONG_SCHEMA), 1):
    REGISTRY.register(_number, _schema)


def record(row: Row) -> dict[str, object]:
    return {"id": row.series, "ts": microseconds(row), "firmware": "2.1", "data": given_values(row)}


UNKNOWN_RECORD = {"id": "a", "ts": NOW_NS // 1_000, "firmware": "2.1", "data": {"x": 1.0}}
CSV = Form("csv", ("$.id",), "$.ts", clock=Clock("us"), columns=("id", "ts", "note", *CHANNELS, "x"))


def csv_text(rows: Sequence[Sequence[object]], delimiter: str = ",") -> bytes:
    text = StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue().encode()


def csv_row(row: Row) -> list[object]:
    cells = ["" if math.isnan(value) else repr(value) for value in row.values]
    return [row.series, microseconds(row), 'dry, "hot"', *cells, "NA"]


def with_comma(row: Row) -> list[object]:
    stamp = str(np.datetime64(row.timestamp_ns // 1_000, "us"))
    cells = ["" if math.isnan(value) else repr(value).replace(".", ",") for value in row.values]
    return [stamp, *cells, row.series, ""]


KITS = (
    Kit(
        "nested wide JSON",
        NESTED,
        lambda rows: [dumps(nested(row)) for row in rows],
        dumps(
            {"head": {"device": {"serial no": "a"}, "at": [0, NOW_NS // 1_000]}, "data": {"now": {"x": 1}}}
        ),
    ),
    Kit(
        "flat JSON",
        FLAT,
        lambda rows: [dumps(flat(row)) for row in rows],
        dumps({"id": "a", "ts": NOW_NS, "x": 1}),
    ),
    Kit(
        "array of wide JSON",
        FLAT,
        lambda rows: [dumps([flat(row) for row in rows])],
        dumps([{"id": "a", "ts": NOW_NS, "x": 1}]),
        several=True,
        garbled=dumps([GOOD, BAD, GOOD]),
    ),
    Kit(
        "array inside JSON",
        INSIDE,
        lambda rows: [dumps({"batch": [flat(row) for row in rows]})],
        dumps({"batch": [{"id": "a", "ts": NOW_NS, "x": 1}]}),
        several=True,
        garbled=dumps({"batch": [GOOD, BAD, GOOD]}),
    ),
    Kit(
        "long JSON",
        LONG,
        lambda rows: [dumps(one) for row in rows for one in long(row)],
        dumps({"machine": "a", "tag": "x", "reading": 1, "at": NOW_NS // 1_000}),
        joins=True,
    ),
    Kit(
        "array of long JSON",
        LONG,
        lambda rows: [dumps([one for row in rows for one in long(row)])],
        dumps([{"machine": "a", "tag": "x", "reading": 1, "at": NOW_NS // 1_000}]),
        several=True,
        joins=True,
        garbled=dumps(
            [
                {"machine": "a", "tag": "temperature", "reading": value, "at": NOW_NS // 1_000}
                for value in (1.5, "high", 1.5)
            ]
        ),
    ),
    Kit(
        "line protocol",
        LINES,
        lambda rows: [b"# lines\n" + b"\n".join(map(line, rows)) + b"\n"],
        f'weather,host=a x=1,mood="good" {NOW_NS}'.encode(),
        several=True,
        garbled="\n".join(
            f"weather,host=a temperature={v} {NOW_NS}" for v in ("1.5", '"high"', "1.5")
        ).encode(),
    ),
    Kit(
        "Arrow IPC",
        ARROW,
        lambda rows: [arrow(rows)],
        stream({"machine": ["a"], "at": pa.array([NOW_NS // 1_000], pa.timestamp("us")), "x": [1]}),
        several=True,
    ),
    Kit(
        "Arrow IPC with dictionaries and numbers as times",
        Form("arrow", ("$.machine",), "$.at", clock=Clock("ns")),
        lambda rows: [arrow(rows, coded=True)],
        stream({"machine": ["a"], "at": [NOW_NS], "x": [True]}),
        several=True,
    ),
    Kit(
        "Avro",
        AVRO,
        lambda rows: [framed(1, WIDE_SCHEMA, record(row)) for row in rows],
        framed(1, WIDE_SCHEMA, UNKNOWN_RECORD),
    ),
    Kit(
        "array inside Avro",
        AVRO_INSIDE,
        lambda rows: [framed(2, BATCH_SCHEMA, {"batch": [record(row) for row in rows]})],
        framed(2, BATCH_SCHEMA, {"batch": [UNKNOWN_RECORD]}),
        several=True,
    ),
    Kit(
        "long Avro",
        LONG_AVRO,
        lambda rows: [framed(3, LONG_SCHEMA, one) for row in rows for one in long(row)],
        framed(3, LONG_SCHEMA, {"machine": "a", "tag": "x", "reading": 1.0, "at": NOW_NS // 1_000}),
        joins=True,
    ),
    Kit(
        "CSV",
        CSV,
        lambda rows: [csv_text([CSV.columns, *map(csv_row, rows)])],
        f"a,{NOW_NS // 1_000},n,,,,4".encode(),
        several=True,
        garbled=csv_text([["a", NOW_NS // 1_000, "", value, "", "", ""] for value in ("1.5", "high", "1.5")]),
    ),
    Kit(
        "CSV with decimal commas",
        Form(
            "csv",
            ("$.id",),
            "$.when",
            columns=("when", *CHANNELS, "id", "x"),
            delimiter=";",
            decimal_comma=True,
        ),
        lambda rows: [csv_text([with_comma(row)], ";") for row in rows],
        b"2026-01-01;;;;a;4,5",
    ),
)
