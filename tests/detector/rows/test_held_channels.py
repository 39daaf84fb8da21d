"""Slow channels keep their last value: against an oracle, for any cut, in the engine and in the history."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from connectors.parquet.reader import Chunk
from connectors.records import Readings
from detector.artifact.bounds import check_description
from detector.artifact.registry import open_artifact, publish
from detector.artifact.spec import Artifact
from detector.engine.engine import Engine
from detector.engine.snapshot import gather, scatter
from detector.rows.grid import Grid
from tests.support.artifacts import make_artifact
from trainer import fit
from trainer.config import DataOptions, TrainConfig
from trainer.data.history import build_history
from trainer.errors import TrainerError
from trainer.held_values import hold_values

INTERVAL, SLOW = 10, 4
HOLDS = (0, 35, 20)
BASE = 10**9
cell = st.just(np.nan) | st.integers(0, 99).map(float)
readings = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 250), st.tuples(cell, cell, cell)), min_size=1, max_size=30
)
Some = list[tuple[int, int, tuple[float, ...]]]


def arrays(some: Some) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
    slot, time, values = zip(*some, strict=True)
    return np.array(slot, np.int32), np.array(time, np.int64) + BASE, np.array(values, np.float64)


def ordered(some: Some) -> Some:
    return sorted(some, key=lambda one: one[1])


def rows_of(grid: Grid, parts: list[Some]) -> dict[tuple[int, int], list[float]]:
    found = {}
    for part in parts:
        if part:
            for _, rows in grid.rounds(*arrays(part)):
                found |= {
                    (s, r): v for s, r, v in zip(rows.slot, rows.row, rows.values.tolist(), strict=True)
                }
    last = grid.flush()
    found |= {(s, r): v for s, r, v in zip(last.slot, last.row, last.values.tolist(), strict=True)}
    return {(int(s), int(r)): v for (s, r), v in found.items()}


def oracle(plain: dict[tuple[int, int], list[float]]) -> dict[tuple[int, int], list[float]]:
    """Row after row: a missing value is the last one of its series, if that is young and a value came."""
    newest: dict[tuple[int, int], tuple[int, float]] = {}
    found = {}
    for slot, row in sorted(plain):
        values = list(plain[slot, row])
        is_sent = not all(np.isnan(values))
        for at, hold in enumerate(HOLDS):
            came, value = newest.get((slot, at), (-(10**9), np.nan))
            if not np.isnan(values[at]):
                newest[slot, at] = row, values[at]
            elif is_sent and hold and (row - came) * INTERVAL <= hold:
                values[at] = value
        found[slot, row] = values
    return found


def new_grid(hold_ns: tuple[int, ...] = HOLDS) -> Grid:
    return Grid(3, INTERVAL, 0, 1 << 62, hold_ns)


@given(some=readings, cuts=st.lists(st.integers(0, 30), max_size=4))
def test_the_rows_are_those_of_the_oracle_for_any_cut(some: Some, cuts: list[int]) -> None:
    some = ordered(some)
    bounds = [0, *sorted(cuts), len(some)]
    parts = [some[a:b] for a, b in pairwise(bounds)]
    expected = oracle(rows_of(new_grid(()), [some]))
    for cut in ([some], parts, [[one] for one in some]):
        np.testing.assert_equal(rows_of(new_grid(), cut), expected)


@given(some=readings, cut=st.integers(0, 30))
def test_a_restored_grid_goes_on(some: Some, cut: int) -> None:
    some = ordered(some)
    first, second = some[:cut], some[cut:]
    whole, before, after = new_grid(), new_grid(), new_grid()
    rows_of_first = {}
    if first:
        slots = np.unique(arrays(first)[0])
        for _, rows in before.rounds(*arrays(first)):
            rows_of_first |= {
                (int(s), int(r)): v for s, r, v in zip(rows.slot, rows.row, rows.values.tolist(), strict=True)
            }
        scatter(after.arrays(), slots, gather(before.arrays(), slots))
        after.resume(slots, gather(before.arrays(), slots)[:, : after.clock_bytes])
        for slot, open_ in zip(slots.tolist(), before.open_readings(slots), strict=True):
            after.reopen(np.full(len(open_.row), slot, np.int32), open_)
    np.testing.assert_equal(rows_of_first | rows_of(after, [second]), rows_of(whole, [some]))


@given(some=readings)
def test_the_history_has_the_rows_of_the_grid(some: Some) -> None:
    some = ordered([(slot, time // INTERVAL * INTERVAL, values) for slot, time, values in some])
    slot, time, values = arrays(some)
    chunk = Chunk(names=("0", "1"), series=slot, timestamp_ns=time, values=values, label=None, split=None)
    channels = ("a", "b", "c")
    with build_history(lambda: iter([chunk]), channels, INTERVAL, 3) as history:
        hold_values(history, {"b": HOLDS[1], "c": HOLDS[2]})
        found = {
            (int(one.series), one.row + at): values
            for one in history.segments
            for at, values in enumerate(history.read(one.position, one.stop).tolist())
        }
    expected = rows_of(new_grid(), [some])
    np.testing.assert_equal({key: found[key] for key in expected}, expected)
    assert all(np.isnan(found[key]).all() for key in found.keys() - expected.keys())


def with_holds(**holds: int) -> Artifact:
    artifact = make_artifact()
    return replace(artifact, spec=replace(artifact.spec, holds=holds))


def stream(artifact: Artifact, num: int = 160) -> Readings:
    """A fast channel, and a slow one that has a value in every tenth reading."""
    values = np.random.default_rng(3).standard_normal((num, 2))
    values[np.arange(num) % 10 > 0, 1] = np.nan
    time = BASE * artifact.spec.interval_ns + np.arange(num) * artifact.spec.interval_ns
    zeros = np.zeros(num, np.int32)
    return Readings(("pump",), zeros, time, values, zeros, np.arange(num))


def test_an_engine_goes_on_from_a_saved_state_with_the_same_bits() -> None:
    name = make_artifact().spec.channel_names[1]
    artifact = with_holds(**{name: 6 * make_artifact().spec.interval_ns})
    read = stream(artifact)
    whole = Engine(artifact).step(read).verdicts
    is_first = np.arange(len(read)) < 73
    first, second = Engine(artifact), Engine(artifact)
    before = first.step(read.take(is_first)).verdicts
    second.restore(first.save(first.slots_of(["pump"])), 0, None)
    after = second.step(read.take(~is_first)).verdicts
    np.testing.assert_array_equal(np.concatenate([before.score, after.score]), whole.score)
    np.testing.assert_array_equal(np.concatenate([before.actual, after.actual]), whole.actual)
    known = ~np.isnan(whole.actual[:, 1])
    assert known[:17].tolist() == [True] * 7 + [False] * 3 + [True] * 7
    plain = Engine(make_artifact())
    assert plain.origin.layout != first.origin.layout
    assert np.isnan(plain.step(read).verdicts.actual[:, 1]).mean() > 0.8


def test_models_without_slow_channels_have_the_layout_and_fingerprint_of_before() -> None:
    spec = make_artifact().spec
    assert spec.hold_ns == (0,) * len(spec.channels)
    assert new_grid(()).arrays()[0].data.dtype == new_grid().arrays()[0].data.dtype
    assert len(new_grid(()).arrays()) == len(new_grid().arrays()) - 2


@pytest.mark.parametrize("holds", [{"nobody": 5}, {"flow": 0}, {"flow": -1}, {"flow": 2**62}])
def test_a_description_with_an_impossible_hold_is_refused(holds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="holds"):
        check_description(asdict(with_holds(**holds).spec))


def test_a_hold_of_the_training_names_a_channel() -> None:
    assert DataOptions.model_validate({"hold": {"lab": "10min"}}).holds() == {"lab": 600 * 10**9}
    time, values = np.arange(3) * 10 + BASE, np.ones((3, 1))
    zeros = np.zeros(3, np.int32)
    chunk = Chunk(names=("a",), series=zeros, timestamp_ns=time, values=values, label=None, split=None)
    with (
        build_history(lambda: iter([chunk]), ("x",), 10, 1) as history,
        pytest.raises(TrainerError, match="'lab' is no channel; known: x"),
    ):
        hold_values(history, {"lab": 5})


def test_a_model_is_trained_and_used_with_held_values(tmp_path: Path) -> None:
    num, every, hold = 400, 8, 10
    angle = np.arange(num) * 2 * np.pi / 20
    fast = np.sin(angle) + 0.1 * np.random.default_rng(0).standard_normal(num)
    is_sent = (np.arange(num) % every == 0) & ~((np.arange(num) > 200) & (np.arange(num) < 240))
    slow = np.where(is_sent, np.cos(angle / 10), np.nan)
    index = pd.date_range("2026-01-01", periods=num, freq="s", tz="UTC", name="timestamp")
    frame = pd.DataFrame({"fast": fast, "slow": slow}, index)
    config = TrainConfig(data=DataOptions(hold={"slow": hold}))
    publish(fit(frame, model="linear", window=16, config=config), tmp_path / "model")
    artifact = open_artifact(str(tmp_path / "model"))
    assert artifact.spec.holds == {"slow": hold * 10**9}
    zeros = np.zeros(num, np.int32)
    time = index.as_unit("ns").asi8
    engine = Engine(artifact)
    read = Readings(("series",), zeros, time, np.column_stack([fast, slow]), zeros, np.arange(num))
    actual = np.concatenate([engine.step(read).verdicts.actual, engine.flush().verdicts.actual])
    last = np.maximum.accumulate(np.where(is_sent, np.arange(num), -1))
    is_young = np.arange(num) - last <= hold
    np.testing.assert_array_equal(actual[:, 1], np.where(is_young, slow[last], np.nan))
    assert np.count_nonzero(~is_young) == 29
    scale = artifact.spec.channels[1].scale
    assert 0.4 < scale < 1.2  # of a slow cosine; with zeros or without values it would be another one
