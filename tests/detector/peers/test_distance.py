"""The distance of a series from the others: against the definition, written out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detector.peers.distance import differences, distances, features, lasting

MAYBE = st.one_of(st.floats(-1e3, 1e3), st.just(float("nan")))


@given(st.integers(1, 9).flatmap(lambda num: arrays(np.float64, (num, 3), elements=MAYBE)))
def test_a_difference_is_to_the_median_of_the_others(values: np.ndarray) -> None:
    found = differences(values)
    for at, feature in np.ndindex(*values.shape):
        others = np.delete(values[:, feature], at)
        others = others[~np.isnan(others)]
        own = values[at, feature]
        wanted = own - np.median(others) if len(others) >= 3 else np.nan
        np.testing.assert_allclose(found[at, feature], wanted, rtol=1e-12, atol=1e-9)


def test_a_crowd_that_is_wider_than_usual_is_the_unit() -> None:
    usual = np.array([[-1.0], [1.0], [-1.0], [1.0], [8.0]])
    units = np.ones((5, 1))
    np.testing.assert_allclose(distances(usual, units)[-1], 8.0 / 1.4826)
    np.testing.assert_allclose(distances(10 * usual, units)[-1], 8.0 / 1.4826)
    np.testing.assert_allclose(distances(usual, 4 * units)[-1], 2.0)


def test_a_residual_is_unknown_where_a_channel_that_it_needs_is() -> None:
    weights = np.array([[0.0, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    found = features(np.array([[2.0, 1.0, 4.0], [np.nan, 1.0, 4.0]]), weights)
    np.testing.assert_array_equal(found[0], [2, 1, 4, 2, 0, 4])
    np.testing.assert_array_equal(found[1], [np.nan, 1, 4, np.nan, np.nan, 4])


def test_what_changes_its_side_does_not_last() -> None:
    run = np.array([[5.0, -5.0, 5.0, np.nan], [4.0, -6.0, -5.0, 5.0], [6.0, -4.0, 5.0, 5.0]])
    np.testing.assert_array_equal(lasting(run), [4, -4, 0, np.nan])
