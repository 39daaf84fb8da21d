"""After an acceptance: what is left of the old level is learnt from the next rows, and adds up no more."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detector.scoring.lasting.relearnt import RELEARNT_ROWS, RelearntDepartures
from tests.support.strategies import cuts_of

NUM_ROWS = 700


def followed(departure: np.ndarray, cuts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The departures after the correction, and what is usual at the end; series 1 was accepted, 0 was not."""
    relearnt, found = RelearntDepartures(departure.shape[2]), []
    relearnt.begin(1)
    for start, stop in itertools.pairwise(cuts):
        part = departure[:, start:stop].reshape(-1, departure.shape[2]).copy()
        slot = np.repeat(np.arange(2, dtype=np.int32), stop - start)
        part -= relearnt.usual(slot)
        relearnt.learn(slot, part)
        found.append(part.reshape(2, stop - start, departure.shape[2]))
    return np.concatenate(found, axis=1), relearnt.usual(np.array([0, 1], np.int32))


@given(
    seed=st.integers(0, 2**32 - 1),
    left=st.floats(-3, 3),
    missing=st.sampled_from([0.0, 0.1, 1.0]),
    cuts=cuts_of(NUM_ROWS),
)
def test_what_is_left_of_a_level_becomes_usual_however_rows_are_cut(
    seed: int, left: float, missing: float, cuts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    departure = rng.normal(0, 1, (2, NUM_ROWS, 3))
    departure[1, :, 0] += left
    departure[1, rng.random(NUM_ROWS) < missing, 2] = np.nan
    corrected, usual = followed(departure, list(cuts))
    whole, usual_of_whole = followed(departure, [0, NUM_ROWS])
    np.testing.assert_array_equal(corrected, whole)
    np.testing.assert_array_equal(usual, usual_of_whole)
    np.testing.assert_array_equal(corrected[0], departure[0])
    assert np.isnan(corrected[1, :RELEARNT_ROWS]).all()
    assert abs(corrected[1, RELEARNT_ROWS:, 0].mean()) < 0.5  # of a spread: 256 rows tell it to 1/16
    assert usual[1, 2] == 0.0 or missing < 1.0


@given(st.integers(0, 99), st.sampled_from([15.0, -64.0, 1e6]), st.integers(1, 15))
def test_a_few_wild_rows_do_not_become_usual(seed: int, size: float, rows: int) -> None:
    rng = np.random.default_rng(seed)
    departure = rng.normal(0, 1, (2, NUM_ROWS, 1))
    at = int(rng.integers(30, RELEARNT_ROWS - rows))
    departure[1, at : at + rows] += size
    assert abs(followed(departure, [0, NUM_ROWS])[1][1, 0]) < 0.6


def test_a_dropped_series_leaves_nothing() -> None:
    relearnt = RelearntDepartures(2)
    relearnt.begin(3)
    relearnt.learn(np.full(300, 3, np.int32), np.ones((300, 2)))
    assert relearnt.usual(np.array([3], np.int32)).tolist() == [[1.0, 1.0]]
    relearnt.drop(np.array([3], np.int32))
    assert not any(array.data.any() for array in relearnt.arrays())
