"""The series of a plant by kind: by equal channels, by a column, by a Hive key; names and patterns."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.parquet.dataset import discover
from tests.trainer.kinds.plants import CONVEYOR, PUMP, machine, plant, write
from trainer.errors import TrainerError
from trainer.kinds.entries import OWNER, claim
from trainer.kinds.grouping import AUTO, Kind, find_kinds, narrowed, patterns_of, without_column
from trainer.kinds.rows_of_kind import RowsOfSeries

NAMES = st.text(alphabet="ab-1*[?", min_size=1, max_size=5)


def by_name(kinds: tuple[Kind, ...]) -> dict[str, Kind]:
    return {kind.name: kind for kind in kinds}


def test_series_with_equal_channels_are_a_kind_wherever_their_rows_lie(tmp_path: Path) -> None:
    table = plant(40)
    write(tmp_path / "a.parquet", table.iloc[:70])
    write(tmp_path / "b.parquet", table.iloc[70:][["series", "timestamp", "speed", "motor_A"]])
    write(tmp_path / "c.parquet", table.iloc[70:][["series", "timestamp", "flow", "pressure"]])
    grouping = find_kinds(discover(tmp_path), AUTO)
    kinds = by_name(grouping.kinds)
    assert set(kinds) == {"pump", "conveyor"}
    assert kinds["pump"].series == ("pump-1", "pump-2", "pump-3")
    assert set(kinds["pump"].channels) == set(PUMP)
    assert kinds["conveyor"].series == ("conveyor-1", "conveyor-2")
    assert set(kinds["conveyor"].channels) == set(CONVEYOR)
    assert grouping.left_out == {}


def test_a_column_names_the_kinds_and_is_no_channel(tmp_path: Path) -> None:
    numbered = plant(20).assign(kind=lambda table: np.where(table["kind"] == "pump", 7, 8))
    dataset = without_column(discover(write(tmp_path / "plant.parquet", numbered)), "kind")
    kinds = by_name(find_kinds(dataset, "kind").kinds)
    assert set(kinds) == {"7", "8"}
    assert kinds["7"].channels == PUMP
    assert kinds["8"].num_rows == 40


def test_a_hive_key_names_the_kinds(tmp_path: Path) -> None:
    for name, channels in (("pump", PUMP), ("conveyor", CONVEYOR)):
        for number in (1, 2):
            frame = machine(f"{name}-{number}", channels, number, 10).drop(columns="series")
            write(tmp_path / f"class={name}" / f"series={name}-{number}" / "a.parquet", frame)
    kinds = by_name(find_kinds(without_column(discover(tmp_path), "class"), "class").kinds)
    assert {name: kind.series for name, kind in kinds.items()} == {
        "pump": ("pump-1", "pump-2"),
        "conveyor": ("conveyor-1", "conveyor-2"),
    }


def test_rows_without_a_value_of_the_hive_key_belong_to_no_kind(tmp_path: Path) -> None:
    for value, number in (("pump", 1), ("__HIVE_DEFAULT_PARTITION__", 2)):
        write(tmp_path / f"class={value}" / "a.parquet", machine(f"pump-{number}", PUMP, number, 10))
    grouping = find_kinds(without_column(discover(tmp_path), "class"), "class")
    assert [(kind.name, kind.series) for kind in grouping.kinds] == [("pump", ("pump-1",))]
    assert grouping.left_out == {"pump-2": "it has no value in the column 'class'"}


def test_series_without_one_kind_are_left_out_with_the_reason(tmp_path: Path) -> None:
    one, two, none, empty = (machine(f"m-{at}", ("heat",), at, 10) for at in range(4))
    two["kind"] = ["a"] * 5 + ["b"] * 5
    empty["heat"] = np.nan
    table = pd.concat([one.assign(kind="a"), two, none, empty.assign(kind="a")])
    dataset = without_column(discover(write(tmp_path / "m.parquet", table)), "kind")
    grouping = find_kinds(dataset, "kind")
    assert [kind.series for kind in grouping.kinds] == [("m-0",)]
    assert grouping.left_out == {
        "m-1": "it has several values in the column 'kind': 'a', 'b'",
        "m-2": "it has no value in the column 'kind'",
        "m-3": "it has no value in any channel",
    }


@pytest.mark.parametrize(
    ("column", "words"),
    [("sort", "no file has this column; there are .*kind"), ("series", "a column that tells the kind")],
)
def test_a_column_that_cannot_group_is_refused(column: str, words: str, tmp_path: Path) -> None:
    dataset = discover(write(tmp_path / "plant.parquet", plant(5)))
    with pytest.raises(TrainerError, match=words):
        without_column(dataset, column)


def test_the_rows_of_a_kind_are_those_of_a_file_of_this_kind_alone(tmp_path: Path) -> None:
    table = plant(50)
    dataset = discover(write(tmp_path / "plant.parquet", table))
    kind = by_name(find_kinds(dataset, AUTO).kinds)["conveyor"]
    (mixed,) = RowsOfSeries(narrowed(dataset, kind), frozenset(kind.series)).chunks()
    alone = table[table["series"].isin(kind.series)]
    own = discover(write(tmp_path / "alone" / "conveyors.parquet", alone), kind.channels)
    (expected,) = RowsOfSeries(own, frozenset(kind.series)).chunks()
    assert mixed.names == expected.names
    for one, other in (
        (mixed.series, expected.series),
        (mixed.timestamp_ns, expected.timestamp_ns),
        (mixed.values, expected.values),
    ):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@given(st.lists(NAMES, min_size=2, max_size=8, unique=True), st.data())
def test_patterns_match_the_series_of_their_kind_and_no_other(names: list[str], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(names) - 1))
    kinds = [
        Kind(str(at), tuple(part), ("x",), (), 1, str(at))
        for at, part in enumerate((names[:cut], names[cut:]))
    ]
    for kind in kinds:
        patterns = patterns_of(kind, kinds, ())
        matched = {name for name in names if any(fnmatchcase(name, one) for one in patterns)}
        assert matched == set(kind.series)


def test_a_common_beginning_is_one_pattern_that_new_machines_match_too() -> None:
    pumps = Kind("pump", ("pump-1", "pump-12"), ("x",), (), 1, "pump")
    others = Kind("tank", ("tank-1",), ("x",), (), 1, "tank")
    assert patterns_of(pumps, (pumps, others), ()) == ("pump-*",)
    assert patterns_of(others, (pumps, others), ()) == ("tank-1",)
    numbered = Kind("fan", ("fan7", "fan71"), ("x",), (), 1, "fan")
    assert patterns_of(numbered, (pumps, others, numbered), ()) == ("fan[0-9]*",)


def test_patterns_match_no_series_that_was_left_out() -> None:
    pumps = Kind("pump", ("pump-1", "pump-2"), ("x",), (), 1, "pump")
    assert patterns_of(pumps, (pumps,), {"pump-9": "it has no value"}) == ("pump-1", "pump-2")
    assert patterns_of(pumps, (pumps,), {"fan-9": "it has no value"}) == ("pump-*",)


def names_by_value(tmp_path: Path, kinds: dict[str, str]) -> dict[str, str]:
    """Series -> entry, where `kinds` has the value of the column of each series."""
    frames = [
        machine(name, ("heat",), at, 5).assign(kind=kind) for at, (name, kind) in enumerate(kinds.items())
    ]
    dataset = discover(write(tmp_path / "m.parquet", pd.concat(frames)))
    found = find_kinds(without_column(dataset, "kind"), "kind").kinds
    return {name: kind.name for kind in found for name in kind.series}


def test_the_entry_of_a_kind_stays_its_own_when_series_are_added(tmp_path: Path) -> None:
    kinds = {"m-5": "泵", "m-6": "насос", "m-7": "a/b", "m-8": "a b", "m-9": "Förderband"}
    before = names_by_value(tmp_path, kinds)
    assert len(set(before.values())) == 5
    assert (before["m-5"], before["m-6"], before["m-9"]) == ("泵", "насос", "Förderband")
    after = names_by_value(tmp_path, {"m-1": "a b", "m-2": "насос", "m-3": "/", **kinds})
    assert {name: after[name] for name in before} == before
    assert (after["m-1"], after["m-2"]) == (before["m-8"], before["m-6"])


def test_kinds_with_one_beginning_of_their_names_do_not_swap_their_entries(tmp_path: Path) -> None:
    def entries(rows: list[tuple[str, str]]) -> dict[str, str]:
        table = pd.concat([machine(name, (channel,), 1, 5) for name, channel in rows])
        kinds = find_kinds(discover(write(tmp_path / "m.parquet", table)), AUTO).kinds
        return {kind.channels[0]: kind.name for kind in kinds}

    both = entries([("m-2", "heat"), ("m-4", "heat"), ("m-3", "flow"), ("m-5", "flow")])
    more = entries([("m-1", "flow"), ("m-2", "heat"), ("m-4", "heat"), ("m-3", "flow"), ("m-5", "flow")])
    assert both == more
    assert len({name.casefold() for name in both.values()}) == 2


def test_names_that_differ_in_case_alone_are_two_directories_everywhere(tmp_path: Path) -> None:
    found = names_by_value(tmp_path, {"m-1": "pump", "m-2": "Pump", "m-3": "fan"})
    assert len({name.casefold() for name in found.values()}) == 3
    assert found["m-3"] == "fan"


def test_an_entry_of_another_kind_is_refused_with_the_remedy(tmp_path: Path) -> None:
    claim(tmp_path / "m", "'pump' in the column 'kind'")
    claim(tmp_path / "m", "'pump' in the column 'kind'")
    with pytest.raises(TrainerError, match=r"belongs to another kind: 'pump' .*delete .*kind\.json"):
        claim(tmp_path / "m", "'fan' in the column 'kind'")
    (tmp_path / "m" / OWNER).write_text("[]")
    with pytest.raises(TrainerError, match=r"kind\.json: cannot be read, delete it"):
        claim(tmp_path / "m", "'pump' in the column 'kind'")
