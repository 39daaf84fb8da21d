"""Shapes of incidents: what the rules name, that they follow from the rows alone, and in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.incidents.shapes.course import FIRST_ROWS, LATER_ROWS, course_from, go_on, rows_of
from detector.incidents.shapes.features import figures_of
from detector.incidents.shapes.recent_rows import RECENT, RecentRows, Stretch
from detector.incidents.shapes.shape import shape_of
from tests.trust.shapes import FAULTS, named, right
from tests.trust.world import World

LENGTH, BEFORE = 90, 24
GENERATED = ("spike", "level shift", "drift", "noise", "changed period")


def departures(shape: str, size: float, seed: int) -> np.ndarray:
    """Noise of a third of the band, with a fault of `size` bands from row `BEFORE` on, then 12 usual rows."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(LENGTH)
    change, _ = FAULTS[shape]
    rows[BEFORE:-12] = change(rows[BEFORE:-12], rows[BEFORE:-12], size, rng)
    return rows + 0.2 * rng.normal(size=LENGTH)


def alone(num: int) -> np.ndarray:
    """No other channel."""
    return np.empty((num, 0))


def others_of(seed: int) -> np.ndarray:
    """Three channels that move slowly, each by itself."""
    rng = np.random.default_rng([seed, 1])
    steps = rng.normal(size=(LENGTH, 3))
    for row in range(1, LENGTH):
        steps[row] += 0.8 * steps[row - 1]
    return steps


@pytest.mark.parametrize("shape", GENERATED)
def test_most_generated_departures_get_their_shape(shape: str) -> None:
    found = []
    for size in (3.0, 5.0, 9.0):
        for seed in range(20):
            rows = departures(shape, size * (-1) ** seed, seed)
            seen = figures_of(np.arange(LENGTH), 50.0 + rows, rows, BEFORE, others_of(seed))
            found.append(shape_of(seen)[0])
    assert found.count(shape) >= 0.8 * len(found)


@pytest.mark.parametrize("level", [0.0, 3.0])
def test_departures_that_move_as_another_channel_are_lost_correlation(level: float) -> None:
    """What is expected follows another channel, and the channel does not; it may have another level too."""
    found = []
    for seed in range(40):
        others = others_of(seed)
        rows = departures("level shift", level, seed)
        rows[BEFORE:-12] -= 1.5 * others[BEFORE:-12, seed % 3]
        found.append(shape_of(figures_of(np.arange(LENGTH), 50.0 + rows, rows, BEFORE, others))[0])
    assert found.count("lost correlation") >= 0.8 * len(found)


def test_another_channel_without_values_or_without_movement_says_nothing() -> None:
    rows = departures("level shift", 5.0, 3)
    others = np.full((LENGTH, 2), 7.0)
    others[BEFORE + 5, 1] = np.nan
    for size in (1.0, 1e12):
        seen = figures_of(np.arange(LENGTH), 50.0 + rows, rows, BEFORE, size * others)
        assert seen.follows == 0.0
        assert shape_of(seen)[0] == "level shift"


@given(seed=st.integers(0, 10**6), size=st.floats(3.0, 50.0), shape=st.sampled_from(GENERATED))
def test_the_unit_of_a_channel_does_not_matter(seed: int, size: float, shape: str) -> None:
    rows = departures(shape, size, seed)
    one = figures_of(np.arange(LENGTH), 50.0 + rows, rows, BEFORE, alone(LENGTH))
    other = figures_of(np.arange(LENGTH), 1024.0 * (50.0 + rows), rows, BEFORE, alone(LENGTH))
    assert shape_of(one) == pytest.approx(shape_of(other)) or shape_of(one)[0] == shape_of(other)[0]


def test_a_departure_is_unclear_at_first_then_a_spike_or_a_level_shift() -> None:
    steady = np.zeros(60)
    steady[BEFORE:] = 4.0
    steady += 0.05 * np.random.default_rng(0).normal(size=60)
    over = steady.copy()
    over[BEFORE + 2 :] -= 4.0
    names = [
        shape_of(figures_of(np.arange(num), rows[:num] + 9.0, rows[:num], BEFORE, alone(num)))[0]
        for num, rows in ((BEFORE + 1, steady), (BEFORE + 30, steady), (BEFORE + 6, over))
    ]
    assert names == ["unclear", "level shift", "spike"]


def test_a_channel_that_repeats_its_values_anyway_is_not_stuck() -> None:
    counts = np.repeat([1.0, 2.0, 1.0, 3.0, 1.0, 2.0], 10)
    assert shape_of(figures_of(np.arange(60), counts, counts - 1.0, 30, alone(60)))[0] != "stuck"


def stretch(start: int, num: int) -> Stretch:
    when = np.arange(start, start + num, dtype=np.int64)
    return Stretch(when, np.repeat(when[:, None, None], 4, axis=2).reshape(-1, 2, 2).astype(np.float32))


@given(lengths=st.lists(st.integers(0, 90), max_size=12), before=st.integers(1, RECENT))
def test_a_course_is_bounded_and_the_same_for_any_cut(lengths: list[int], before: int) -> None:
    whole, cut = course_from(stretch(0, before)), course_from(stretch(0, before))
    total = sum(lengths)
    go_on(whole, stretch(before, total))
    at = before
    for length in lengths:
        go_on(cut, stretch(at, length))
        at += length
    assert cut == whole
    kept = rows_of(whole, stretch(before + total - 1, 1))
    assert len(kept) <= RECENT + FIRST_ROWS + LATER_ROWS + 1
    assert (np.diff(kept.when) > 0).all()
    assert set(range(min(before + total, before + FIRST_ROWS))) <= set(kept.when.tolist())


@given(lengths=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=8))
def test_the_recent_rows_are_the_last_ones_whatever_the_cut(lengths: list[tuple[int, int]]) -> None:
    recent, done = RecentRows(1), [0, 0]
    for pair in lengths:
        slot = np.repeat(np.arange(2, dtype=np.int32), pair)
        when = np.concatenate([np.arange(num) + done[at] for at, num in enumerate(pair)]).astype(np.int64)
        recent.add(slot, when, when[:, None] * 1.0, when[:, None] * 2.0)
        done = [old + num for old, num in zip(done, pair, strict=True)]
    for at, num in enumerate(done):
        found = recent.of(at)
        assert found.when.tolist() == list(range(max(0, num - RECENT), num))
        assert found.cells[:, 1, 0].tolist() == [2.0 * one for one in found.when]


def test_faults_through_the_engine_get_their_shapes() -> None:
    shapes = ["spike", "level shift", "drift", "stuck", "noise", "changed period"]
    found = named(World(3, "white"), shapes, range(1), 1)
    assert sum(found.values()) >= 12
    assert right(found) >= 0.8
