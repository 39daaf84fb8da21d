"""Rows between two times, and how many alarms a budget explains."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.parquet.dataset import Dataset, discover
from trainer.lifecycle.evidence import between, most_by_chance

SECOND = 10**9


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two files of 50 rows, the second before the first in time."""
    directory = tmp_path_factory.mktemp("rows")
    for name, first in (("a", 1_050), ("b", 1_000)):
        times = pd.to_datetime((first + np.arange(50)) * SECOND, utc=True)
        frame = pd.DataFrame({"timestamp": times, "flow": np.arange(50.0) + first, "label": 0})
        frame.to_parquet(directory / f"{name}.parquet", index=False)
    return discover(directory)


@given(st.integers(990, 1_110), st.integers(990, 1_110))
def test_rows_between_two_times_are_those_and_no_others(dataset: Dataset, one: int, other: int) -> None:
    first, last = sorted((one, other))
    chunks = list(between(dataset, first * SECOND, last * SECOND)())
    values = sorted(value for chunk in chunks for value in chunk.values[:, 0].tolist())
    assert values == [value for value in range(1_000, 1_100) if first <= value < last]
    for chunk in chunks:
        assert chunk.label is not None
        assert len(chunk) == len(chunk.series) == len(chunk.label) == len(chunk.values) > 0


def beyond(mean: float, number: int) -> float:
    """The probability that a Poisson count exceeds a number, by the sum of its terms."""
    if mean == 0:
        return 0.0
    terms = (math.exp(at * math.log(mean) - mean - math.lgamma(at + 1)) for at in range(number + 1))
    return 1.0 - math.fsum(terms)


@given(st.floats(0.0, 2_000.0))
def test_the_alarms_that_chance_explains_are_exceeded_in_one_of_a_hundred_cases(mean: float) -> None:
    most = most_by_chance(mean)
    assert beyond(mean, most) <= 0.0105  # above 500 by the normal distribution
    assert most == 0 or beyond(mean, most - 1) > 0.0085
