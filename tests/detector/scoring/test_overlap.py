"""Rows that wait: the output of each is the mean over the windows that cover it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.rows.grid import Rows
from detector.rows.windows import GapFiller, NewRows
from detector.scoring.outputs.overlap import OutputSpec, OverlapAverager, RowOutput, WindowOutput

MAX_GAP = 2
NUM_ROWS = 80
WINDOWS, SPANS = (6, 3), (5, 3)
WAIT = max(SPANS) - 1


def rows_of(seed: int, missing: float) -> Rows:
    """Two series of `NUM_ROWS` rows less those that never came."""
    rng = np.random.default_rng(seed)
    slot, row = np.nonzero(rng.random((2, NUM_ROWS)) >= missing)
    return Rows(slot.astype(np.int32), row, rng.standard_normal((len(row), 2)))


def within(rows: Rows, start: int, stop: int) -> Rows:
    at = (rows.row >= start) & (rows.row < stop)
    return Rows(rows.slot[at], rows.row[at], rows.values[at])


def output(slot: np.ndarray, end: np.ndarray, back: np.ndarray) -> np.ndarray:
    """The output of the window of a series that ends at `end`, for the row `back` rows before."""
    return np.sin(5.0 * slot + 3.0 * end + back)


def outputs_of(new_rows: NewRows, window: int, span: int) -> WindowOutput:
    ends = np.flatnonzero(new_rows.age >= window)
    back = np.arange(span)[::-1]
    return WindowOutput(ends, output(new_rows.slot[ends, None], new_rows.row[ends, None], back)[:, :, None])


class Run:
    """One averager with two kinds of outputs, and every row that it returned."""

    def __init__(self) -> None:
        self.gap_filler = GapFiller(MAX_GAP)
        self.overlap = OverlapAverager(2, [OutputSpec(1, span) for span in SPANS])
        self.age: dict[tuple[int, int], int] = {}
        self.found: dict[tuple[int, int], tuple[float, ...]] = {}

    def feed(self, rows: Rows) -> None:
        if len(rows) == 0:
            return
        new_rows = self.gap_filler.extend(rows)
        for slot, row, age in zip(new_rows.slot, new_rows.row, new_rows.age, strict=True):
            self.age[int(slot), int(row)] = int(age)
        outputs = [outputs_of(new_rows, *one) for one in zip(WINDOWS, SPANS, strict=True)]
        self.take(self.overlap.add(new_rows, np.zeros(new_rows.values.shape, np.uint8), outputs))

    def take(self, found: RowOutput) -> None:
        keys = list(zip(found.slot.tolist(), found.row.tolist(), strict=True))
        assert keys == sorted(keys)
        assert not self.found.keys() & set(keys), "a row was final twice"
        means = np.concatenate(found.means, axis=1)
        self.found |= {key: tuple(mean) for key, mean in zip(keys, means.tolist(), strict=True)}


def mean_by_hand(age: dict[tuple[int, int], int], slot: int, row: int, window: int, span: int) -> float:
    """Over the windows that contain the row, are full, and end less than `span` rows after it."""
    ends = [end for end in range(row, row + span) if age.get((slot, end), 0) >= window]
    outputs = [output(np.array(slot), np.array(end), np.array(end - row)) for end in ends]
    return float(np.mean(outputs)) if outputs else float("nan")


@given(
    seed=st.integers(0, 2**32 - 1),
    missing=st.sampled_from([0.0, 0.2, 0.6]),
    cuts=st.lists(st.integers(0, NUM_ROWS), max_size=12),
)
def test_every_row_has_the_mean_of_its_windows_once_whatever_the_cut(
    seed: int, missing: float, cuts: list[int]
) -> None:
    rows, run = rows_of(seed, missing), Run()
    for start, stop in itertools.pairwise([0, *sorted(cuts), NUM_ROWS]):
        run.feed(within(rows, start, stop))
    run.take(run.overlap.flush())
    assert run.found.keys() == run.age.keys()
    for (slot, row), found in run.found.items():
        expected = [mean_by_hand(run.age, slot, row, *one) for one in zip(WINDOWS, SPANS, strict=True)]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_row_waits_for_as_many_rows_as_may_still_cover_it_and_no_more() -> None:
    rows, run = rows_of(0, 0.0), Run()
    for row in range(NUM_ROWS):
        run.feed(within(rows, row, row + 1))
        assert len(run.found) == 2 * max(0, row + 1 - WAIT)


def test_rows_before_a_long_gap_are_final_when_it_ends() -> None:
    rows, run = rows_of(0, 0.0), Run()
    run.feed(within(rows, 0, 20))
    assert max(row for _, row in run.found) == 19 - WAIT
    run.feed(within(rows, 20 + MAX_GAP + 1, 20 + MAX_GAP + 2))
    assert sorted(row for slot, row in run.found if slot == 0) == list(range(20))


def test_actual_values_and_flags_stay_with_their_row() -> None:
    rows = rows_of(1, 0.0)
    new_rows = GapFiller(MAX_GAP).extend(rows)
    flags = np.random.default_rng(0).integers(0, 4, rows.values.shape, dtype=np.uint8)
    overlap = OverlapAverager(2, [OutputSpec(1, span) for span in SPANS])
    outputs = [outputs_of(new_rows, *one) for one in zip(WINDOWS, SPANS, strict=True)]
    for found in (overlap.add(new_rows, flags, outputs), overlap.flush()):
        at = found.slot * NUM_ROWS + found.row
        np.testing.assert_array_equal(found.actual, rows.values[at])
        np.testing.assert_array_equal(found.flags, flags[at])


def test_one_value_of_a_window_counts_for_every_row_of_its_span() -> None:
    new_rows = GapFiller(MAX_GAP).extend(within(rows_of(0, 0.0), 0, 10))
    ends = np.flatnonzero(new_rows.age >= 4)
    overlap = OverlapAverager(2, [OutputSpec(2, 3)])
    values = np.stack([new_rows.row[ends], -new_rows.row[ends]], axis=1)[:, None, :].astype(float)
    found = overlap.add(new_rows, np.zeros((20, 2), np.uint8), [WindowOutput(ends, values)])
    assert found.row[:8].tolist() == list(range(8))
    np.testing.assert_array_equal(found.means[0][3:8, 0], [4.0, 5.0, 6.0, 7.0, 8.0])
    np.testing.assert_array_equal(found.means[0][1:3, 0], [3.0, 3.5])
    np.testing.assert_array_equal(found.means[0][:8, 1], -found.means[0][:8, 0])


@pytest.mark.parametrize("spans", [(1, 1), SPANS])
def test_dropped_series_are_forgotten_and_the_others_kept(spans: tuple[int, int]) -> None:
    rows, overlap = rows_of(0, 0.0), OverlapAverager(2, [OutputSpec(1, span) for span in spans])
    new_rows = GapFiller(MAX_GAP).extend(within(rows, 0, 20))
    outputs = [outputs_of(new_rows, *one) for one in zip(WINDOWS, spans, strict=True)]
    overlap.add(new_rows, np.zeros((40, 2), np.uint8), outputs)
    overlap.drop(np.array([0], np.int32))
    rest = overlap.flush()
    assert rest.slot.tolist() == [1] * (max(spans) - 1)
    assert len(overlap.flush()) == 0
