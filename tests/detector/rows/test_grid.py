"""The grid, the filled gaps and the windows against a slow, obvious reference written in pandas."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from connectors.records import Readings
from detector.rows.grid import Grid, Rows
from detector.rows.windows import GapFiller, WindowBuffer
from tests.support.strategies import INTERVAL_NS, cuts_of, order_within, part, reordered, streams

LATENESS = st.sampled_from([0, 10, 25, 60])


def frame_of(readings: Readings) -> pd.DataFrame:
    columns = {
        "slot": readings.partition,
        "time": readings.timestamp_ns,
        "row": readings.timestamp_ns // INTERVAL_NS,
    }
    channels = {f"c{i}": readings.values[:, i] for i in range(readings.values.shape[1])}
    return pd.DataFrame({**columns, **channels})


def reference_rows(readings: Readings, lateness_ns: int) -> tuple[pd.DataFrame, int]:
    """Return rows by definition: drop late readings, then take the newest value of each channel of a row."""
    kept = []
    for _, one in frame_of(readings).groupby("slot"):
        newest_before = one["time"].cummax().shift()
        first_open = (newest_before - lateness_ns) // INTERVAL_NS
        kept.append(one[~(one["row"] < first_open)])
    accepted = pd.concat(kept) if kept else frame_of(readings)
    newest_last = accepted.sort_values(["slot", "time"], kind="stable")
    rows = newest_last.drop(columns="time").groupby(["slot", "row"]).last()  # last() skips NaN
    return rows, len(readings) - len(accepted)


def grid_rows(readings: Readings, lateness_ns: int, cuts: list[int]) -> tuple[list[Rows], Grid]:
    grid = Grid(readings.values.shape[1], INTERVAL_NS, lateness_ns)
    emitted = []
    for start, stop in itertools.pairwise(cuts):
        batch = part(readings, start, stop)
        emitted.append(grid.add(batch.partition, batch.timestamp_ns, batch.values))
    return [*emitted, grid.flush()], grid


def as_frame(parts: list[Rows], num_channels: int = 2) -> pd.DataFrame:
    columns = {
        "slot": np.concatenate([p.slot for p in parts]),
        "row": np.concatenate([p.row for p in parts]),
        **{f"c{i}": np.concatenate([p.values[:, i] for p in parts]) for i in range(num_channels)},
    }
    return pd.DataFrame(columns).set_index(["slot", "row"]).sort_index()


@given(data=st.data(), readings=streams(), lateness_ns=LATENESS)
def test_rows_equal_the_reference_however_the_input_is_cut(
    data: st.DataObject, readings: Readings, lateness_ns: int
) -> None:
    cuts = data.draw(cuts_of(len(readings)))
    expected, num_late = reference_rows(readings, lateness_ns)
    emitted, grid = grid_rows(readings, lateness_ns, cuts)
    pd.testing.assert_frame_equal(as_frame(emitted), expected, check_dtype=False, check_index_type=False)
    assert grid.counters.late == num_late


@given(readings=streams(), lateness_ns=st.sampled_from([20, 60]), seed=st.integers(0, 10**6))
def test_any_order_within_lateness_gives_the_same_rows(
    readings: Readings, lateness_ns: int, seed: int
) -> None:
    in_order = reordered(readings, np.argsort(readings.timestamp_ns, kind="stable"))
    shuffled = reordered(in_order, order_within(in_order, lateness_ns, seed))
    (rows, _), (other, grid) = (grid_rows(r, lateness_ns, [0, len(r)]) for r in (in_order, shuffled))
    pd.testing.assert_frame_equal(as_frame(other), as_frame(rows))
    assert grid.counters.late == 0


@given(data=st.data(), readings=streams(), lateness_ns=LATENESS)
def test_counters_do_not_depend_on_the_cut(data: st.DataObject, readings: Readings, lateness_ns: int) -> None:
    _, whole = grid_rows(readings, lateness_ns, [0, len(readings)])
    _, pieces = grid_rows(readings, lateness_ns, data.draw(cuts_of(len(readings))))
    assert pieces.counters == whole.counters


@given(readings=streams(), lateness_ns=LATENESS)
def test_each_row_is_emitted_once_and_only_when_closed(readings: Readings, lateness_ns: int) -> None:
    grid = Grid(2, INTERVAL_NS, lateness_ns)
    seen: set[tuple[int, int]] = set()
    newest: dict[int, int] = {}
    for at in range(len(readings)):
        one = part(readings, at, at + 1)
        slot, time = int(one.partition[0]), int(one.timestamp_ns[0])
        rows = grid.add(one.partition, one.timestamp_ns, one.values)
        newest[slot] = max(newest.get(slot, time), time)
        for closed in zip(rows.slot.tolist(), rows.row.tolist(), strict=True):
            assert closed not in seen
            assert (closed[1] + 1) * INTERVAL_NS <= newest[slot] - lateness_ns
            seen.add(closed)


def test_duplicates_late_and_out_of_order_are_counted_apart() -> None:
    times = np.array([100, 110, 105, 110, 130, 95, 131])
    grid = Grid(1, INTERVAL_NS, lateness_ns=10)
    grid.add(np.zeros(7, np.int32), times, np.arange(7.0)[:, None])
    counters = grid.counters
    assert (counters.out_of_order, counters.duplicate, counters.late) == (1, 1, 1)


def test_another_channel_at_the_same_time_completes_the_row_and_is_no_duplicate() -> None:
    grid = Grid(2, INTERVAL_NS, 0)
    values = np.array([[1.0, np.nan], [np.nan, 2.0], [9.0, 9.0]])
    rows = grid.add(np.zeros(3, np.int32), np.array([100, 100, 110]), values)
    np.testing.assert_array_equal(rows.values, [[1.0, 2.0]])
    assert grid.counters.duplicate == 0


def test_a_null_never_overwrites_a_value() -> None:
    grid = Grid(1, INTERVAL_NS, 0)
    rows = grid.add(np.zeros(3, np.int32), np.array([100, 105, 110]), np.array([[1.0], [np.nan], [5.0]]))
    np.testing.assert_array_equal(rows.values, [[1.0]])


def test_times_far_apart_do_not_overflow() -> None:
    times = np.array([9 * 10**18, 1_000, 8 * 10**18, 2_000])
    grid = Grid(1, INTERVAL_NS, 0)
    rows = grid.add(np.array([0, 1, 0, 1], np.int32), times, np.ones((4, 1)))
    assert rows.row.tolist() == [100]
    assert grid.counters.late == 1


def reference_windows(rows: pd.DataFrame, window: int, max_gap: int) -> dict[tuple[int, int], np.ndarray]:
    """Map (slot, row) to the window that ends there, if its rows have no long gap between them."""
    found = {}
    for slot, one in rows.groupby(level="slot"):
        one = one.droplevel("slot")
        long_gap = np.diff(one.index, prepend=one.index[0]) - 1 > max_gap
        for _, joined in one.groupby(np.cumsum(long_gap)):
            full = joined.reindex(range(joined.index[0], joined.index[-1] + 1))
            for end in range(window, len(full) + 1):
                found[(slot, int(full.index[end - 1]))] = full.to_numpy(np.float32)[end - window : end]
    return found


@given(data=st.data(), readings=streams(), window=st.integers(1, 9), max_gap=st.integers(0, 4))
def test_windows_equal_the_reference(
    data: st.DataObject, readings: Readings, window: int, max_gap: int
) -> None:
    rows, _ = reference_rows(readings, 0)
    emitted, _ = grid_rows(readings, 0, data.draw(cuts_of(len(readings))))
    gap_filler, buffer = GapFiller(max_gap), WindowBuffer(window - 1, 2)
    found = {}
    for emitted_part in emitted:
        new_rows = gap_filler.extend(emitted_part)
        flat, at = buffer.flatten(new_rows, new_rows.values.astype(np.float32))
        for index in np.flatnonzero(new_rows.age >= window):
            key = (int(new_rows.slot[index]), int(new_rows.row[index]))
            found[key] = flat[at[index] - window + 1 : at[index] + 1].copy()
    expected = reference_windows(rows, window, max_gap)
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_array_equal(found[key], values)


def test_a_dropped_series_starts_again_as_new() -> None:
    grid = Grid(1, INTERVAL_NS, 0)
    grid.add(np.zeros(2, np.int32), np.array([500, 510]), np.ones((2, 1)))
    grid.drop(np.array([0], np.int32))
    rows = grid.add(np.zeros(2, np.int32), np.array([100, 110]), np.ones((2, 1)))
    assert rows.row.tolist() == [10]
    assert grid.counters.late == 0
