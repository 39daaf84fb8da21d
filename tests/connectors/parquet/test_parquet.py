"""Parquet in and out: what is found, read and replayed, and what is refused with which words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import ParquetError
from connectors.parquet import replay_source
from connectors.parquet.dataset import Dataset, discover, infer_interval
from connectors.parquet.reader import Chunk, read_chunks
from connectors.parquet.replay_source import ParquetSource
from connectors.parquet.writer import TableWriter
from connectors.records import Readings

SECOND = 10**9


def times(*seconds: float) -> pa.Array:
    return pa.array([round(s * 1000) for s in seconds], pa.timestamp("ms", tz="UTC"))


def write(path: Path, columns: dict, metadata: dict | None = None, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if metadata:
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, path, **options)
    return path


def only_chunk(path: Path) -> Chunk:
    (chunk,) = read_chunks(discover(path))
    return chunk


def replayed(source: ParquetSource) -> list[Readings]:
    found = []
    while (batch := source.poll(0.0)) is not None:
        found.append(batch.readings)
    source.close()
    return found


def rows_of(readings: list[Readings]) -> list[tuple]:
    """(series, second, first value) of every reading, in order."""
    return [
        (part.names[code], ns / SECOND, value)
        for part in readings
        for code, ns, value in zip(part.series, part.timestamp_ns, part.values[:, 0], strict=True)
    ]


# What is found


def test_channels_are_the_numeric_columns_that_are_not_reserved(tmp_path: Path) -> None:
    columns = {
        "flow": [1.0],
        "label": [1],
        "note": ["x"],
        "timestamp": times(0),
        "split": ["train"],
        "series": ["a"],
        "valve": [True],
        "count": pa.array([3], pa.uint16()),
    }
    dataset = discover(write(tmp_path / "a.parquet", columns, {"interval_s": "60", "vus_window": "12"}))
    assert dataset.channels == ("flow", "valve", "count")
    assert (dataset.has_label, dataset.has_split, dataset.num_rows) == (True, True, 1)
    assert dataset.interval_ns == 60 * SECOND
    assert dataset.metadata["vus_window"] == "12"


@pytest.mark.parametrize("stated", ["nan", "0", "-5", "soon", "inf"])
def test_an_interval_that_is_none_is_not_believed(tmp_path: Path, stated: str) -> None:
    path = write(tmp_path / "a.parquet", {"timestamp": times(0), "x": [1.0]}, {"interval_s": stated})
    assert discover(path).interval_ns is None


def test_the_nameless_index_that_pandas_writes_is_no_channel(tmp_path: Path) -> None:
    when = pd.to_datetime([60, 120, 180, 240], unit="s", utc=True)
    frame = pd.DataFrame({"timestamp": when, "flow": [1.0, 2.0, 3.0, 4.0]})
    frame.drop(index=2).to_parquet(tmp_path / "history.parquet")
    assert "__index_level_0__" in pq.read_schema(tmp_path / "history.parquet").names
    assert discover(tmp_path / "history.parquet").channels == ("flow",)


def test_a_directory_is_searched_and_hidden_files_are_left_alone(tmp_path: Path) -> None:
    columns = {"timestamp": times(0), "x": [1.0]}
    wanted = [
        write(tmp_path / "2026" / "b.parquet", columns),
        write(tmp_path / "series=pump%207" / "year=2026" / "part-0.parquet", columns),
    ]
    write(tmp_path / "_temporary" / "c.parquet", columns)
    write(tmp_path / ".checkpoint" / "d.parquet", columns)
    (tmp_path / "notes.txt").write_text("not a table")
    dataset = discover(tmp_path)
    assert dataset.files == tuple(wanted)
    assert [chunk.names for chunk in read_chunks(dataset)] == [("b",), ("pump 7",)]


def test_several_paths_are_one_data_set_and_each_file_counts_once(tmp_path: Path) -> None:
    columns = {"timestamp": times(0), "x": [1.0]}
    first, second = (write(tmp_path / name, columns) for name in ("a.parquet", "b.parquet"))
    assert discover([second, tmp_path]).files == (second, first)
    assert discover(str(first)).files == (first,)


def test_the_series_is_the_column_then_the_partition_then_the_metadata_then_the_file(tmp_path: Path) -> None:
    bare = {"timestamp": times(0, 1), "x": [1.0, 2.0]}
    named = {**bare, "series": ["p", None]}
    found = [
        only_chunk(write(tmp_path / "series=hive" / "a.parquet", named, {"series": "meta"})),
        only_chunk(write(tmp_path / "series=hive" / "b.parquet", bare, {"series": "meta"})),
        only_chunk(write(tmp_path / "c.parquet", bare, {"series": "meta"})),
        only_chunk(write(tmp_path / "d.parquet", bare)),
    ]
    assert [chunk.names for chunk in found] == [("p", "hive"), ("hive",), ("meta",), ("d",)]
    assert found[0].series.tolist() == [0, 1]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["b", "a", "b", None]),
        pa.array(["b", "a", "b", None]).dictionary_encode(),
        pa.array([None, None, None, None], pa.dictionary(pa.int8(), pa.string())),
        pa.array([7, 5, 7, None], pa.int64()),
    ],
    ids=["text", "dictionary", "dictionary of nulls", "numbers"],
)
def test_a_series_column_of_any_encoding_gives_names(tmp_path: Path, column: pa.Array) -> None:
    path = write(tmp_path / "f.parquet", {"timestamp": times(0, 1, 2, 3), "x": [0.0] * 4, "series": column})
    chunk = only_chunk(path)
    expected = ["f" if value is None else str(value) for value in column.to_pylist()]
    assert [chunk.names[code] for code in chunk.series] == expected


# What is read


@pytest.mark.parametrize(
    "column",
    [
        pa.array([-1000, 1_500], pa.timestamp("ms")),
        pa.array([-1_000_000, 1_500_000], pa.timestamp("us", tz="UTC")),
        pa.array([-(10**9), 1_500_000_000], pa.timestamp("ns", tz="Europe/Berlin")),
    ],
    ids=["ms", "us", "ns in another zone"],
)
def test_every_unit_of_time_becomes_nanoseconds(tmp_path: Path, column: pa.Array) -> None:
    chunk = only_chunk(write(tmp_path / "a.parquet", {"timestamp": column, "x": [1.0, 2.0]}))
    assert chunk.timestamp_ns.tolist() == [-SECOND, 1_500_000_000]


def test_whole_seconds_become_nanoseconds(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, {"timestamp": pa.array([3], pa.timestamp("s")), "x": [1.0]}, coerce_timestamps="ms")
    assert only_chunk(path).timestamp_ns.tolist() == [3 * SECOND]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1.5, None, float("nan")]), [1.5, np.nan, np.nan]),
        (pa.array([1, None, 2**62 + 1], pa.int64()), [1.0, np.nan, 2.0**62]),
        (pa.array([True, False, None]), [1.0, 0.0, np.nan]),
        (pa.array([float("inf"), 2.0, float("-inf")], pa.float32()), [np.nan, 2.0, np.nan]),
        (pa.array([1, 2, None], pa.decimal128(5, 1)), [1.0, 2.0, np.nan]),
    ],
    ids=["floats", "integers", "booleans", "infinite", "decimals"],
)
def test_numbers_of_any_type_become_floats_and_what_is_none_nan(
    tmp_path: Path, column: pa.Array, expected: list[float]
) -> None:
    chunk = only_chunk(write(tmp_path / "a.parquet", {"timestamp": times(0, 1, 2), "a.b": column}))
    np.testing.assert_array_equal(chunk.values[:, 0], expected)


def test_channels_are_matched_by_name_whatever_their_order(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"timestamp": times(0), "x": [1.0], "y": [2.0]})
    write(tmp_path / "b.parquet", {"y": [4.0], "z": [9.0], "x": [3.0], "timestamp": times(1)})
    values = [chunk.values[:, :2].tolist() for chunk in read_chunks(discover(tmp_path))]
    assert values == [[[1.0, 2.0]], [[3.0, 4.0]]]
    swapped = [chunk.values.tolist() for chunk in read_chunks(discover(tmp_path, ("y", "x")))]
    assert swapped == [[[2.0, 1.0]], [[4.0, 3.0]]]


def test_a_channel_that_one_file_lacks_is_missing_in_its_rows(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"timestamp": times(0), "x": [1.0], "y": [1.0]})
    write(tmp_path / "b.parquet", {"timestamp": times(0), "x": [1.0], "why": [1.0]})
    dataset = discover(tmp_path)
    assert dataset.channels == ("x", "y", "why")
    values = np.concatenate([chunk.values for chunk in read_chunks(dataset)])
    np.testing.assert_array_equal(values, [[1.0, 1.0, np.nan], [1.0, np.nan, 1.0]])


@pytest.mark.parametrize("column", [[0, 1, None], [False, True, None], [0.0, 1.0, float("nan")]])
def test_labels_of_any_type_become_0_and_1(tmp_path: Path, column: list) -> None:
    chunk = only_chunk(
        write(tmp_path / "a.parquet", {"timestamp": times(0, 1, 2), "x": [0.0] * 3, "label": column})
    )
    assert chunk.label is not None
    assert chunk.label.tolist() == [0, 1, 0]


def test_split_is_read_plain_or_dictionary_encoded(tmp_path: Path) -> None:
    columns = {"timestamp": times(0, 1), "x": [0.0] * 2, "split": ["train", "test"]}
    plain = only_chunk(write(tmp_path / "a.parquet", columns))
    columns["split"] = pa.array(columns["split"]).dictionary_encode()
    encoded = only_chunk(write(tmp_path / "b.parquet", columns))
    assert plain.split is not None
    assert encoded.split is not None
    assert plain.split.tolist() == encoded.split.tolist() == ["train", "test"]


def test_chunks_are_small_and_together_the_file(tmp_path: Path) -> None:
    values = np.arange(1000.0)
    path = write(tmp_path / "a.parquet", {"timestamp": times(*range(1000)), "x": values}, row_group_size=70)
    chunks = list(read_chunks(discover(path), 64))
    assert max(len(chunk) for chunk in chunks) <= 64
    assert np.concatenate([chunk.values[:, 0] for chunk in chunks]).tolist() == values.tolist()


def test_a_column_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    columns = {"timestamp": times(0, 1), "xyzxyz": [0.0, 1.0]}
    path = write(tmp_path / "a.parquet", columns, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"xyzxyz", b"xyzxy\xff"))
    with pytest.raises(ParquetError, match=r"a\.parquet: not a Parquet file, or truncated"):
        discover(path)


def test_metadata_that_is_no_text_is_shown_as_it_can_be(tmp_path: Path) -> None:
    columns = {"timestamp": times(0, 1), "x": [0.0, 1.0]}
    dataset = discover(write(tmp_path / "a.parquet", columns, {b"key\xff": b"1", b"series": b"pump\xff"}))
    assert dataset.metadata["key\ufffd"] == "1"
    assert [chunk.names for chunk in read_chunks(dataset)] == [("pump\ufffd",)]


def test_a_series_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    names = pa.array([b"pump\xff", b"pump"], pa.binary()).view(pa.string())
    path = write(tmp_path / "a.parquet", {"timestamp": times(0, 1), "x": [0.0, 1.0], "series": names})
    with pytest.raises(ParquetError, match=r"a\.parquet: damaged: .*utf-8"):
        list(read_chunks(discover(path)))


def test_channels_with_fewer_rows_than_the_times_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay reads the times first; a damaged file may then end early."""
    dataset = discover(write(tmp_path / "a.parquet", {"timestamp": times(0, 1), "x": [0.0, 1.0]}))
    real = replay_source.read_file

    def cut(file: Path, dataset: Dataset, chunk_rows: int) -> Iterator[Chunk]:
        return iter(()) if dataset.channels else real(file, dataset, chunk_rows)

    monkeypatch.setattr(replay_source, "read_file", cut)
    with pytest.raises(ParquetError, match=r"a\.parquet: damaged: its channels have fewer rows"):
        replayed(ParquetSource(dataset))


