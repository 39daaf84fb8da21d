"""CSV in: the table that Parquet would give, whatever the dialect; errors that name the line."""

from __future__ import annotations

import gzip
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.csv import table
from connectors.errors import CsvError, ParquetError
from connectors.names import ColumnNames
from connectors.parquet.dataset import Dataset, discover
from connectors.parquet.files import find_files
from connectors.parquet.reader import Chunk, read_chunks
from connectors.parquet.replay_source import ParquetSource
from connectors.parquet.side_columns import read_with_codes

START = datetime(2026, 1, 1, tzinfo=UTC)
UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def write(directory: Path, text: str, name: str = "a.csv", encoding: str = "utf-8") -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def rows(*lines: str, header: str = "timestamp,flow") -> str:
    return "\n".join((header, *lines)) + "\n"


def whole(dataset: Dataset, chunk_rows: int = 1 << 16) -> Chunk:
    """All rows of a data set as one chunk; `series` indexes into sorted names."""
    chunks = list(read_chunks(dataset, chunk_rows))
    names = sorted({name for chunk in chunks for name in chunk.names})
    code = {name: at for at, name in enumerate(names)}
    return Chunk(
        np.concatenate([one.timestamp_ns for one in chunks]),
        tuple(names),
        np.concatenate([np.array([code[n] for n in one.names], np.int32)[one.series] for one in chunks]),
        np.concatenate([one.values for one in chunks]),
        None,
        None,
    )


def assert_equal(found: Chunk, expected: Chunk) -> None:
    np.testing.assert_array_equal(found.timestamp_ns, expected.timestamp_ns)
    np.testing.assert_array_equal(found.values, expected.values)
    assert [found.names[at] for at in found.series] == [expected.names[at] for at in expected.series]


finite = st.floats(allow_nan=False, allow_infinity=False)
cells = st.one_of(finite, st.none(), st.integers(-(2**53), 2**53).map(float))


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """Rows of some series and channels with missing cells; every channel has a value."""
    num, channels = draw(st.integers(1, 40)), draw(st.integers(1, 3))
    columns: dict[str, Any] = {
        "timestamp": [
            START + timedelta(microseconds=one)
            for one in draw(st.lists(st.integers(0, 10**13), min_size=num, max_size=num))
        ],
        "series": draw(
            st.lists(
                st.sampled_from(["pump-1", "NA", "007", "a;b", 'q"x', " p,2"]), min_size=num, max_size=num
            )
        ),
    }
    for at in range(channels):
        values = draw(st.lists(cells, min_size=num, max_size=num))
        columns[f"c {at}"] = np.array([math.nan if one is None else one for one in values])
        columns[f"c {at}"][0] = draw(finite)
    return pd.DataFrame(columns)


def as_csv(frame: pd.DataFrame, unit: str | None, comma: bool, zone: str) -> str:
    """The frame in one of many dialects."""
    frame = frame.copy()
    when = pd.DatetimeIndex(frame["timestamp"]).as_unit("ns")
    if unit is not None:
        frame["timestamp"] = when.asi8 // UNITS[unit]
    elif zone:
        frame["timestamp"] = [one.isoformat() for one in when.tz_convert(zone)]
    else:
        frame["timestamp"] = [one.replace(tzinfo=None).isoformat(" ") for one in when]
    return str(frame.to_csv(index=False, sep=";" if comma else ",", decimal="," if comma else "."))


@settings(max_examples=60)
@given(
    frame=frames(),
    unit=st.sampled_from([None, None, *UNITS]),
    comma=st.booleans(),
    zone=st.sampled_from(["", "UTC", "Europe/Berlin", "Asia/Kolkata"]),
    mark=st.booleans(),
    zipped=st.booleans(),
    chunk_rows=st.integers(1, 50),
)
def test_the_same_frame_is_the_same_table_in_parquet_and_in_every_dialect_of_csv(
    tmp_path_factory: pytest.TempPathFactory,
    frame: pd.DataFrame,
    unit: str | None,
    comma: bool,
    zone: str,
    mark: bool,
    zipped: bool,
    chunk_rows: int,
) -> None:
    directory = tmp_path_factory.mktemp("csv")
    step = UNITS[unit] if unit else 1
    times = pd.DatetimeIndex(frame["timestamp"]).as_unit("ns").asi8 // step * step // 1000 * 1000
    frame["timestamp"] = pd.DatetimeIndex(times.view("M8[ns]"), tz="UTC")
    frame.to_parquet(directory / "a.parquet", index=False)
    raw = as_csv(frame, unit, comma, zone).encode("utf-8-sig" if mark else "utf-8")
    path = directory / ("b.csv.gz" if zipped else "b.csv")
    path.write_bytes(gzip.compress(raw) if zipped else raw)
    parquet, csv = discover(directory / "a.parquet"), discover(path)
    assert csv.channels == parquet.channels
    assert csv.num_rows == parquet.num_rows
    assert_equal(whole(csv, chunk_rows), whole(parquet))
    sizes = [[len(one) for one in read_chunks(data, chunk_rows)] for data in (csv, parquet)]
    assert sizes[0] == sizes[1]


