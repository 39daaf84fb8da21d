"""Channels come from all files and series from whole paths, whatever the order of the files."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import ParquetError
from connectors.parquet.dataset import discover
from connectors.parquet.reader import read_chunks

START_MS = 1_767_225_600_000


def write(path: Path, columns: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    when = pa.array([START_MS, START_MS + 1000], pa.timestamp("ms"))
    pq.write_table(pa.table({"timestamp": when, "a": [1.0, 2.0], **columns}), path)
    return path


def series_of(root: Path | list[Path]) -> list[str]:
    return sorted({name for chunk in read_chunks(discover(root)) for name in chunk.names})


NUMBERS = [
    pa.array([1.0, 2.0]),
    pa.array([1, 2], pa.int16()),
    pa.array([True, False]),
    pa.array([Decimal("1.5"), None]),
    pa.array([1.5, 2.5], pa.float16()),
    pa.array([Decimal("1.5"), None], pa.decimal256(40, 2)),
    pa.array([3, 3]).dictionary_encode(),
]
NOTHING = [None, pa.nulls(2), pa.nulls(2, pa.float64()), pa.nulls(2, pa.string())]
WRONG = [
    pa.array(["5,1", "5,2"]),
    pa.array(["5.1", "5.2"]).dictionary_encode(),
    pa.array([b"1", b"2"]),
    pa.array([0, 1], pa.timestamp("ms")),
    pa.array([[1], [2]]),
]


@given(
    files=st.lists(st.sampled_from([*NUMBERS, *NOTHING, *WRONG]), min_size=1, max_size=4),
    data=st.data(),
)
def test_any_order_of_files_has_the_same_channels_values_and_verdict(
    tmp_path_factory: pytest.TempPathFactory, files: list[pa.Array | None], data: st.DataObject
) -> None:
    outcomes: list[str] = []
    for order in (files, data.draw(st.permutations(files))):
        root = tmp_path_factory.mktemp("order")
        for number, column in enumerate(order):
            write(root / f"{number}.parquet", {} if column is None else {"b": column})
        try:
            dataset = discover(root)
            values = np.concatenate([chunk.values for chunk in read_chunks(dataset)])
            outcomes.append(f"{dataset.channels} {sorted(map(str, values.tolist()))}")
        except ParquetError:
            outcomes.append("refused")
    typed = [*NUMBERS, NOTHING[2]]  # floats that are all null are numbers still
    kinds = [any(one is column for column in typed) for one in files]
    wrong = any(any(one is column for column in WRONG) for one in files)
    assert outcomes[0] == outcomes[1]
    assert (outcomes[0] == "refused") == (wrong and any(kinds))


def test_a_conflict_names_both_files_and_types(tmp_path: Path) -> None:
    for order in itertools.permutations(["text", "number"]):
        root = tmp_path / order[0]
        wrong = write(root / f"{order.index('text')}.parquet", {"b": ["5,1", "5,2"]})
        right = write(root / f"{order.index('number')}.parquet", {"b": [5.1, 5.2]})
        with pytest.raises(ParquetError) as caught:
            discover(root)
        assert str(caught.value) == (
            f"{wrong}: channel 'b' is string, but double in {right}; write its values as numbers in all files"
        )


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["pump1", "pump2"], ["pump1", "pump2"]),
        (["siteA/pump1", "siteB/pump1"], ["siteA/pump1", "siteB/pump1"]),
        (["pump1", "old/pump1"], ["old/pump1", "pump1"]),
        (["machine=A/part-0", "machine=B/part-0"], ["A", "B"]),
        (["machine=A/part-0", "machine=A/part-1", "machine=A/x"], ["A"]),
        (["machine=A/0", "pump=A/0"], ["machine=A", "pump=A"]),
        (["site=1/machine=A/x", "site=2/machine=A/x"], ["1/A", "2/A"]),
        (["site=1/series=p/x", "site=2/series=p/x"], ["site=1/series=p", "site=2/series=p"]),
        (["siteA/machine=1/x", "siteB/machine=1/x"], ["siteA/1", "siteB/1"]),
        (["machine=A/year=2026/month=1/x", "machine=A/year=2026/month=2/x"], ["A"]),
        (["machine=A/dt=2026-01-01/x", "machine=A/dt=2026-01-02/x"], ["A"]),
        (["2026/01/pump1", "2026/02/pump1", "2026/02/pump2"], ["pump1", "pump2"]),
        (["year=2026/pump1", "year=2027/pump1"], ["pump1"]),
        (["date=2026-01-01/part-0", "date=2026-01-02/part-0", "date=2026-01-02/part-1"], ["history"]),
        (["series=pump%207/a", "series=pump%207/b"], ["pump 7"]),
        (["1/data", "2/data"], ["1/data", "2/data"]),
    ],
)
def test_a_series_is_a_place_below_the_data_set(tmp_path: Path, paths: list[str], names: list[str]) -> None:
    files = [write(tmp_path / "history" / f"{path}.parquet", {}) for path in paths]
    assert series_of(tmp_path / "history") == names
    assert series_of([tmp_path / "history", *files[::-1]]) == names


def test_the_key_of_a_directory_that_is_given_itself_counts(tmp_path: Path) -> None:
    write(tmp_path / "machine=A" / "part-0.parquet", {})
    write(tmp_path / "machine=B" / "pump1.parquet", {})
    assert series_of(tmp_path / "machine=A") == ["A"]
    assert series_of(tmp_path / "machine=B") == ["pump1"]


def test_files_of_one_name_and_several_endings_are_several_series(tmp_path: Path) -> None:
    files = [write(tmp_path / name, {}) for name in ("pump.parquet", "pump.pq")]
    assert series_of(files) == ["pump.parquet", "pump.pq"]


names = st.text("abAB12_", min_size=1, max_size=3)
directories = st.lists(names.map(lambda name: f"d{name}"), max_size=2)


@given(places=st.sets(st.tuples(directories.map(tuple), names.map(lambda name: f"f{name}")), min_size=1))
def test_no_two_places_share_a_series(
    tmp_path_factory: pytest.TempPathFactory, places: set[tuple[tuple[str, ...], str]]
) -> None:
    root = tmp_path_factory.mktemp("places")
    for parts, stem in places:
        write(root.joinpath(*parts) / f"{stem}.parquet", {})
    assert len(series_of(root)) == len(places)


def test_an_interval_on_which_the_files_differ_is_not_believed(tmp_path: Path) -> None:
    for name, seconds in (("a", "60"), ("b", "1")):
        path = write(tmp_path / f"{name}.parquet", {})
        pq.write_table(pq.read_table(path).replace_schema_metadata({"interval_s": seconds, "x": "y"}), path)
    assert discover(tmp_path).interval_ns is None
    assert discover(tmp_path).metadata == {"x": "y"}