# Sampling interval


def test_the_interval_is_the_most_common_step_in_any_order_with_gaps_and_duplicates() -> None:
    seconds = [0, 60, 120, 180, 180, 240, 1000, 1060, 1120]
    shuffled = np.random.default_rng(0).permutation(seconds) * SECOND
    assert infer_interval(shuffled) == 60 * SECOND


def test_the_interval_of_a_jittered_clock_is_the_median_step() -> None:
    steps = np.array([9_700, 9_900, 10_000, 10_100, 10_200, 10_300, 9_800])
    assert infer_interval(np.concatenate([[0], np.cumsum(steps)])) == 10_000


@pytest.mark.parametrize("timestamps", [[], [5], [5, 5, 5]])
def test_there_is_no_interval_without_two_times(timestamps: list[int]) -> None:
    assert infer_interval(np.array(timestamps, np.int64)) is None


# Replay


def test_a_replay_sorts_by_time_and_counts_its_rows(tmp_path: Path) -> None:
    columns = {"timestamp": times(5, 1, 3, 1), "x": [5.0, 1.0, 3.0, 1.5], "series": ["a", "b", "a", "a"]}
    readings = replayed(ParquetSource(discover(write(tmp_path / "f.parquet", columns)), batch_rows=3))
    assert [len(part) for part in readings] == [3, 1]
    assert rows_of(readings) == [("b", 1, 1.0), ("a", 1, 1.5), ("a", 3, 3.0), ("a", 5, 5.0)]
    assert np.concatenate([part.offset for part in readings]).tolist() == [0, 1, 2, 3]
    assert readings[1].names == ("a",)


