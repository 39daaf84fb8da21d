"""History: the grid against a slow reference in pandas, splits by time, windows, and scaling."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.parquet.reader import Chunk
from connectors.records import Readings
from tests.support.strategies import INTERVAL_NS, NAMES, cuts_of, streams
from trainer.data import history as history_module
from trainer.data.channel_statistics import channel_statistics
from trainer.data.history import Chunks, History, Segment, Shares, build_history
from trainer.data.series_rate import rate_of
from trainer.data.training_windows import TrainingWindows
from trainer.errors import TooLittleDataError, TrainerError


def chunks_of(readings: Readings, cuts: list[int]) -> Chunks:
    """The readings in order of arrival, cut into chunks; series codes are the chunk's own."""

    def chunks() -> list[Chunk]:
        found = []
        for start, stop in pairwise(cuts):
            present, codes = np.unique(readings.series[start:stop], return_inverse=True)
            names = tuple(readings.names[code] for code in present)
            part = slice(start, stop)
            if start < stop:
                found.append(
                    Chunk(
                        readings.timestamp_ns[part],
                        names,
                        codes.astype(np.int32),
                        readings.values[part],
                        None,
                        None,
                    )
                )
        return found

    return lambda: iter(chunks())


def history_of(values: np.ndarray, interval_ns: int = 10, max_gap: int = 3, row: int = 0) -> History:
    """One series, a reading a row from row number `row` on; rows of NaN alone are left out."""
    present = ~np.isnan(values).all(axis=1)
    timestamp_ns = (row + np.flatnonzero(present)) * interval_ns
    chunk = Chunk(timestamp_ns, ("s",), np.zeros(len(timestamp_ns), np.int32), values[present], None, None)
    channels = tuple(f"c{number}" for number in range(values.shape[1]))
    return build_history(lambda: iter([chunk]), channels, interval_ns, max_gap)


def frame_of(history: History) -> pd.DataFrame:
    """Everything a history holds, by (series, row), with the number of the segment."""
    parts = []
    for number, segment in enumerate(history.segments):
        part = pd.DataFrame(history.read(segment.position, segment.stop))
        part["row"] = segment.row + np.arange(segment.length)
        part["series"], part["segment"] = segment.series, number
        parts.append(part)
    return pd.concat(parts).set_index(["series", "row"])


def reference(readings: Readings, max_gap: int) -> pd.DataFrame:
    """The same, slow and obvious: sort, take the last value of each row, fill short gaps."""
    frame = pd.DataFrame(readings.values)
    frame["series"] = [readings.names[code] for code in readings.series]
    rate = rate_of(chunks_of(readings, [0, len(readings)]), INTERVAL_NS, 4)
    frame["row"] = 0
    for code, name in enumerate(readings.names):
        mine = readings.series == code
        frame.loc[mine, "row"] = rate.rows(name, readings.timestamp_ns[mine])
    frame["timestamp"] = readings.timestamp_ns
    frame = frame.sort_values("timestamp", kind="stable")
    last = frame.drop(columns="timestamp").groupby(["series", "row"]).last()
    parts, number = [], -1
    for name, mine in last.groupby(level="series"):
        rows = mine.index.get_level_values("row").to_numpy()
        for stretch in np.split(rows, np.flatnonzero(np.diff(rows) - 1 > max_gap) + 1):
            number += 1
            full = pd.MultiIndex.from_product([[name], range(stretch[0], stretch[-1] + 1)])
            part = mine.reindex(full)
            part["segment"] = number
            parts.append(part)
    return pd.concat(parts).rename_axis(["series", "row"])


# The grid


@settings(max_examples=60)
@given(readings=streams(), max_gap=st.integers(0, 6), data=st.data())
def test_any_readings_in_any_chunks_give_the_rows_of_the_reference(
    readings: Readings, max_gap: int, data: st.DataObject
) -> None:
    if len(readings) == 0:
        return
    chunks = chunks_of(readings, data.draw(cuts_of(len(readings))))
    with build_history(chunks, ("a", "b"), INTERVAL_NS, max_gap) as history:
        pd.testing.assert_frame_equal(
            frame_of(history), reference(readings, max_gap), check_dtype=False, check_index_type=False
        )


