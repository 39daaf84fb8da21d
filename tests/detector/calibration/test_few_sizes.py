"""The next of a few sizes is below the bound as often as stated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from detector.calibration.few_sizes import lowest_expected, t_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 8, 60])
@pytest.mark.parametrize("chance", [0.0001, 0.0143, 0.05, 0.4])
def test_the_quantile_is_that_of_scipy(chance: float, freedom: int) -> None:
    assert t_quantile(chance, freedom) == pytest.approx(float(t.ppf(chance, freedom)), rel=1e-9)


@pytest.mark.parametrize("num", [3, 4, 10])
@pytest.mark.parametrize("chance", [0.02, 0.1])
def test_the_next_size_is_below_it_with_the_chance(num: int, chance: float) -> None:
    rng = np.random.default_rng(num)
    sizes = np.exp(rng.normal(2.0, 0.4, (20_000, num + 1)))
    below = [row[-1] < lowest_expected(row[:-1], chance) for row in sizes]
    assert np.mean(below) == pytest.approx(chance, abs=0.005)