def test_files_whose_times_overlap_are_merged(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"timestamp": times(0, 2, 4), "x": [0.0, 2.0, 4.0]})
    write(tmp_path / "b.parquet", {"timestamp": times(1, 2, 9), "x": [1.0, 2.5, 9.0]})
    write(tmp_path / "c.parquet", {"timestamp": times(), "x": pa.array([], pa.float64())})
    assert rows_of(replayed(ParquetSource(discover(tmp_path)))) == [
        ("a", 0, 0.0),
        ("b", 1, 1.0),
        ("a", 2, 2.0),
        ("b", 2, 2.5),
        ("a", 4, 4.0),
        ("b", 9, 9.0),
    ]


@given(seed=st.integers(0, 2**32 - 1), disorder=st.sampled_from([0, 3, 4000]))
def test_any_files_replay_in_the_order_of_a_stable_sort(
    tmp_path_factory: pytest.TempPathFactory, seed: int, disorder: int
) -> None:
    directory = tmp_path_factory.mktemp("replay")
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(3):
        num = int(rng.integers(1, 3000))
        second = np.arange(num) + rng.integers(0, disorder + 1, num) + rng.integers(0, 2000)
        frames.append(pd.DataFrame({"second": second, "x": rng.random(num)}))
        columns = {"timestamp": times(*second), "x": frames[-1]["x"].to_numpy()}
        write(directory / f"{number}.parquet", columns, row_group_size=500)
    expected = pd.concat(frames).sort_values("second", kind="stable")
    found = rows_of(replayed(ParquetSource(discover(directory), batch_rows=700)))
    assert [row[1] for row in found] == expected["second"].tolist()
    assert [row[2] for row in found] == expected["x"].tolist()


