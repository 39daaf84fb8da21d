"""Types by entrances: a value or a time means the same in every entrance, or is refused."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.errors import ParquetError
from connectors.parquet.dataset import discover
from connectors.parquet.reader import read_chunks
from connectors.parquet.replay_source import ParquetSource
from connectors.recording.directory import RecordingDirectory
from connectors.recording.recorder import Recorder
from connectors.recording.topics import RecordedTopic
from connectors.records import Batch, Message, Raw, Reject
from connectors.transfer import Destination, replay
from connectors.wide_json.decoder import JsonWideCodec
from detector.errors import DetectorError
from detector.offline.frames import chunk_of_frame
from trainer.pipeline import source_of

NOW = pd.Timestamp("2026-01-01T00:00:00Z")
NOW_MS = NOW.value // 10**6
REFUSED = "refused"


def decoded(values: object, timestamp: object = NOW_MS) -> tuple[float, int] | str:
    body = json.dumps({"series": "s", "timestamp": timestamp, "values": {"a": values, "b": 1.0}}).encode()
    found = JsonWideCodec(("a", "b")).decode([Raw("t", 0, 0, -1, b"s", body)])
    if found.rejects:
        assert isinstance(found.rejects[0], Reject)
        return REFUSED
    return float(found.readings.values[0, 0]), int(found.readings.timestamp_ns[0])


def from_parquet(path: Path, a: pa.Array, timestamp: pa.Array | None = None, **options: object) -> object:
    when = pa.array([NOW_MS], pa.timestamp("ms")) if timestamp is None else timestamp
    pq.write_table(pa.table({"timestamp": when, "a": a, "b": [1.0]}), path, **options)
    try:
        (chunk,) = read_chunks(discover(path, ("a", "b")))
    except ParquetError:
        return REFUSED
    return float(chunk.values[0, 0]), int(chunk.timestamp_ns[0])


def from_frame(a: pd.Series) -> object:
    frame = pd.DataFrame({"a": a.to_numpy() if a.dtype == object else a.array, "b": 1.0}, index=[NOW])
    try:
        chunk = chunk_of_frame(frame, ("a", "b"))
    except DetectorError:
        return REFUSED
    return float(chunk.values[0, 0]), int(chunk.timestamp_ns[0])


VALUES = {
    "float": (1.5, [pa.array([1.5]), pa.array([1.5], pa.float32())], [pd.Series([1.5])], 1.5),
    "integer": (7, [pa.array([7], kind) for kind in (pa.int8(), pa.uint64())], [pd.Series([7])], 7.0),
    "nullable integer": (7, [pa.array([7])], [pd.Series([7], dtype="Int64")], 7.0),
    "object of an integer": (7, [pa.array([7])], [pd.Series([7], dtype=object)], 7.0),
    "true": (True, [pa.array([True])], [pd.Series([True]), pd.Series([True], dtype="boolean")], 1.0),
    "false": (False, [pa.array([False])], [pd.Series([False], dtype=object)], 0.0),
    "decimal": (2.5, [pa.array([Decimal("2.5")])], [pd.Series([Decimal("2.5")])], 2.5),
    "dictionary": (3, [pa.array([3]).dictionary_encode()], [pd.Series([3], dtype="category")], 3.0),
    "null": (None, [pa.nulls(1), pa.nulls(1, pa.float64())], [pd.Series([None], dtype=object)], np.nan),
    "text": ("5.1", [pa.array(["5.1"])], [pd.Series(["5.1"]), pd.Series(["5.1"], dtype=object)], REFUSED),
    "comma": (
        "5,1",
        [pa.array(["5,1"]).dictionary_encode()],
        [pd.Series(["5,1"], dtype="category")],
        REFUSED,
    ),
    "list": ([1], [pa.array([[1]])], [pd.Series([[1]])], REFUSED),
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_means_the_same_at_every_entrance(kind: str, tmp_path: Path) -> None:
    message, columns, frames, expected = VALUES[kind]
    found = [decoded(message), *map(from_frame, frames)]
    found += [from_parquet(tmp_path / f"{at}.parquet", column) for at, column in enumerate(columns)]
    for one in found:
        assert one == REFUSED if expected == REFUSED else isinstance(one, tuple)
        if isinstance(one, tuple):
            np.testing.assert_equal(one, (expected, NOW.value))


TIMES = {
    "milliseconds": (NOW_MS, pa.array([NOW_MS]), 0),
    "milliseconds as a float": (float(NOW_MS), pa.array([float(NOW_MS)]), 0),
    "a text with a zone": ("2026-01-01T01:00:00+01:00", pa.array(["2026-01-01T01:00:00+01:00"]), 0),
    "a text without a zone": (
        "2026-01-01T00:00:00",
        pa.array(["2026-01-01T00:00:00"]).dictionary_encode(),
        0,
    ),
    "a date": ("2026-01-01", pa.array([NOW.date()]), 0),
    "seconds": (NOW_MS // 1000, pa.array([NOW_MS // 1000]), None),
    "seconds of 32 bits": (NOW_MS // 1000, pa.array([NOW_MS // 1000], pa.uint32()), None),
    "seconds as a float": (NOW_MS / 1000, pa.array([NOW_MS / 1000]), None),
    "microseconds": (NOW_MS * 10**3, pa.array([NOW_MS * 10**3]), None),
    "nanoseconds": (NOW.value, pa.array([NOW.value]), None),
    "zero": (0, pa.array([0]), None),
    "before 1990": ("1989-12-31T00:00:00Z", pa.array(["1989-12-31T00:00:00Z"]), None),
    "a quoted number": (str(NOW_MS), pa.array([str(NOW_MS)]), None),
    "words": ("noon", pa.array(["noon"]), None),
    "a boolean": (True, pa.array([True]), None),
}


@pytest.mark.parametrize("kind", TIMES)
def test_a_time_means_the_same_at_every_entrance(kind: str, tmp_path: Path) -> None:
    message, column, offset = TIMES[kind]
    expected = REFUSED if offset is None else (1.5, NOW.value + offset)
    assert decoded(1.5, message) == expected
    assert from_parquet(tmp_path / "a.parquet", pa.array([1.5]), column) == expected


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata"])
def test_a_timestamp_of_any_unit_and_zone_is_the_same_time(
    unit: str, zone: str | None, tmp_path: Path
) -> None:
    local = pd.DatetimeIndex([NOW]).tz_convert(zone) if zone else pd.DatetimeIndex([NOW]).tz_localize(None)
    column = pa.array([NOW.value], pa.timestamp("ns", zone)).cast(pa.timestamp(unit, zone))
    assert from_parquet(tmp_path / "a.parquet", pa.array([1.5]), column) == (1.5, NOW.value)
    options = {"use_deprecated_int96_timestamps": True}
    assert from_parquet(tmp_path / "b.parquet", pa.array([1.5]), column, **options) == (1.5, NOW.value)
    chunk = chunk_of_frame(pd.DataFrame({"a": [1.5]}, index=local.as_unit(unit)), ("a",))
    assert chunk.timestamp_ns.tolist() == [NOW.value]


def test_what_trains_is_streamed_recorded_and_trains_again(tmp_path: Path) -> None:
    """Parquet of many types, replayed, decoded, recorded: the same training rows."""
    num = 40
    columns = {
        "timestamp": pa.array(NOW_MS + np.arange(num) * 1000),
        "series": pa.array(["p1", "p2"] * (num // 2)).dictionary_encode(),
        "count": pa.array(np.arange(num), pa.int16()),
        "valve": pa.array([at % 3 == 0 for at in range(num)]),
        "price": pa.array([Decimal(at) / 4 for at in range(num)]),
        "flow": pa.array([None if at % 7 == 0 else at / 3 for at in range(num)]),
    }
    history = tmp_path / "history.parquet"
    pq.write_table(pa.table(columns), history)
    dataset = discover(history)
    messages: list[Message] = []

    class Kept:
        def produce(self, new: list[Message]) -> None:
            messages.extend(new)

    replay(ParquetSource(dataset), Kept(), Destination("t", dataset.channels), None, threading.Event())
    raw = [Raw("t", 0, at, -1, one.key, one.value) for at, one in enumerate(messages)]
    columns = tuple(range(len(dataset.channels)))
    directory = RecordingDirectory(tmp_path / "recorded", "t")
    recorder = Recorder({"t": RecordedTopic(directory, dataset.channels, columns)})
    recorder.add(Batch(JsonWideCodec(dataset.channels).decode(raw).readings, position={("t", 0): num}))
    recorder.close_files()

    def rows(path: Path) -> list[tuple[object, ...]]:
        source = source_of(path)
        assert source.channels == dataset.channels
        return [
            (int(ns), chunk.names[code], str(values.tolist()))
            for chunk in source.chunks()
            for ns, code, values in zip(chunk.timestamp_ns, chunk.series, chunk.values, strict=True)
        ]

    assert rows(tmp_path / "recorded") == rows(history)
    assert len(rows(history)) == num
