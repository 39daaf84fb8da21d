"""The p-value of a row: uniform for rows of the same law, small for few of them, never 0, monotone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.signal import lfilter

from detector.api import Detector, backtest
from detector.artifact.storage import load, save
from detector.calibration.p_values import PValues
from tests.support.artifacts import make_artifact

Draw = Callable[[np.random.Generator, int], np.ndarray]
LAWS: dict[str, Draw] = {
    "exponential": lambda rng, num: rng.exponential(1.0, num),
    "log-normal": lambda rng, num: np.exp(0.3 * rng.standard_normal(num)),
    "chi squared": lambda rng, num: rng.chisquare(20, num),
    "heavy": lambda rng, num: np.abs(rng.standard_t(5, num)),
    "bounded": lambda rng, num: rng.beta(3, 3, num),
}


def rows_of(law: str, seed: int, num: int, last: float) -> np.ndarray:
    """Return errors whose neighbours share a factor, as those of overlapping windows do."""
    rng = np.random.default_rng(seed)
    shared = stats.norm.cdf(_red(rng, num, last))
    ordered = np.sort(LAWS[law](np.random.default_rng(99), 200_000))
    return np.asarray(np.quantile(ordered, shared))


def _red(rng: np.random.Generator, num: int, last: float) -> np.ndarray:
    noise = rng.standard_normal(num) * np.sqrt(1 - last**2)
    return np.asarray(lfilter([1.0], [1.0, -last], noise))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("seed", "last"), [(0, 0.0), (1, 0.8)])
def test_p_values_of_the_same_law_are_uniform_and_their_tail_counts(law: str, seed: int, last: float) -> None:
    known = PValues(rows_of(law, seed, 60_000, last), value=2.0, sharpness=1.0)
    found = known.of_errors(rows_of(law, seed + 10, 200_000, last))
    assert stats.kstest(found[::40], "uniform").statistic < 0.04
    assert 0.5 <= float((found < 1e-3).mean()) / 1e-3 <= 2.0


@pytest.mark.parametrize("law", LAWS)
def test_another_law_is_not_uniform(law: str) -> None:
    known = PValues(rows_of(law, 0, 20_000, 0.0), value=2.0, sharpness=1.0)
    found = known.of_errors(1.6 * rows_of(law, 1, 20_000, 0.0))
    assert stats.kstest(found, "uniform").statistic > 0.1


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(LAWS)), st.integers(0, 50_000), st.integers(0, 2**31), st.floats(1.0, 8.0))
def test_a_higher_score_never_has_a_greater_p_value_and_none_is_0(
    law: str, num: int, seed: int, sharpness: float
) -> None:
    rng = np.random.default_rng(seed)
    known = PValues(LAWS[law](rng, num), value=2.0, sharpness=sharpness)
    scores = np.sort(np.concatenate([rng.exponential(1.0, 500), 10.0 ** rng.uniform(-12, 200, 200)]))
    found = known.of_scores(np.append(scores, np.nan))
    assert np.isnan(found[-1])
    if num == 0:
        assert np.isnan(found).all()
        return
    assert (np.diff(found[:-1]) <= 0).all()
    assert (found[:-1] > 0).all()
    assert (found[:-1] <= 1).all()


@pytest.mark.parametrize("errors", [np.ones(1), np.ones(500), np.zeros(500), np.array([0.0, np.nan, 2.0])])
def test_few_or_equal_errors_have_p_values_too(errors: np.ndarray) -> None:
    found = PValues(errors, value=1.0, sharpness=1.0).of_errors(np.array([0.0, 1.0, 1e9, np.nan]))
    num = np.count_nonzero(np.isfinite(errors))
    assert found[0] == 1.0
    assert found[2] == pytest.approx(1 / (num + 1))
    assert np.isnan(found[3])


def test_p_values_are_in_frames_and_survive_saving(tmp_path: Path) -> None:
    held_out = {"segment": np.zeros(4_000), "error": np.random.default_rng(0).exponential(1.0, 4_000)}
    artifact = replace(make_artifact(), held_out=held_out)
    times = pd.date_range("2026-01-01", periods=60, freq="1s", tz="UTC")
    values = np.random.default_rng(1).normal(size=(60, 2))
    frame = pd.DataFrame(values, index=times, columns=["flow", "pressure"])
    found = Detector(artifact).score(frame)
    known = found["score"].notna()
    assert known.any()
    assert (found["p_value"].notna() == known).all()
    assert found.loc[known, "p_value"].between(0, 1, inclusive="right").all()
    save(artifact, tmp_path / "model")
    again = backtest(load(tmp_path / "model"), frame).verdicts
    np.testing.assert_array_equal(again["p_value"], found["p_value"])
    assert Detector(make_artifact()).score(frame)["p_value"].isna().all(), "an older model has none"
