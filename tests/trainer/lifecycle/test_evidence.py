"""Rows between two times, and how many alarms a budget explains."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.parquet.dataset import Dataset, discover
from detector.artifact.spec import Artifact
from detector.engine.engine import EngineOptions
from trainer import fit
from trainer.config import ModelOptions, TrainConfig
from trainer.lifecycle.evidence import between, gather, measure, most_by_chance
from trainer.lifecycle.past import FOREVER, Past, Stretch, time_outside

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


START_NS, MINUTE = 1_767_225_600 * SECOND, 60 * SECOND


def at_row(row: int) -> int:
    """The time of a row of `model_and_rows`."""
    return START_NS + row * MINUTE


@pytest.fixture(scope="module")
def model_and_rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Dataset]:
    """A model of 2,000 rows, and 5,000 rows whose level differs from row 3,000 to 3,999."""
    rng = np.random.default_rng(0)
    values = np.sin(np.arange(5_000)[:, None] * 0.2 + np.array([0.0, 1.0])) + rng.normal(0, 0.1, (5_000, 2))
    values[3_000:4_000, 0] += 6.0
    index = pd.date_range("2026-01-01", periods=5_000, freq="min", tz="UTC", name="timestamp")
    frame = pd.DataFrame(values, index=index, columns=["flow", "pressure"]).assign(series="pump-1")
    path = tmp_path_factory.mktemp("gate") / "rows.parquet"
    frame.reset_index().to_parquet(path, index=False)
    config = TrainConfig(name="pump", model=ModelOptions(family="linear", window=24))
    return fit(frame[:2_000], config=config), discover(path)


def test_a_fault_without_an_end_does_not_excuse_what_was_open_long_before(
    model_and_rows: tuple[Artifact, Dataset], tmp_path: Path
) -> None:
    artifact, dataset = model_and_rows
    for row, is_found in ((3_000, True), (3_800, False)):
        fault = Stretch("a1", "pump-1", at_row(row), FOREVER)
        options = EngineOptions()
        evidence = gather(dataset, Past(faults=(fault,)), at_row(2_500), [artifact.spec], tmp_path, options)
        assert evidence.faults[0].end_ns == at_row(4_999)
        found = measure(evidence, artifact, artifact.spec, lambda rows: None)
        assert (found.found == {0}, bool(found.alarms)) == (is_found, not is_found)


def test_muted_time_has_no_alarms_and_no_seconds_and_takes_no_injected_faults(
    model_and_rows: tuple[Artifact, Dataset], tmp_path: Path
) -> None:
    artifact, dataset = model_and_rows
    mute = Stretch("m1", "pump-1", at_row(2_900), at_row(4_100))
    other = Stretch("m2", "pump-2", at_row(0), FOREVER)
    found = [
        gather(dataset, Past(mutes=mutes), at_row(2_500), [artifact.spec], tmp_path, EngineOptions())
        for mutes in ((other,), (other, mute))
    ]
    assert [one.seconds for one in found] == [2_500 * 60, 1_300 * 60]
    loud, muted = (measure(one, artifact, artifact.spec, lambda rows: None) for one in found)
    assert (loud.alarms, muted.alarms, muted.in_alarm) == (1, 0, 0.0)
    assert loud.in_alarm is not None
    assert loud.in_alarm > 0.3
    assert all(rows[:, 0].max() < 3.0 for rows, _ in found[1].stretches), "none is of the muted rows"
    assert any(rows[:, 0].max() > 3.0 for rows, _ in found[0].stretches)


@given(
    st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.integers(0, 40), st.integers(0, 40))),
    st.integers(0, 40),
    st.integers(0, 40),
)
def test_time_outside_stretches_is_counted_as_moment_by_moment(
    rows: list[tuple[str, int, int]], one: int, other: int
) -> None:
    stretches = [Stretch("x", series, min(a, b), max(a, b)) for series, a, b in rows]
    start, end = sorted((one, other))
    moments = [
        at
        for at in range(start, end)
        if not any(s.series in ("", "a") and s.start_ns <= at < s.end_ns for s in stretches)
    ]
    assert time_outside(stretches, "a", start, end) == len(moments)
