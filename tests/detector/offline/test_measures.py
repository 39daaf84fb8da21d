"""Measures against their published or well-kept implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from detector.offline.measuring.measures import (
    NO_ALARMS,
    auc_pr,
    auc_roc,
    autocorrelation_period,
    count_alarms,
    vus_pr,
)
from tests.support.data import labelled_files, read_labelled

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")


def reference_vus_pr(label: np.ndarray, score: np.ndarray, buffer: int) -> float:
    metrics = pytest.importorskip("vus.utils.metrics", reason="the reference implementation is not installed")
    return float(metrics.metricor().RangeAUC_volume_opt(label, score, buffer, 250)[-1])


def labels_with(events: list[tuple[int, int]], num_rows: int) -> np.ndarray:
    label = np.zeros(num_rows, np.int64)
    for first, length in events:
        label[first : first + length] = 1
    return label


@settings(max_examples=25)
@given(
    num_rows=st.integers(30, 400),
    events=st.lists(st.tuples(st.integers(0, 399), st.integers(1, 30)), min_size=1, max_size=6),
    buffer=st.integers(0, 40),
    decimals=st.sampled_from([1, 6]),
    seed=st.integers(0, 10**6),
)
def test_vus_pr_equals_the_reference(
    num_rows: int, events: list[tuple[int, int]], buffer: int, decimals: int, seed: int
) -> None:
    label = labels_with([(first % num_rows, length) for first, length in events], num_rows)
    if label.all():
        label[0] = 0
    score = np.random.default_rng(seed).random(num_rows).round(decimals) + label * 0.3
    assert vus_pr(label, score, buffer) == pytest.approx(reference_vus_pr(label, score, buffer), abs=1e-6)


@pytest.mark.parametrize(
    "events",
    [
        [(0, 5)],
        [(95, 5)],
        [(0, 1), (99, 1)],
        [(10, 3), (15, 3), (20, 3)],
        [(40, 20)],
        [(5, 1), (8, 1), (11, 1)],
    ],
)
@pytest.mark.parametrize("score", ["random", "constant", "perfect"])
def test_vus_pr_equals_the_reference_at_the_edges(events: list[tuple[int, int]], score: str) -> None:
    label = labels_with(events, 100)
    scores = {
        "random": np.random.default_rng(0).random(100),
        "constant": np.ones(100),
        "perfect": label.astype(float),
    }
    for buffer in (0, 1, 7, 30):
        expected = reference_vus_pr(label, scores[score], buffer)
        assert vus_pr(label, scores[score], buffer) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("path", labelled_files("tsb-nab")[:2], ids=lambda path: path.stem)
def test_vus_pr_equals_the_reference_on_real_series(path) -> None:  # a Path
    label, values, buffer = read_labelled(path)
    score = np.abs(values - np.median(values))
    assert vus_pr(label, score, buffer) == pytest.approx(reference_vus_pr(label, score, buffer), abs=1e-6)


def test_without_events_the_ranking_measures_are_unknown() -> None:
    nothing, score = np.zeros(10, np.int64), np.arange(10.0)
    assert np.isnan([vus_pr(nothing, score, 3), auc_pr(nothing, score), auc_roc(nothing, score)]).all()


@given(seed=st.integers(0, 10**6), num_rows=st.integers(5, 200), decimals=st.sampled_from([1, 6]))
def test_auc_equals_scikit_learn(seed: int, num_rows: int, decimals: int) -> None:
    rng = np.random.default_rng(seed)
    label, score = rng.integers(0, 2, num_rows), rng.random(num_rows).round(decimals)
    label[:2] = [0, 1]
    assert auc_pr(label, score) == pytest.approx(average_precision_score(label, score))
    assert auc_roc(label, score) == pytest.approx(roc_auc_score(label, score))


@pytest.mark.parametrize("period", [12, 24, 60, 170])
def test_the_period_equals_the_reference(period: int) -> None:
    sliding = pytest.importorskip("vus.utils.slidingWindows", reason="the reference is not installed")
    rng = np.random.default_rng(period)
    values = np.sin(np.arange(3_000) * 2 * np.pi / period) + 0.3 * rng.standard_normal(3_000)
    assert autocorrelation_period(values) == sliding.find_length(values)
    assert autocorrelation_period(values) == pytest.approx(period, abs=2)


@pytest.mark.parametrize("path", labelled_files("tsb-nab"), ids=lambda path: path.stem)
def test_the_period_equals_the_reference_on_real_series(path) -> None:  # a Path
    sliding = pytest.importorskip("vus.utils.slidingWindows", reason="the reference is not installed")
    _, values, _ = read_labelled(path)
    assert autocorrelation_period(values) == sliding.find_length(values)


def test_a_constant_or_short_series_has_the_fallback_period() -> None:
    assert autocorrelation_period(np.ones(1_000)) == autocorrelation_period(np.arange(4.0)) == 125


def test_alarms_are_counted_as_events() -> None:
    label = np.array([0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0])
    flagged = np.array([1, 0, 0, 1, 1, 1, 0, 1, 0, 0, 1, 1], bool)
    counts = count_alarms(label, flagged)
    assert (counts.events, counts.events_found, counts.false_alarms, counts.delays) == (2, 1, 3, (1,))
    assert (counts.precision, counts.recall) == (2 / 7, 2 / 4)
    assert counts.f1 == pytest.approx(2 * (2 / 7) * 0.5 / (2 / 7 + 0.5))
    assert counts.false_alarms_per_10k_rows == pytest.approx(2500)


def test_counts_of_several_series_add_up() -> None:
    one = count_alarms(np.array([0, 1]), np.array([True, False]))
    both = one + count_alarms(np.array([1, 1]), np.array([False, True]))
    assert (both.rows, both.events, both.events_found, both.false_alarms, both.delays) == (4, 2, 1, 1, (1,))
    assert np.isnan(NO_ALARMS.precision)


def test_an_unknown_score_is_refused_and_not_ranked_by_accident() -> None:
    label, score = np.array([0, 1, 0, 0]), np.array([0.1, np.nan, 0.3, np.nan])
    for measured in (auc_pr, auc_roc, lambda label, score: vus_pr(label, score, 2)):
        with pytest.raises(ValueError, match="2 of 4 scores are NaN, the first at row 1"):
            measured(label, score)
        with pytest.raises(ValueError, match="3 labels for 4 scores"):
            measured(label[:3], score)


def test_missing_values_count_as_the_mean_for_the_period() -> None:
    values = np.sin(np.arange(3_000) * 2 * np.pi / 48)
    values[np.random.default_rng(0).random(3_000) < 0.1] = np.nan
    assert autocorrelation_period(values) == pytest.approx(48, abs=1)
    assert autocorrelation_period(np.full(500, np.nan)) == autocorrelation_period(np.empty(0)) == 125