@settings(max_examples=20)
@given(readings=streams(max_rows=60))
def test_rows_that_many_chunks_share_are_resolved_a_few_at_a_time(readings: Readings) -> None:
    if len(readings) == 0:
        return
    chunks = chunks_of(readings, list(range(len(readings) + 1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_module, "_CONTESTED_READINGS", 4)
        with build_history(chunks, ("a", "b"), INTERVAL_NS, 2) as history:
            pd.testing.assert_frame_equal(
                frame_of(history), reference(readings, 2), check_dtype=False, check_index_type=False
            )


def test_the_interval_is_inferred_where_it_is_not_stated() -> None:
    values = np.arange(20.0)[:, None]
    chunk = Chunk(np.arange(20) * 60, ("s",), np.zeros(20, np.int32), values, None, None)
    with build_history(lambda: iter([chunk]), ("c",), None, 0) as history:
        assert history.interval_ns == 60
        assert history.num_rows == 20


def test_the_fingerprint_is_of_the_values_times_and_series() -> None:
    def fingerprint(values: np.ndarray, name: str = "s", shift: int = 0) -> str:
        chunk = Chunk(np.arange(5) * 10 + shift, (name,), np.zeros(5, np.int32), values, None, None)
        with build_history(lambda: iter([chunk]), ("c",), 10, 0) as history:
            return history.fingerprint

    values = np.arange(5.0)[:, None]
    same = {fingerprint(values), fingerprint(values.copy())}
    others = {fingerprint(values + 1), fingerprint(values, "t"), fingerprint(values, shift=1)}
    assert len(same) == 1
    assert len(same | others) == 4


def test_a_scratch_directory_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    chunk = Chunk(np.arange(5), ("s",), np.zeros(5, np.int32), np.zeros((5, 1)), None, None)
    with pytest.raises(TrainerError) as caught:
        build_history(lambda: iter([chunk]), ("c",), 1, 0, scratch=tmp_path / "no")
    assert str(caught.value) == (
        "cannot write the scratch file of the history: No such file or directory; it needs 0 MiB:"
        " set TMPDIR to a directory with more room"
    )


def test_no_rows_and_single_rows_are_too_little() -> None:
    with pytest.raises(TooLittleDataError, match=r"^the history has no rows$"):
        build_history(lambda: iter([]), ("c",), 10, 0)
    chunk = Chunk(np.zeros(1, np.int64), ("s",), np.zeros(1, np.int32), np.zeros((1, 1)), None, None)
    with pytest.raises(
        TooLittleDataError, match=r"^the interval between rows cannot be inferred from single rows;"
    ):
        build_history(lambda: iter([chunk]), ("c",), None, 0)


# Splits


def positions(segment: Segment) -> range:
    return range(segment.position, segment.stop)


@settings(max_examples=40)
@given(readings=streams(), max_gap=st.integers(0, 6))
def test_the_parts_are_disjoint_in_time_order_and_together_the_history(
    readings: Readings, max_gap: int
) -> None:
    if len(readings) == 0:
        return
    shares = Shares(0.2, 0.3)
    with build_history(chunks_of(readings, [0, len(readings)]), ("a", "b"), INTERVAL_NS, max_gap) as history:
        parts = [history.part(name, shares) for name in ("train", "validation", "calibration")]
        for name in NAMES:
            mine = [[s for s in part if s.series == name] for part in parts]
            rows = [row for part in mine for s in part for row in range(s.row, s.row + s.length)]
            whole = [s for s in history.segments if s.series == name]
            assert rows == [row for s in whole for row in range(s.row, s.row + s.length)]
            assert all(a.position < b.position for p, q in pairwise(mine) for a in p for b in q)
            for name_of_all, some in (("fit", parts[:2]), ("all", parts)):
                joined = [s for s in history.part(name_of_all, shares) if s.series == name]
                expected = [p for part in some for s in part if s.series == name for p in positions(s)]
                assert [p for s in joined for p in positions(s)] == expected


def test_every_series_is_split_at_the_same_shares_of_its_own_rows() -> None:
    series = np.repeat([0, 1], [100, 40]).astype(np.int32)
    timestamp_ns = np.concatenate([np.arange(100), np.arange(500, 540)])
    chunk = Chunk(timestamp_ns, ("long", "short"), series, np.zeros((140, 1)), None, None)
    with build_history(lambda: iter([chunk]), ("c",), 1, 0) as history:
        train = {s.series: s.length for s in history.part("train", Shares(0.15, 0.2))}
        calibration = {s.series: s.length for s in history.part("calibration", Shares(0.15, 0.2))}
    assert train == {"long": 65, "short": 26}
    assert calibration == {"long": 20, "short": 8}


def test_windows_that_end_in_a_part_may_begin_before_it_but_not_before_a_gap() -> None:
    """Stretches of 50, 3, 20 and 7 rows; the last quarter begins at the eighth row of the third."""
    with history_of(gapped()) as history:
        part = history.part("calibration", Shares(0.2, 0.25))
        reaching = history.reaching_back(part, 6)
        values = [history.read(s.position, s.stop)[:, 0].tolist() for s in reaching]
        assert [(s.row, s.length) for s in part] == [(82, 13), (113, 7)]
        assert values == [[float(row) for row in range(76, 95)], [float(row) for row in range(113, 120)]]
        assert [s.row for s in reaching] == [76, 113]
        assert [s.row for s in history.reaching_back(part, 1_000)] == [75, 113]
        assert history.reaching_back(part, 0) == part


# Windows


def windows_of(history: History, window: int, stride: int = 1) -> TrainingWindows:
    channels = len(history.channels)
    return TrainingWindows(history, history.segments, np.zeros(channels), np.ones(channels), window, stride)


def gapped() -> np.ndarray:
    """Values that are their row number, in stretches of 50, 3, 20 and 7 rows."""
    values = np.arange(120.0)[:, None].copy()
    for start, stop in ((50, 60), (63, 75), (95, 113)):
        values[start:stop] = np.nan
    return values


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("block", [4, 1 << 14])
def test_an_epoch_has_every_window_once_and_none_across_a_long_gap(stride: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch, history_of(gapped()) as history:
        patch.setattr("trainer.data.training_windows._BLOCK_WINDOWS", block)
        patch.setattr("trainer.data.training_windows._POOL_WINDOWS", 2 * block)
        windows = windows_of(history, 5, stride)
        batches = list(windows.shuffled(7, np.random.default_rng(0), 10**9))
        found = np.concatenate(batches)[:, :, 0]
    starts = [
        s for first, num in ((0, 50), (75, 20), (113, 7)) for s in range(first, first + num - 4, stride)
    ]
    assert sorted(found[:, 0].tolist()) == starts
    assert (np.diff(found, axis=1) == 1).all()
    assert len(found) == len(windows)
    assert found[:, 0].tolist() != starts


def test_an_epoch_is_the_same_for_the_same_seed_only() -> None:
    def epoch(seed: int) -> list[list[float]]:
        return np.concatenate(list(windows.shuffled(8, np.random.default_rng(seed), 100)))[:, 0, 0].tolist()

    with history_of(np.arange(300.0)[:, None]) as history:
        windows = windows_of(history, 6)
        assert epoch(1) == epoch(1)
        assert epoch(1) != epoch(2)


def test_a_capped_epoch_takes_about_so_many_windows_from_all_over() -> None:
    with pytest.MonkeyPatch.context() as patch, history_of(np.arange(5_000.0)[:, None]) as history:
        patch.setattr("trainer.data.training_windows._BLOCK_WINDOWS", 100)
        patch.setattr("trainer.data.training_windows._POOL_WINDOWS", 400)
        windows = windows_of(history, 6)
        found = np.concatenate(list(windows.shuffled(32, np.random.default_rng(0), 500)))[:, 0, 0]
    assert 400 <= len(found) <= 600
    assert len(set(found.tolist())) == len(found)
    assert found.min() < 1_500
    assert found.max() > 3_500


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_spread_windows_are_whole_and_reach_from_the_first_to_the_last(stride: int) -> None:
    with history_of(gapped()) as history:
        windows = windows_of(history, 5, stride)
        found = windows.spread(10**6)[:, :, 0]
        few = windows.spread(4)[:, 0, 0]
    assert len(found) == len(windows)
    assert (np.diff(found, axis=1) == 1).all()
    starts = [
        s for first, num in ((0, 50), (75, 20), (113, 7)) for s in range(first, first + num - 4, stride)
    ]
    assert found[:, 0].tolist() == starts
    assert (len(few), few[0], few[-1]) == (4, starts[0], starts[-1])


def test_short_gaps_are_missing_values_inside_windows() -> None:
    values = np.arange(20.0)[:, None].copy()
    values[8:10] = np.nan
    with history_of(values, max_gap=2) as history:
        found = windows_of(history, 20).spread(1)[0, :, 0]
    np.testing.assert_array_equal(found, values[:, 0])


# Scaling


def test_the_statistics_are_mean_deviation_and_runs_of_equal_values() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(1e6, 0.5, (4_000, 4))
    values[::7, 0] = np.nan
    values[:, 1] = 42.0
    values[:, 2] = 0.0
    values[:, 3] = np.repeat(rng.permutation(1_000), 4)
    with history_of(values) as history:
        found = channel_statistics(history, history.segments, window=8)
    np.testing.assert_allclose(found.center[[0, 3]], np.nanmean(values[:, [0, 3]], axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.scale[[0, 3]], np.nanstd(values[:, [0, 3]], axis=0), rtol=1e-6)
    assert found.center[1:3].tolist() == [42.0, 0.0]
    np.testing.assert_allclose(found.scale[1:3], [4.2, 1.0])
    assert found.flatline_rows.tolist() == [8, 0, 0, 12]


def test_runs_go_on_across_blocks_and_missing_values_but_not_across_long_gaps() -> None:
    values = np.arange(200.0)[:, None].copy()
    values[90:112] = 5.0
    values[100] = np.nan
    values[150:156] = 7.0
    values[156:170] = np.nan
    values[170:176] = 7.0
    with pytest.MonkeyPatch.context() as patch, history_of(values, max_gap=4) as history:
        patch.setattr("trainer.data.channel_statistics._BLOCK_ROWS", 16)
        found = channel_statistics(history, history.segments, window=4)
    assert found.flatline_rows.tolist() == [0]  # 21 of 185: too large a part of the history
    values[90:112, 0] = np.arange(22) + 1000.0
    with history_of(values, max_gap=4) as history:
        found = channel_statistics(history, history.segments, window=4)
    assert found.flatline_rows.tolist() == [18]
