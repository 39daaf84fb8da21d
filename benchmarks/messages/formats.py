"""Readings a second of each format of messages, as a ratio to wide JSON in the same run.

Messages have 8 channels. Formats with several readings in a message have 200. Wide JSON itself is given in
messages a second. Each ratio is measured in turn with wide JSON, so that a slow machine changes both.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO

import fastavro
import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.measurement import Measurement, alternate
from connectors.formats.avro.registry import SchemaRegistry
from connectors.formats.codec import codec_of
from connectors.formats.form import Form
from connectors.http_post import Endpoint
from connectors.records import Raw, RawColumns

CHANNELS = tuple(f"channel_{number}" for number in range(8))
START_MS = 1_767_225_600_000
ROWS_A_MESSAGE = 200
_FLOORS = {"Arrow IPC": 5.0}
_FLAT = Form(series=("$.series",), time="$.timestamp", values="$")

_CSV = Form("csv", columns=("series", "timestamp", *CHANNELS))
_DOUBLES = [{"name": name, "type": ["null", "double"]} for name in CHANNELS]
_SCHEMA = {
    "type": "record",
    "name": "Reading",
    "fields": [{"name": "series", "type": "string"}, {"name": "timestamp", "type": "long"}, *_DOUBLES],
}


def measure(quick: bool) -> list[Measurement]:
    """Measure each format against wide JSON."""
    num_rows, num_rounds = (400, 1) if quick else (40_000, 5)
    values = np.random.default_rng(7).normal(size=(num_rows, len(CHANNELS))).round(4)
    wide = _decoding(Form(), [_wide(row, cells) for row, cells in enumerate(values.tolist())], num_rows)
    found = [
        Measurement("wide JSON, decoded", wide(), "messages/s"),
        _against_parser(values, wide, num_rounds),
    ]
    for name, (form, messages) in _formats(values).items():
        rate, base = alternate(_decoding(form, messages, num_rows), wide, num_rounds)
        detail = {"readings_per_second": round(rate), "wide_json_per_second": round(base)}
        title = f"{name} / wide JSON, readings a second"
        found.append(Measurement(title, rate / base, "x", floor=_FLOORS.get(name), detail=detail))
    return found


def _against_parser(values: NDArray[np.float64], wide: Callable[[], float], num_rounds: int) -> Measurement:
    """Measure the time to columns beside that of the JSON parser alone, which makes objects of Python."""
    messages = [_wide(row, cells) for row, cells in enumerate(values.tolist())]

    def parsed() -> float:
        start = time.perf_counter()
        for message in messages:
            orjson.loads(message)
        return len(messages) / (time.perf_counter() - start)

    rate, base = alternate(wide, parsed, num_rounds)
    detail = {"messages_per_second": round(rate), "orjson_per_second": round(base)}
    title = "wide JSON to columns, time / orjson.loads"
    return Measurement(title, base / rate, "x", ceiling=2.0, detail=detail)


def _formats(values: np.ndarray) -> dict[str, tuple[Form, list[bytes]]]:  # type: ignore[type-arg]
    rows = list(enumerate(values.tolist()))
    chunks = [rows[at : at + ROWS_A_MESSAGE] for at in range(0, len(rows), ROWS_A_MESSAGE)]
    long = [
        {"series": _series(row), "timestamp": START_MS + row, "channel": name, "value": value}
        for row, cells in rows[: len(rows) // len(CHANNELS)]
        for name, value in zip(CHANNELS, cells, strict=True)
    ]
    lines = Form("line_protocol", ("$.host",))
    return {
        "flat JSON": (_FLAT, [orjson.dumps(_flat(row, cells)) for row, cells in rows]),
        "array of flat JSON": (_FLAT, [orjson.dumps([_flat(*row) for row in chunk]) for chunk in chunks]),
        "long JSON": (Form("long_json"), list(map(orjson.dumps, long))),
        "line protocol": (lines, [b"\n".join(_line(*row) for row in chunk) for chunk in chunks]),
        "Arrow IPC": (Form("arrow"), list(map(_arrow, chunks))),
        "CSV": (_CSV, [",".join(map(str, _flat(row, cells).values())).encode() for row, cells in rows]),
        "Avro": (Form("avro", values="$", schemas=_registry()), [_avro(*row) for row in rows]),
    }


def _decoding(form: Form, messages: Sequence[bytes], num_rows: int) -> Callable[[], float]:
    """Return a function that decodes the messages and returns readings a second."""
    raw = RawColumns.of([Raw("t", 0, at, START_MS, b"k", value) for at, value in enumerate(messages)])
    names = tuple(f"m_{name}" for name in CHANNELS) if form.kind == "line_protocol" else CHANNELS
    codec = codec_of(names, form)

    def run() -> float:
        start = time.perf_counter()
        decoded = codec.decode_columns(raw)
        seconds = time.perf_counter() - start
        assert (len(decoded.readings), decoded.rejects) == (num_rows, ()), decoded.rejects[:1]
        return num_rows / seconds

    return run


def _series(row: int) -> str:
    return f"pump-{row % 100}"


def _wide(row: int, cells: list[float]) -> bytes:
    values = dict(zip(CHANNELS, cells, strict=True))
    return orjson.dumps({"series": _series(row), "timestamp": START_MS + row, "values": values})


def _flat(row: int, cells: list[float]) -> dict[str, object]:
    return {"series": _series(row), "timestamp": START_MS + row, **dict(zip(CHANNELS, cells, strict=True))}


def _line(row: int, cells: list[float]) -> bytes:
    fields = ",".join(f"{name}={value}" for name, value in zip(CHANNELS, cells, strict=True))
    return f"m,host={_series(row)} {fields} {(START_MS + row) * 10**6}".encode()


def _avro(row: int, cells: list[float]) -> bytes:
    body = BytesIO()
    fastavro.schemaless_writer(body, _SCHEMA, _flat(row, cells))
    return b"\x00\x00\x00\x00\x01" + body.getvalue()


def _registry() -> SchemaRegistry:
    """Return a registry that has fetched the schema of the messages from a server in this process."""
    answer = orjson.dumps({"schema": orjson.dumps(_SCHEMA).decode()})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        found = SchemaRegistry(Endpoint(f"http://127.0.0.1:{server.server_address[1]}"))
        found.fetch([1])
        thread.join()
    return found


def _arrow(chunk: list[tuple[int, list[float]]]) -> bytes:
    cells = np.array([cells for _, cells in chunk])
    columns = {name: pa.array(cells[:, at]) for at, name in enumerate(CHANNELS)}
    series, stamps = [_series(row) for row, _ in chunk], [START_MS + row for row, _ in chunk]
    batch = pa.record_batch({"series": series, "timestamp": stamps, **columns})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())