def test_a_replay_of_sorted_files_starts_before_it_has_read_them(tmp_path: Path) -> None:
    """The second file is destroyed after the replay began: what comes before its time still arrives."""
    write(tmp_path / "a.parquet", {"timestamp": times(*range(10)), "x": np.zeros(10)})
    later = write(tmp_path / "b.parquet", {"timestamp": times(*range(20, 30)), "x": np.zeros(10)})
    source = ParquetSource(discover(tmp_path), batch_rows=10)
    first = source.poll(0.0)
    later.write_bytes(b"gone")
    assert first is not None
    assert len(first.readings) == 10
    with pytest.raises(ParquetError, match=r"b\.parquet: "):
        source.poll(0.0)


# Writing


def test_a_table_is_appended_to_in_chunks_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "scores.parquet"
    with TableWriter(path, {"interval_s": "60"}) as writer:
        for at in (0, 2):
            writer.write({"timestamp": np.array([at, at + 1]) * SECOND, "score": np.array([at, np.nan])})
        assert not path.exists()
    dataset = discover(path)
    (chunk,) = read_chunks(dataset)
    assert dataset.interval_ns == 60 * SECOND
    assert (chunk.timestamp_ns // SECOND).tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(chunk.values[:, 0], [0.0, np.nan, 2.0, np.nan])
    assert pq.read_schema(path).field("timestamp").type == pa.timestamp("ns", tz="UTC")


def test_a_writer_that_failed_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with TableWriter(tmp_path / "a.parquet") as writer:
            writer.write({"x": np.zeros(3)})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_writer_given_nothing_writes_nothing(tmp_path: Path) -> None:
    with TableWriter(tmp_path / "a.parquet"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ParquetError, match=r"file/a\.parquet: cannot be written: .*"):
        TableWriter(tmp_path / "file" / "a.parquet").write({"x": np.zeros(1)})


# What is refused, and the words


def refusal(path: Path | list, channels: tuple[str, ...] | None = None) -> str:
    with pytest.raises(ParquetError) as caught:
        list(read_chunks(discover(path, channels)))
    return str(caught.value)


def test_nothing_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no") == f"{tmp_path}/no: no such file or directory"
    assert refusal(tmp_path) == (
        f"{tmp_path}: no *.parquet, *.csv or *.csv.gz file in this directory or below it"
    )
    assert refusal([]) == "no files given; name a Parquet or CSV file, or a directory of them"


def test_not_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"")
    assert refusal(path) == f"{path}: the file is empty (0 bytes), not Parquet"
    path.write_text("timestamp,x\n1,2\n")
    assert refusal(path).startswith(
        f"{path}: not a Parquet file, or truncated: Parquet magic bytes not found"
    )