@settings(max_examples=30)
@given(block=st.integers(60, 400), num=st.integers(1, 200), blank=st.sets(st.integers(0, 199)))
def test_blocks_of_any_size_and_empty_lines_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, block: int, num: int, blank: set[int]
) -> None:
    lines = [f"2026-01-01 00:{at // 60:02}:{at % 60:02},{at / 8},{at % 3 == 0}".lower() for at in range(num)]
    text = "".join(f"{line}\n" + ("\n" if at in blank else "") for at, line in enumerate(lines))
    path = write(tmp_path_factory.mktemp("csv"), "timestamp,flow,on\n" + text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("connectors.csv.dialect._LEAST_BLOCK", block)
        patch.setattr("connectors.csv.dialect._ROWS_A_BLOCK", 1)
        found = whole(discover(path))
    assert found.values[:, 0].tolist() == [at / 8 for at in range(num)]
    assert found.values[:, 1].tolist() == [float(at % 3 == 0) for at in range(num)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_ends_of_lines_comments_and_quoted_headers(
    tmp_path: Path, delimiter: str, end: str
) -> None:
    lines = ["# a logger", "", f'"timestamp"{delimiter}"flow {delimiter} in"{delimiter} b ']
    lines += [f'"2026-01-01T00:00:0{at}Z"{delimiter} {at}.5{delimiter}"{at}"' for at in range(3)]
    dataset = discover(write(tmp_path, end.join(lines) + end))
    assert dataset.channels == (f"flow {delimiter} in", "b")
    assert whole(dataset).values.tolist() == [[0.5, 0], [1.5, 1], [2.5, 2]]


@pytest.mark.parametrize("word", ["", "NA", "n/a", "NaN", "null", "-", "None", " "])
def test_words_for_missing_values_are_missing(tmp_path: Path, word: str) -> None:
    found = whole(discover(write(tmp_path, rows("2026-01-01,1", f"2026-01-02,{word}", "2026-01-03,3"))))
    np.testing.assert_array_equal(found.values[:, 0], [1, math.nan, 3])


@pytest.mark.parametrize(
    ("header", "cell", "second"),
    [
        ("Datum;flow", "31.12.2026 10:00;1", 10 * 3600),
        ("Zeit;flow", "31.12.2026 10:00:01,5;1", 36001.5),
        (";flow", "2026-12-31 10:00:00;1", 10 * 3600),
        ("ts;flow", "1798711200;1", 10 * 3600),
        ("Time;flow", "2026/12/31 10:00;1", 10 * 3600),
        ("date time;flow", "2026-12-31 10:00 UTC;1", 10 * 3600),
        ("TimeStamp;flow", "2026-12-31 11:00 +01:00;1", 10 * 3600),
        ("x;flow", "20261231T100000;1", 10 * 3600),
    ],
)
def test_times_are_found_by_their_form_and_name(
    tmp_path: Path, header: str, cell: str, second: float
) -> None:
    dataset = discover(write(tmp_path, rows(cell, header=header)))
    midnight = datetime(2026, 12, 31, tzinfo=UTC).timestamp()
    assert dataset.channels == ("flow",)
    assert whole(dataset).timestamp_ns.tolist() == [round((midnight + second) * 1e9)]


def test_the_training_configuration_can_name_times_and_series(tmp_path: Path) -> None:
    names = ColumnNames("measured", "machine")
    text = rows("2026-01-01,2026-02-01,A,5", "2026-01-02,2026-02-01,,6", header="measured,sent,machine,flow")
    found = whole(discover(write(tmp_path, text), names=names))
    assert [found.names[at] for at in found.series] == ["A", "a"]
    pd.DataFrame({"measured": [START], "machine": ["A"], "flow": [1.0]}).to_parquet(tmp_path / "b.parquet")
    dataset = discover(tmp_path / "b.parquet", names=names)
    assert (dataset.channels, whole(dataset).names) == (("flow",), ("A",))
    pd.DataFrame({"timestamp": [START], "measured": ["x"], "flow": [1.0]}).to_parquet(tmp_path / "c.parquet")
    assert whole(discover(tmp_path / "c.parquet", names=names)).timestamp_ns.tolist() == [
        int(START.timestamp()) * 10**9
    ]


def test_a_directory_of_csv_has_the_series_of_its_paths_and_parquet_comes_first(tmp_path: Path) -> None:
    write(tmp_path, rows("2026-01-01,1"), "2026/05/pump1.CSV")
    (tmp_path / "pump2.csv.gz").write_bytes(gzip.compress(rows("2026-01-01,2").encode()))
    write(tmp_path, "not,read\n", ".hidden.csv")
    assert whole(discover(tmp_path)).names == ("pump1", "pump2")
    pd.DataFrame({"timestamp": [START], "flow": [1.0]}).to_parquet(tmp_path / "c.parquet")
    assert find_files(tmp_path) == [tmp_path / "c.parquet"]


def test_a_file_is_replayed_in_the_order_of_time(tmp_path: Path) -> None:
    write(tmp_path, rows("2026-01-01 00:00:02,2", "2026-01-01 00:00:01,1"), "a.csv")
    write(tmp_path, rows("2026-01-01 00:00:03,3"), "b.csv")
    source, found = ParquetSource(discover(tmp_path)), []
    while (batch := source.poll(0.0)) is not None:
        found += batch.readings.values[:, 0].tolist()
    assert found == [1, 2, 3]


def test_texts_come_beside_the_rows(tmp_path: Path) -> None:
    path = write(tmp_path, rows("2026-01-01,1,ok", "2026-01-02,2,", header="timestamp,flow,state"))
    ((chunk, codes),) = read_with_codes(discover(path), ["state"], 10)
    assert len(chunk) == 2
    assert (codes["state"] >= 0).tolist() == [True, False]


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, rows("2026-01-01,1"))
    assert discover(path).num_rows == 1
    write(tmp_path, rows("2026-01-01,1", "2026-01-02,2"))
    assert discover(path).num_rows == 2


def test_memory_is_bounded_by_the_block(tmp_path: Path) -> None:
    line = ",".join(["2026-01-01 00:00:00", *["1.25"] * 20]) + "\n"
    header = ",".join(["timestamp", *(f"c{at}" for at in range(20))])
    path = write(tmp_path, header + "\n" + line * 20_000)
    dialect = table.csv_table(path, ColumnNames()).dialect
    most = max(one.nbytes for one in table._blocks(path, dialect, range(21)))
    assert most < 8 * dialect.block_bytes < path.stat().st_size * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (rows("2026-01-01,1", "2026-01-02", header="timestamp,flow"), r"a.csv: line 3 is cut into 1 by ','"),
        (rows("2026-01-01,1", "", "2026-01-02,2,3"), r"line 4 is cut into 3 by ',', the header into 2; comp"),
        (rows("2026-01-01,1", "", ",2"), r"line 4: column 'timestamp' is empty; every row needs its time"),
        (
            rows("2026-01-01,1", "soon,2"),
            r"line 3: column 'timestamp' has 'soon', which is no time; expected",
        ),
        (
            rows("1970-01-02,1"),
            r"line 2: column 'timestamp' has '1970-01-02', which is 1970-01-02T.*before 19",
        ),
        (
            rows("01/02/2026,1"),
            r"line 2: column 'timestamp' has '01/02/2026', where day and month can be swapped",
        ),
        (rows("1767225600,1", "1767225660000,2"), r"line 3: .*'1767225660000'.*expected a number of epoch s"),
        (rows("2026-01-01,2", header="2026-01-01,1"), r"line 1: has values and no names: '2026-01-01, 1'"),
        (rows("1", header="flow"), r"line 1: one column only, 'flow'; separate the columns by one of comma"),
        (
            rows("1,2", header="a,b"),
            r"a.csv: no column of times: .* found 'a', 'b'; rename the column of tim",
        ),
        (
            rows("2026-01-01,2026-01-02,1", header="von,bis,flow"),
            r"several columns may be the times: 'von', 'bis'; rename",
        ),
        ("", r"a.csv: the file is empty, not CSV"),
        ("\n# nothing\n", r"a.csv: has no header; the first line must name the columns"),
        (rows("2026-01-01,1,2", header="timestamp,a,a"), r"has the column 'a' more than once; rename one"),
        (rows(), r"a.csv: no rows; training and replay need at least one row|no numeric column"),
        ("PAR1\0\0,a\n", r"a.csv: is Parquet, not CSV; rename it to \*.parquet"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line_and_a_remedy(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ParquetError, match=message):
        list(read_chunks(discover(write(tmp_path, text))))


@pytest.mark.parametrize(("encoding", "name"), [("cp1252", "CP1252"), ("utf-16", "UTF-16")])
def test_another_encoding_is_named_with_the_command_that_converts_it(
    tmp_path: Path, encoding: str, name: str
) -> None:
    path = write(tmp_path, rows("2026-01-01,1", header="timestamp,°C"), encoding=encoding)
    with pytest.raises(CsvError, match=rf"iconv -f {name} -t UTF-8 a\.csv > utf8-a\.csv"):
        discover(path)


@given(at=st.integers(0, 60), total=st.integers(61, 90))
def test_a_cell_that_is_no_number_is_named_wherever_it_is(
    tmp_path_factory: pytest.TempPathFactory, at: int, total: int
) -> None:
    lines = [f"2026-01-01 00:{minute // 60:02}:{minute % 60:02},{minute},1" for minute in range(total)]
    lines[at] = lines[at].replace(f",{at},", ",ERR,")
    path = write(tmp_path_factory.mktemp("csv"), rows(*lines, header="timestamp,flow,x"))
    assert discover(path).channels == ("x",)
    with pytest.raises(
        ParquetError, match=rf"line {at + 2}: 'ERR' is no number: channel 'flow' needs numbers"
    ):
        discover(path, ["flow"])


@pytest.mark.parametrize(
    ("header", "line", "channels", "why"),
    [
        (
            "timestamp,a,b",
            '2026-01-01,1.5,"2,5"',
            ("a",),
            "'2,5' has a comma, and other columns have a decim",
        ),
        (
            "timestamp;a;b",
            "2026-01-01;1,5;2.500",
            ("a",),
            "'2.500' has a point, and other columns have a dec",
        ),
        (
            "timestamp,b",
            '2026-01-01,"2,500"',
            (),
            "'2,500' has a comma that may be a decimal sign or one betw",
        ),
        (
            "timestamp;b",
            "2026-01-01;2,500\n2026-01-02;2.5",
            (),
            "'2,500' has a comma, and other cells of the",
        ),
    ],
)
def test_a_sign_that_may_be_decimal_or_between_thousands_is_never_guessed(
    tmp_path: Path, header: str, line: str, channels: tuple[str, ...], why: str
) -> None:
    path = write(tmp_path, rows(line, header=header))
    if channels:
        assert discover(path).channels == channels
    with pytest.raises(ParquetError, match=why):
        discover(path, ["b"])


def test_a_truncated_archive_is_named(tmp_path: Path) -> None:
    raw = gzip.compress(
        rows(*(f"2026-01-01 00:00:{at % 60:02},{at * 7919 % 101}" for at in range(4000))).encode()
    )
    path = tmp_path / "a.csv.gz"
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(CsvError, match=r"a.csv.gz: cannot be (decompressed|read as CSV)"):
        list(read_chunks(discover(path)))


@pytest.mark.parametrize(
    ("header", "lines", "values"),
    [
        ("timestamp;a;b", ["2026-01-01;1.234,56;1,5", "2026-01-02;12,5;2"], [[1234.56, 12.5], [1.5, 2.0]]),
        ("timestamp;a;b", ["2026-01-01;1.234,5;1.234", "2026-01-02;2;-98"], [[1234.5, 2.0], [1234.0, -98.0]]),
        ("timestamp;a;b", ["2026-01-01;1.234;7", "2026-01-02;5,5;8"], [[1234.0, 5.5], [7.0, 8.0]]),
        ("timestamp;a;b", ["2026-01-01;1.234.567;7", "2026-01-02;5;8"], [[1234567.0, 5.0], [7.0, 8.0]]),
        (
            "timestamp,a,b",
            ['2026-01-01,"1,234.5","1,234"', "2026-01-02,2.5,3"],
            [[1234.5, 2.5], [1234.0, 3.0]],
        ),
        ("timestamp,a,b", ['2026-01-01,"-1.234,5",7', '2026-01-02,"2,5",8'], [[-1234.5, 2.5], [7.0, 8.0]]),
    ],
)
def test_signs_between_thousands_are_read_where_the_file_shows_which_is_decimal(
    tmp_path: Path, header: str, lines: list[str], values: list[list[float]]
) -> None:
    found = discover(write(tmp_path, rows(*lines, header=header)))
    assert found.channels == ("a", "b")
    (chunk,) = read_chunks(found)
    assert chunk.values.T.tolist() == values
    assert " is read as " in found.columns["a"].written


@pytest.mark.parametrize(
    ("header", "lines", "column", "why"),
    [
        ("timestamp;a", ["2026-01-01;1.234,5", "2026-01-02;2.5"], "a", "'2.5' has a point, and other cells"),
        ("timestamp;a", ["2026-01-01;1.234,5", "2026-01-02;1,234.5"], "a", "'1,234.5' has a point for dec"),
        (
            "timestamp,a",
            ['2026-01-01,"1,234.5"', '2026-01-02,"2,5"'],
            "a",
            "'2,5' has a comma, and other cells",
        ),
        ("timestamp;a;b", ["2026-01-01;1.234,5;2.5"], "b", "'2.5' has a point, and other columns"),
        ("timestamp;a", ["2026-01-01;1 234,5"], "a", "'1 234,5' has signs between its digits; write 1234.5"),
        ("timestamp;a", ["2026-01-01;1'234.5"], "a", "has signs between its digits; write 1234.5"),
    ],
)
def test_what_contradicts_the_signs_between_thousands_is_named(
    tmp_path: Path, header: str, lines: list[str], column: str, why: str
) -> None:
    path = write(tmp_path, rows(*lines, header=header))
    with pytest.raises(ParquetError, match=why) as caught:
        discover(path, [column])
    assert f"{path}: line " in str(caught.value)
    assert f"channel '{column}'" in str(caught.value)


@given(
    values=st.lists(st.floats(-1e9, 1e9).map(lambda one: round(one, 2)), min_size=1, max_size=30),
    comma=st.booleans(),
)
def test_numbers_with_signs_between_thousands_come_back(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], comma: bool
) -> None:
    cells = [f"{one:,.2f}" for one in [1234.5, *values]]
    if comma:
        cells = [one.translate(str.maketrans(",.", ".,")) for one in cells]
    lines = [f"2026-01-01 00:00:{at:02};{cell}" for at, cell in enumerate(cells)]
    path = write(tmp_path_factory.mktemp("csv"), rows(*lines, header="timestamp;a"))
    (chunk,) = read_chunks(discover(path))
    assert chunk.values[:, 0].tolist() == [1234.5, *values]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (['2026-01-01;"1,234.5"', "2026-01-02;0,700"], "'0,700' has a comma, and other cells"),
        (["2026-01-01;1.234,5", "2026-01-02;0.700"], "'0.700' has a point, and other cells"),
        (["2026-01-01;1.5", "2026-01-02;0,700.5"], "'0,700.5' is no number"),
        (["2026-01-01;1,5", "2026-01-02;0.700,5"], "'0.700,5' is no number"),
    ],
)
def test_no_number_with_signs_between_thousands_begins_with_zero(
    tmp_path: Path, lines: list[str], why: str
) -> None:
    path = write(tmp_path, rows(*lines, header="timestamp;a"))
    with pytest.raises(ParquetError, match=why):
        discover(path, ["a"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["1.234", "1.250", "1.199"], ["1.234", "1.250,5"]),
        (["1.234", "1.250", "1.199"], ["1.234", "999,5"]),
        (["1.234", "1.250"], ["999,5", "7"]),
        (["1,234", "1,250"], ["1,234", "1,250.5"]),
        (["1,234", "1,250"], ["1.5", "2"]),
        (["1,234", "1,250"], ["1.234", "1.250"]),
    ],
)
def test_files_of_one_directory_that_disagree_about_a_sign_are_both_named(
    tmp_path: Path, one: list[str], other: list[str]
) -> None:
    for names in (("a.csv", "b.csv"), ("b.csv", "a.csv")):
        for name, cells in zip(names, (one, other), strict=True):
            lines = [f"2026-01-01 00:00:{at:02};{cell}" for at, cell in enumerate(cells)]
            write(tmp_path, rows(*lines, header="timestamp;flow"), name)
        with pytest.raises(ParquetError, match="may stand between thousands") as caught:
            discover(tmp_path)
        assert "channel 'flow' has '1" in str(caught.value)
        assert all(str(tmp_path / name) in str(caught.value) for name in names)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["1.234", "1.250"], ["1.5", "2"]),
        (["1.234", "1.250"], ["7", "8"]),
        (["0.234", "1.250"], ["1,5", "2"]),
        (["1.234,5", "7"], ["1.234.567,5", "1,5"]),
        (["true", "false"], ["1.234", "2.5"]),
    ],
)
def test_files_that_agree_about_signs_or_can_be_read_in_one_way_are_read(
    tmp_path: Path, one: list[str], other: list[str]
) -> None:
    for name, cells in (("a.csv", one), ("b.csv", other)):
        lines = [f"2026-01-01 00:00:{at:02};{cell}" for at, cell in enumerate(cells)]
        write(tmp_path, rows(*lines, header="timestamp;flow"), name)
    assert discover(tmp_path).channels == ("flow",)
