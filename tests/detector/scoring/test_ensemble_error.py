"""Statistics of several members as one error."""

from __future__ import annotations

import numpy as np
import pytest

from detector.artifact.spec import Level, Member
from detector.scoring.ensemble_error import SPREAD_FLOOR, EnsembleError, level_of, log_statistics

NAN = float("nan")
UNIT = (Level(0.0, 2.0),)


def members(*windows: int) -> list[Member]:
    return [Member("linear", {}, window) for window in windows]


def errors(windows: tuple[int, ...], statistics: list[list[float]]) -> np.ndarray:
    return EnsembleError(members(*windows), [UNIT] * len(windows)).errors(np.array(statistics))


def test_a_single_distance_gives_its_root() -> None:
    assert errors((8,), [[4.0], [9.0]]) == pytest.approx([2.0, 3.0], rel=0.01)


def test_members_of_one_window_are_averaged_and_of_several_the_worst_counts() -> None:
    low, high = 1.0, 100.0
    same = errors((8, 8), [[low, high]])[0]
    assert same == pytest.approx((low * high) ** 0.25, rel=0.02)
    assert errors((8, 4), [[low, high]])[0] == pytest.approx(10.0, rel=0.02)
    assert errors((8, 4), [[high, low]])[0] == pytest.approx(10.0, rel=0.02)


def test_a_member_that_did_not_speak_is_left_out_and_none_is_unknown() -> None:
    found = errors((8, 4), [[NAN, 4.0], [4.0, NAN], [NAN, NAN]])
    assert found[:2] == pytest.approx([2.0, 2.0], rel=0.01)
    assert np.isnan(found[2])


def test_a_greater_distance_is_never_a_smaller_error() -> None:
    grid = np.sort(np.random.default_rng(0).exponential(size=(50, 3)), axis=0)
    assert (np.diff(errors((8, 8, 4), grid.tolist())) >= 0).all()


def test_levels_put_statistics_on_a_common_scale() -> None:
    rng = np.random.default_rng(0)
    held_out = np.exp(rng.standard_normal((5_000, 2)) * [0.2, 1.0] + [3.0, -1.0])
    levels = [(level_of(log_statistics(held_out[:, at])),) for at in range(2)]
    assert levels[1][0].spread == pytest.approx(1.0 + SPREAD_FLOOR, abs=0.05)
    combination = EnsembleError(members(8, 4), levels)
    each = [np.where(mask, held_out, NAN) for mask in ([True, False], [False, True])]
    for one in each:
        above = combination.errors(one) > 1.0
        assert 0.005 < above.mean() < 0.03


# A memory beside the other members


def beside(statistics: list[list[float]], num_statistics: int = 1) -> np.ndarray:
    """Errors of two windows and a memory, whose statistics stand last."""
    everyone = [*members(8, 4), Member("memory", {}, 8)]
    return EnsembleError(everyone, [UNIT * num_statistics] * 3).errors(np.array(statistics))


def test_half_of_the_error_is_the_memory_and_half_the_worst_of_the_others() -> None:
    low, high, core = 1.0, 100.0, 25.0
    expected = (high * core) ** 0.25
    assert beside([[low, high, core], [high, low, core]]) == pytest.approx([expected] * 2, rel=0.02)


def test_either_half_alone_counts_where_the_other_is_unknown() -> None:
    found = beside([[4.0, 9.0, NAN], [NAN, NAN, 16.0], [NAN, NAN, NAN]])
    assert found[:2] == pytest.approx([3.0, 4.0], rel=0.01)
    assert np.isnan(found[2])


def test_of_a_memory_only_the_distance_to_its_cores_counts() -> None:
    first, second = beside([[1.0, 1.0, 1.0, 1.0, 9.0, 1.0], [1.0, 1.0, 1.0, 1.0, 9.0, 1e6]], num_statistics=2)
    assert first == second == pytest.approx(9.0**0.25, rel=0.02)


def test_a_memory_alone_gives_the_root_of_its_distance() -> None:
    assert EnsembleError([Member("memory", {}, 8)], [UNIT]).errors(np.array([[9.0]])) == pytest.approx(
        [3.0], rel=0.01
    )


# The mean of all kinds


def by_the_mean(statistics: list[list[float]], spread: float = 1.0) -> np.ndarray:
    """Errors of two members over 8 rows, one over 4 and a memory."""
    everyone = [*members(8, 8, 4), Member("memory", {}, 8)]
    return EnsembleError(everyone, [(Level(0.0, spread),)] * 4, "mean").errors(np.array(statistics))


def test_half_is_the_worst_window_and_half_the_mean_of_all_kinds() -> None:
    long, short, core = np.sqrt(100.0 * 4.0), 9.0, 25.0
    expected = np.sqrt(np.sqrt(long * (long * short * core) ** (1 / 3)))
    assert by_the_mean([[100.0, 4.0, short, core]]) == pytest.approx([expected], rel=0.01)


def test_the_spread_of_the_held_out_rows_does_not_change_the_mean() -> None:
    rows = np.random.default_rng(0).exponential(size=(20, 4)).tolist()
    np.testing.assert_array_equal(by_the_mean(rows), by_the_mean(rows, spread=7.0))


def test_in_the_mean_an_unknown_kind_counts_as_its_high_level() -> None:
    found = by_the_mean([[16.0, 16.0, 1.0, 1.0], [16.0, 16.0, NAN, NAN], [NAN, NAN, NAN, NAN]])
    assert found[:2] == pytest.approx([16.0 ** (1 / 3)] * 2, rel=0.01)
    assert np.isnan(found[2])


def test_a_memory_alone_gives_the_root_of_its_distance_by_either_rule() -> None:
    alone = EnsembleError([Member("memory", {}, 8)], [(Level(0.0, 1.0),)], "mean")
    assert alone.errors(np.array([[9.0]])) == pytest.approx([3.0], rel=0.01)


def test_a_single_family_has_the_same_order_of_errors_by_either_rule() -> None:
    rows = np.random.default_rng(0).exponential(size=(50, 1))
    one, other = (EnsembleError(members(8), [UNIT], rule).errors(rows) for rule in ("mean", "worst"))
    np.testing.assert_array_equal(np.argsort(one), np.argsort(other))
