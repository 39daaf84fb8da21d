"""The yardstick equals a computation with scikit-learn that shares no code with it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from connectors.parquet.reader import Chunk
from trainer.data.history import History, build_history
from trainer.evaluation.baseline import plain_linear_errors

WINDOW, LATENT = 10, 2  # an eighth of the cells


def series(num_rows: int, seed: int) -> np.ndarray:
    """Two noisy channels of different units, float64 [rows, 2]."""
    rng = np.random.default_rng(seed)
    angle = np.arange(num_rows)[:, None] * 0.3 + [0.0, 1.0]
    return [50.0, -3.0] + np.array([4.0, 0.1]) * (np.sin(angle) + 0.3 * rng.standard_normal(angle.shape))


def history_of(values: np.ndarray) -> History:
    chunk = Chunk(np.arange(len(values)), ("s",), np.zeros(len(values), np.int32), values, None, None)
    return build_history(lambda: iter([chunk]), ("a", "b"), 1, 0)


def windows_of(values: np.ndarray) -> np.ndarray:
    """All windows, flattened, float64 [n, cells]."""
    return np.stack([values[at : at + WINDOW].ravel() for at in range(len(values) - WINDOW + 1)])


def expected_errors(training: np.ndarray, values: np.ndarray, causal: bool) -> np.ndarray:
    fitted = training[: round(0.8 * len(training))]
    center, scale = fitted.mean(axis=0), fitted.std(axis=0)
    pca = PCA(LATENT, svd_solver="full").fit(windows_of((fitted - center) / scale))
    scaled = (values - center) / scale
    windows = pca.inverse_transform(pca.transform(windows_of(scaled))).reshape(-1, WINDOW, 2)
    predicted: list[list[np.ndarray]] = [[] for _ in values]
    for at, window in enumerate(windows):
        for place in [WINDOW - 1] if causal else range(WINDOW):
            predicted[at + place].append(window[place])
    expected = np.array([np.mean(one, axis=0) if one else [np.nan, np.nan] for one in predicted])
    return np.square(scaled - expected).mean(axis=1)


@pytest.mark.parametrize("causal", [True, False])
def test_plain_linear_errors_are_those_of_principal_components(causal: bool) -> None:
    training, values = series(300, 0), series(200, 1)
    with history_of(training) as history:
        found = plain_linear_errors(history, values, WINDOW, causal)
    expected = expected_errors(training, values, causal)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    assert np.isnan(found).sum() == (WINDOW - 1 if causal else 0)


def test_a_causal_error_knows_nothing_of_later_rows() -> None:
    training, values = series(300, 0), series(200, 1)
    changed = values.copy()
    changed[150:] = 1e6
    with history_of(training) as history:
        first, second = (plain_linear_errors(history, one, WINDOW, True) for one in (values, changed))
        offline, other = (plain_linear_errors(history, one, WINDOW, False) for one in (values, changed))
    np.testing.assert_array_equal(first[:150], second[:150])
    assert (offline[145:150] != other[145:150]).all()


def test_missing_values_add_no_error() -> None:
    training, values = series(300, 0), series(200, 1)
    values[50, 0] = np.nan
    values[60] = np.nan
    with history_of(training) as history:
        found = plain_linear_errors(history, values, WINDOW, causal=True)
    assert np.flatnonzero(np.isnan(found)).tolist() == [*range(WINDOW - 1), 60]
    whole = series(200, 1)
    whole[50, 0] = (whole[49, 0] + whole[51, 0]) / 2  # what the model sees there
    expected = expected_errors(training, whole, causal=True)
    np.testing.assert_allclose(found[51:59], expected[51:59], rtol=1e-3)