def test_truncated_and_damaged(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.parquet", {"timestamp": times(*range(500)), "x": np.random.default_rng(0).random(500)}
    )
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert refusal(path).startswith(f"{path}: not a Parquet file, or truncated: ")
    path.write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])
    assert refusal(path).startswith(f"{path}: damaged: ")


def test_no_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"timestamp": times(), "x": pa.array([], pa.float64())})
    assert refusal(path) == f"{path}: no rows; training and replay need at least one row"


def test_no_timestamp(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"time": times(0), "x": [1.0]})
    assert refusal(path) == (
        f"{path}: no `timestamp` column, found ['time', 'x']; rename the time column to `timestamp`,"
        " or name it as [data] time in the training configuration"
    )


def test_a_timestamp_of_the_wrong_type(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"timestamp": [True], "x": [1.0]})
    assert refusal(path) == (
        f"{path}: column `timestamp` is bool; it must be a timestamp, ISO 8601 text, or epoch milliseconds"
    )


def test_a_row_without_time(tmp_path: Path) -> None:
    column = pa.array([0, None], pa.timestamp("ms"))
    path = write(tmp_path / "a.parquet", {"timestamp": column, "x": [1.0, 2.0]})
    assert refusal(path) == f"{path}: column `timestamp` has 1 nulls; every row needs its time"


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (
            pa.array([1_767_225_600]),
            "number 1767225600, which is 1970-01-21T10:53:45.600000Z, before 1990; are these seconds? mill",
        ),
        (
            pa.array([1_767_225_600 * 10**6]),
            "number 1767225600000000, which is no time; are these microseconds?",
        ),
        (pa.array([1_767_225_600 * SECOND]), "which is no time; are these nanoseconds?"),
        (
            pa.array([-(2**63)]),
            "number -9223372036854775808, which is no time; numbers are epoch milliseconds",
        ),
        (pa.array([2**63], pa.uint64()), "number 9223372036854775808, which is no time"),
        (pa.array([1.0]), "number 1.0, which is 1970-01-01T00:00:00.001000Z, before 1990; numbers are epoch"),
        (pa.array([float("nan")]), "number nan, which is no time"),
        (pa.array(["noon"]), "text 'noon', which is no time, expected ISO 8601"),
        (pa.array(["1989-12-31"]), "text '1989-12-31', which is 1989-12-31T00:00:00.000000Z, before 1990"),
    ],
)
def test_an_absurd_time(tmp_path: Path, column: pa.Array, words: str) -> None:
    path = write(tmp_path / "a.parquet", {"timestamp": column, "x": [1.0]})
    assert refusal(path).startswith(f"{path}: column `timestamp` has the ")
    assert words in refusal(path)


def test_no_numeric_column(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"timestamp": times(0), "note": ["x"], "label": [0]})
    assert refusal(path) == (
        f"{path}: no numeric column; a table needs one float or integer column a channel,"
        " found ['timestamp', 'note', 'label']"
    )


def test_a_channel_that_no_file_has(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"timestamp": times(0), "x": [1.0]})
    write(tmp_path / "b.parquet", {"timestamp": times(0), "why": [1.0]})
    assert refusal(tmp_path, ("x", "y")) == (
        f"{path} and 1 more files: no file has the channel 'y'; there are ['why', 'x']"
    )


def test_a_channel_that_is_no_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"timestamp": times(0), "x": ["high"]})
    assert (
        refusal(path, ("x",)) == f"{path}: channel 'x' is string, not a number; write its values as numbers"
    )


def test_a_label_that_is_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"timestamp": times(0), "x": [1.0], "label": ["bad"]})
    assert refusal(path) == (
        f"{path}: column `label` is string; it must be 0 and 1, or boolean; rename it if it is something else"
    )


def test_a_column_twice(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([times(0), pa.array([1.0]), pa.array([2.0])], ["timestamp", "x", "x"])
    pq.write_table(table, tmp_path / "a.parquet")
    assert refusal(tmp_path / "a.parquet") == (
        f"{tmp_path}/a.parquet: has the column 'x' more than once; rename one of them"
    )
