"""Channels that never moved in the history: what counts as a movement, and how it counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.artifact.spec import OwnScale, PageLimit
from detector.scoring.context.first_moves import FirstMoves
from detector.scoring.series_scales import SeriesScales
from tests.support.artifacts import make_artifact

LIMIT = PageLimit(1e-4)


def scales(own: dict[str, tuple[OwnScale, ...]] | None = None) -> SeriesScales:
    spec = make_artifact(("still", "moving")).spec
    channels = (replace(spec.channels[0], center=5.0, law="constant"), spec.channels[1])
    return SeriesScales(replace(spec, channels=channels, own_scales=own or {}))


def rows_of(values: list[float]) -> np.ndarray:
    return np.stack([np.array(values), np.arange(len(values), dtype=float)], axis=1)


@given(st.floats(-1e6, 1e6).filter(lambda by: abs(by) > 1e-3))
def test_the_model_sees_it_at_rest_whatever_it_does(by: float) -> None:
    some = scales()
    slot = np.zeros(2, np.int32)
    values = rows_of([5.0, 5.0 + by])
    scaled = some.to_model(values, slot)
    np.testing.assert_array_equal(scaled[:, 0], 0.0)
    assert some.moved(values, slot).tolist() == [[False, False], [True, False]]
    np.testing.assert_array_equal(some.to_channels(scaled.astype(np.float64), slot)[:, 0], 5.0)


def test_a_value_that_passed_through_32_bits_has_not_moved_and_an_unknown_one_neither() -> None:
    some = scales()
    values = rows_of([float(np.float32(5.0 * (1 + 1e-8))), np.nan])
    assert not some.moved(values, np.zeros(2, np.int32)).any()
    assert np.isnan(some.to_model(values, np.zeros(2, np.int32))[1, 0])


def test_an_accepted_value_is_at_rest_and_the_old_one_has_moved() -> None:
    some = scales()
    slot = np.zeros(2, np.int32)
    some.move(slot[:1], np.array([[1.5, 0.0]]))
    assert some.moved(rows_of([6.5, 5.0]), slot)[:, 0].tolist() == [False, True]


def test_a_series_without_a_value_of_its_own_is_not_judged() -> None:
    some = scales({"known": (OwnScale("still", 7.0, 1.0),)})
    some.name(np.array([0, 1], np.int32), ["known", "stranger"])
    moved = some.moved(rows_of([8.0, 8.0]), np.array([0, 1], np.int32))
    assert moved[:, 0].tolist() == [True, False]


def test_a_movement_counts_at_once_and_many_short_ones_raise_the_level() -> None:
    some = FirstMoves(scales(), LIMIT)
    values = np.full(2_000, 5.0)
    values[::40] = 6.0
    judged = np.ones(len(values), np.bool_)
    slot = np.zeros(len(values), np.int32)
    moves = some.add(slot, np.arange(len(values)), rows_of(values.tolist()), judged)
    assert moves.paged[0]
    assert moves.rows.sum() == 50
    assert moves.paged.sum() < 10


@pytest.mark.parametrize("earlier", [0, 3])
def test_a_movement_that_lasts_counts_however_many_came_before(earlier: int) -> None:
    some = FirstMoves(scales(), LIMIT)
    values = np.full(3_000, 5.0)
    values[40 : 40 + 40 * earlier : 40] = 6.0
    values[500:] = 6.0
    moves = some.add(
        np.zeros(3_000, np.int32), np.arange(3_000), rows_of(values.tolist()), np.ones(3_000, np.bool_)
    )
    assert moves.paged[1_000:].all()


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(0, 1_000))
def test_the_cut_into_calls_does_not_matter(cuts: list[int], seed: int) -> None:
    values = np.where(np.random.default_rng(seed).random(sum(cuts)) < 0.2, 6.0, 5.0)
    judged = np.random.default_rng(seed + 1).random(len(values)) < 0.9
    rows, row = rows_of(values.tolist()), np.arange(len(values))
    slot = np.zeros(len(values), np.int32)
    whole = FirstMoves(scales(), LIMIT).add(slot, row, rows, judged)
    some, paged = FirstMoves(scales(), LIMIT), []
    for start, stop in zip(np.cumsum([0, *cuts[:-1]]), np.cumsum(cuts), strict=True):
        part = slice(start, stop)
        paged.append(some.add(slot[part], row[part], rows[part], judged[part]).paged)
    np.testing.assert_array_equal(np.concatenate(paged), whole.paged)


def test_a_movement_beside_a_fault_shares_the_blame_and_alone_has_all_of_it() -> None:
    some = FirstMoves(scales(), LIMIT)
    moves = some.add(np.zeros(2, np.int32), np.arange(2), rows_of([6.0, 6.0]), np.ones(2, np.bool_))
    blame = moves.blame(np.array([[0.0, 9.0], [0.0, 9.0]]), np.array([False, True]))
    assert blame.tolist() == [[9.0, 9.0], [9.0, 0.0]]
