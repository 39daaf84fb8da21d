"""Rows by each series' own interval, lines and clock: what is kept, held, dropped, and what starts again."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.rows.clock_rules import CONFIRM, RATE_STEPS, RESTART_AFTER
from detector.rows.grid import Grid, Rows

SECOND = 10**9
HOUR = 3600 * SECOND
START = 1_767_225_600 * SECOND  # a whole multiple of every interval here


def fed(grid: Grid, times: np.ndarray, cuts: list[int] | None = None, slot: np.ndarray | None = None) -> list:
    """Feed one value a reading, its place in `times`; return [(slot, round, row, value)] in order."""
    times = np.asarray(times, np.int64)
    slots = np.zeros(len(times), np.int32) if slot is None else slot
    values = np.repeat(np.arange(len(times), dtype=float)[:, None], grid.num_channels, axis=1)
    found = []
    turns = {0: 0, 1: 0, 2: 0}

    def note(rows: Rows) -> None:
        columns = zip(rows.slot.tolist(), rows.row.tolist(), rows.values[:, 0].tolist(), strict=True)
        found.extend((slot, turns[slot], row, value) for slot, row, value in columns)

    for start, stop in itertools.pairwise([0, *(cuts or []), len(times)]):
        for turned, rows in grid.rounds(slots[start:stop], times[start:stop], values[start:stop]):
            for one in turned:
                turns[one] += 1
            note(rows)
    note(grid.flush())
    return found


def of_slot(found: list, slot: int) -> list:
    return [one[1:] for one in found if one[0] == slot]


@st.composite
def clocks(draw: st.DrawFn) -> np.ndarray:
    """Times of one sensor in order of arrival: spells of a rate with jitter, drift, jumps, repeats."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    now, times = START + draw(st.sampled_from([0, 1, 875, 940, 500])) * SECOND // 1000, []
    for _ in range(draw(st.integers(1, 5))):
        step = draw(st.sampled_from([SECOND, SECOND, 20 * SECOND, 61 * SECOND, 1_003_000_000]))
        num = draw(st.integers(1, 150))
        jitter = draw(st.sampled_from([0, 3_000_000, 200_000_000, SECOND]))
        spell = now + np.arange(num) * step + rng.integers(-jitter, jitter + 1, num)
        if draw(st.booleans()):
            stray = rng.integers(0, num, 2)
            spell[stray] += rng.choice([-HOUR, 5 * SECOND, 70 * SECOND, HOUR, 20 * HOUR], 2)
        times.append(spell)
        now += num * step + draw(st.sampled_from([0, 0, SECOND // 3, 600 * SECOND, 9 * HOUR, -2 * HOUR]))
    return np.concatenate(times)


@given(data=st.data(), lateness=st.sampled_from([0, 3 * SECOND]))
@settings(max_examples=25)
def test_any_cut_gives_the_same_rows_and_counts(data: st.DataObject, lateness: int) -> None:
    sensors = [data.draw(clocks()) for _ in range(2)]
    times = np.concatenate(sensors)
    slot = np.repeat(np.arange(2, dtype=np.int32), [len(one) for one in sensors])
    order = np.argsort(np.concatenate([np.linspace(0, 1, len(one)) for one in sensors]), kind="stable")
    grids = [Grid(1, SECOND, lateness, slow_rows=4) for _ in range(3)]
    some = sorted(data.draw(st.lists(st.integers(0, len(times)), max_size=6)))
    cuts = [None, some, list(range(1, len(times)))]
    found = [fed(grid, times[order], cut, slot[order]) for grid, cut in zip(grids, cuts, strict=True)]
    for one in range(2):
        assert of_slot(found[0], one) == of_slot(found[1], one) == of_slot(found[2], one)
    assert grids[0].counters == grids[1].counters == grids[2].counters


@given(data=st.data())
@settings(max_examples=20)
def test_every_reading_is_in_a_row_or_counted(data: st.DataObject) -> None:
    times = data.draw(clocks())
    grid = Grid(1, SECOND, 0, slow_rows=4)
    found = fed(grid, times)
    counters = grid.counters
    assert len({value for *_, value in found}) == len(found)  # no reading twice
    lost = counters.late + counters.suspect_dropped + counters.duplicate + counters.overwritten
    assert len(found) + lost == len(times)
    assert counters.suspect >= counters.suspect_dropped
    assert counters.dropped == counters.late + counters.suspect_dropped
    rounds = {}
    for _, turn, row, _ in found:
        assert row > rounds.get(turn, -(2**62))  # ascending within a round
        rounds[turn] = row


@given(
    phase_ms=st.integers(0, 9_999),
    jitter_ms=st.integers(0, 300),
    seed=st.integers(0, 99),
    drift_us=st.sampled_from([0, 0, 300, 1000]),
)
@settings(max_examples=25)
def test_jitter_loses_nothing_wherever_the_readings_lie(
    phase_ms: int, jitter_ms: int, seed: int, drift_us: int
) -> None:
    """One reading a row, and the rows follow each other; a drift costs a missing row a whole interval."""
    num, rng = 600, np.random.default_rng(seed)
    jitter = rng.integers(-jitter_ms, jitter_ms + 1, num) * 10**6
    times = START + phase_ms * 10**6 + np.arange(num) * (10 * SECOND + drift_us * 1000) + jitter
    found = fed(Grid(1, 10 * SECOND, 0, slow_rows=4), times)
    assert len(found) == num
    assert found[-1][2] - found[0][2] - (num - 1) <= 1


@pytest.mark.parametrize("drift", [-0.0001, 0.0001, 0.001])
def test_days_of_drift_lose_one_reading_an_interval_at_most(drift: float) -> None:
    num, interval = 40_000, 10 * SECOND
    rng = np.random.default_rng(1)
    times = START + (np.arange(num) * interval * (1 + drift)).astype(np.int64)
    found = fed(Grid(1, interval, 0, slow_rows=4), times + rng.integers(-3, 4, num) * 10**6, [7_000, 7_001])
    assert num - len(found) <= abs(drift) * num + 1
    rows = np.array([row for _, _, row, _ in found])
    assert np.count_nonzero(np.diff(rows) > 1) <= abs(drift) * num + 1


def test_rows_on_whole_intervals_keep_their_time() -> None:
    times = START + np.arange(200) * 60 * SECOND
    found = fed(Grid(1, 60 * SECOND, 0, slow_rows=4), times)
    assert [row * 60 * SECOND for _, _, row, _ in found] == times.tolist()


def test_channels_that_come_a_second_apart_are_one_row() -> None:
    minutes = START + np.arange(1, 100) * 60 * SECOND
    for first, second in ((0, 1000), (-2, 1), (-1000, 0)):
        times = np.column_stack([minutes + first * 10**6, minutes + second * 10**6]).ravel()
        assert len(fed(Grid(2, 60 * SECOND, 0, slow_rows=4), times)) == len(minutes)


def test_a_sensor_restarted_at_the_old_lines_loses_few_readings() -> None:
    rng = np.random.default_rng(2)
    jitter = rng.integers(-3, 4, 1000) * 10**6
    times = START + np.arange(1000) * 10 * SECOND + jitter
    times[500:] += 8_750 * 10**6
    found = fed(Grid(1, 10 * SECOND, 0, slow_rows=4), times)
    assert 1000 - len(found) <= 32


@settings(max_examples=30)
@given(
    jump=st.integers(601, 86_400),
    num=st.integers(20, 200),
    at=st.integers(0, 19),
    together=st.integers(1, CONFIRM - 1),
    cut=st.integers(1, 20),
)
def test_a_reading_far_ahead_costs_only_itself(jump: int, num: int, at: int, together: int, cut: int) -> None:
    times = START + np.arange(num) * 60 * SECOND
    ahead = times[at] + (jump + np.arange(together)) * SECOND
    grid = Grid(1, 60 * SECOND, 0, slow_rows=4)
    found = fed(grid, np.concatenate([times[: at + 1], ahead, times[at + 1 :]]), [cut])
    rows = {row for _, _, row, _ in found}
    assert {int(time // (60 * SECOND)) for time in times} <= rows
    assert grid.counters.late == 0
    assert grid.counters.suspect == together


@settings(max_examples=30)
@given(hours=st.integers(1, 3000), after=st.integers(CONFIRM, 50), lateness=st.sampled_from([0, 120]))
def test_a_true_gap_resumes_after_three_readings_without_loss(hours: int, after: int, lateness: int) -> None:
    before = START + np.arange(30) * 60 * SECOND
    then = before[-1] + hours * HOUR + np.arange(after) * 60 * SECOND
    grid = Grid(1, 60 * SECOND, lateness * SECOND, slow_rows=4)
    rows = []
    for time in [*before, *then]:
        rows += grid.add(np.zeros(1, np.int32), np.array([time]), np.ones((1, 1))).row.tolist()
    waiting = 1 + lateness // 60
    assert len(rows) == 30 + after - waiting
    assert grid.counters.suspect_dropped == grid.counters.late == 0


@settings(max_examples=30)
@given(back=st.integers(3, 5000), num=st.integers(RESTART_AFTER, 300))
def test_a_clock_that_goes_back_is_late_and_then_starts_again(back: int, num: int) -> None:
    times = np.concatenate([np.arange(50), 50 - back + np.arange(num)]) * 60 * SECOND + START
    grid = Grid(1, 60 * SECOND, 0, slow_rows=4)
    grid.add(np.zeros(54, np.int32), times[:54], np.ones((54, 1)))
    assert grid.late_slots().tolist() == ([0] if back > 4 else [])
    grid = Grid(1, 60 * SECOND, 0, slow_rows=4)
    found = fed(grid, times)
    if back > RESTART_AFTER:
        assert grid.counters.clock_restarts == 1
        assert [row for _, turn, row, _ in found if turn == 1] == (times[52:] // (60 * SECOND)).tolist()
    else:
        assert grid.counters.clock_restarts == 0


@pytest.mark.parametrize(("interval", "step"), [(1, 60), (1, 7), (60, 3600), (10, 7200)])
@pytest.mark.parametrize("jitter_ms", [0, 4])
def test_a_series_of_a_slower_rate_gets_rows_of_its_own(interval: int, step: int, jitter_ms: int) -> None:
    rng = np.random.default_rng(3)
    times = START + np.arange(200) * step * SECOND + rng.integers(-jitter_ms, jitter_ms + 1, 200) * 10**6
    grid = Grid(1, interval * SECOND, 0, slow_rows=4)
    found = fed(grid, times)
    assert grid.counters.interval_changes == 1
    assert grid.intervals.data[0] == step * SECOND
    own = [row for _, turn, row, _ in found if turn == 1]
    assert len(own) >= 200 - RATE_STEPS - 2
    assert set(np.diff(own).tolist()) == {1}


def test_a_series_that_becomes_fast_again_gets_its_rows_back() -> None:
    steps = np.repeat([1, 60, 1], [100, 60, 200])
    grid = Grid(1, SECOND, 0, slow_rows=4)
    fed(grid, START + np.cumsum(steps) * SECOND)
    assert grid.counters.interval_changes == 2
    assert grid.intervals.data[0] == SECOND


def test_bursts_and_pauses_are_no_slower_rate() -> None:
    steps = np.tile([1] * 30 + [50], 40)
    grid = Grid(1, SECOND, 0, slow_rows=4)
    fed(grid, START + np.cumsum(steps) * SECOND)
    assert grid.counters.interval_changes == 0
