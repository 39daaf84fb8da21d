"""Which series stand out from their kind: by the spread of the others, at any scale."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.kinds.unexplained import StandsOut, standing_out

MEASURES = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.floats(0.01, 1.0), max_size=8)


def test_one_far_above_the_others_stands_out() -> None:
    (found,) = standing_out({"a": 0.10, "b": 0.11, "c": 0.12, "d": 0.60})
    assert found.series == "d"
    assert found.unexplained == 0.60
    assert abs(found.others - 0.11) < 1e-9


def test_a_wide_spread_or_a_small_factor_is_no_reason() -> None:
    assert standing_out({"a": 0.05, "b": 0.1, "c": 0.2, "d": 0.4}) == []
    assert standing_out({"a": 0.10, "b": 0.10, "c": 0.10, "d": 0.14}) == []
    assert standing_out({"a": 0.5}) == []
    assert standing_out({"a": float("nan"), "b": 0.2}) == []


@given(MEASURES, st.floats(0.1, 10))
def test_the_unit_of_the_measure_decides_nothing(measures: dict[str, float], factor: float) -> None:
    # Beside a limit, rounding may decide; such measures are not compared.
    moved = {name: value * (1 + 1e-6) for name, value in measures.items()}
    names = {one.series for one in standing_out(measures)}
    scaled = {one.series for one in standing_out({name: value * factor for name, value in moved.items()})}
    assert scaled == names or any(
        np.isclose(np.log(one.unexplained / one.others), np.log(1.5), atol=1e-3)
        for one in standing_out(measures)
    )


@given(MEASURES)
def test_the_best_explained_series_never_stands_out(measures: dict[str, float]) -> None:
    if measures:
        assert min(measures, key=measures.__getitem__) not in {one.series for one in standing_out(measures)}


def test_only_a_clear_gain_makes_a_series_better_alone() -> None:
    assert StandsOut("a", 0.6, 0.1, 0.2).better_alone
    assert "it would be better alone" in StandsOut("a", 0.6, 0.1, 0.2).words()
    assert not StandsOut("a", 0.6, 0.1, 0.5).better_alone
    assert "it is no better alone" in StandsOut("a", 0.6, 0.1, 0.5).words()
    assert "too few for a model of its own" in StandsOut("a", 0.6, 0.1).words()
