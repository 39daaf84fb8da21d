"""Whitening: distances near 1 on what is normal, and far from it where the plain error sees nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from connectors.parquet.reader import Chunk
from detector.models import families as models
from detector.models.configs import whitening as whitening_module
from detector.models.whitening import Distances, Whitening
from trainer.data.history import History, build_history
from trainer.data.training_windows import TrainingWindows
from trainer.fitting.principal_components import fit_linear
from trainer.fitting.whitening import fades, fading_weights, fit_whitening, kronecker_factors

WINDOW, CHANNELS = 12, 3


class Nothing(nn.Module):
    """Expects 0 everywhere: the residual is the window."""

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x_BWC)


def history_of(values: np.ndarray) -> History:
    chunk = Chunk(np.arange(len(values)), ("s",), np.zeros(len(values), np.int32), values, None, None)
    names = tuple("abcdefgh"[: values.shape[1]])
    return build_history(lambda: iter([chunk]), names, 1, 0)


def all_windows(history: History, window: int = WINDOW) -> TrainingWindows:
    num_channels = len(history.channels)
    return TrainingWindows(history, history.segments, np.zeros(num_channels), np.ones(num_channels), window)


def coupled(num_rows: int, seed: int, noise: float = 0.4, broken: bool = False) -> np.ndarray:
    """Two channels that are the same autoregressive series but for some noise; broken: two series of their
    own, each as before by itself."""
    rng = np.random.default_rng(seed)
    own = rng.standard_normal((num_rows, 3))
    level = np.zeros((num_rows, 2))
    for row in range(1, num_rows):
        level[row] = 0.8 * level[row - 1] + 0.6 * own[row, :2]
    second = level[:, 1] if broken else level[:, 0]
    return np.stack([level[:, 0], second + noise * own[:, 2]], axis=1)


def statistics(
    autoencoder: nn.Module, whitening: Whitening, values: np.ndarray, window: int = WINDOW
) -> np.ndarray:
    """Of all windows of a series, float64 [n, K]."""
    rolled = np.lib.stride_tricks.sliding_window_view(values.astype(np.float32), window, axis=0)
    x_NWC = torch.from_numpy(rolled.transpose(0, 2, 1).copy())
    with torch.inference_mode():
        _, residual_NWC = models.reconstruct(autoencoder, x_NWC)
        found: np.ndarray = Distances(whitening)(x_NWC, residual_NWC, None)[0].double().numpy()
    return found


def linear_model(history: History, window: int = WINDOW) -> nn.Module:
    module = models.build("linear", {"latent": 3}, window, len(history.channels))
    fit_linear(module, all_windows(history, window), 0)
    return module


# The factors


def spread_of(size: int, rho: float) -> np.ndarray:
    """The covariance of an autoregressive series of growing strength, float64 [size, size]."""
    at = np.arange(size)
    scale = 0.5 + at / size
    return rho ** np.abs(at[:, None] - at) * np.outer(scale, scale)


def test_kronecker_factors_recover_a_matrix_normal_distribution() -> None:
    rows, channels = spread_of(WINDOW, 0.7), spread_of(CHANNELS, -0.5)
    root_rows, root_channels = np.linalg.cholesky(rows), np.linalg.cholesky(channels)
    rng = np.random.default_rng(0)
    draws = root_rows @ rng.standard_normal((6_000, WINDOW, CHANNELS)) @ root_channels.T
    found_rows, found_channels = kronecker_factors(draws[:4_000])
    fresh = draws[4_000:]
    whitened = np.einsum("nwc,wv,cd->nvd", fresh, found_rows, found_channels)
    distance = np.square(whitened).mean(axis=(1, 2))
    flat = fresh.reshape(len(fresh), -1)
    true = (flat * np.linalg.solve(np.kron(rows, channels), flat.T).T).mean(axis=1)
    assert np.corrcoef(distance, true)[0, 1] > 0.99
    np.testing.assert_allclose(distance, true, rtol=0.2)
    assert distance.mean() == pytest.approx(1.0, abs=0.1)  # shrinkage takes a little


# Fitted to a history


@pytest.mark.parametrize("most_cells", [1_024, 4], ids=["joint", "factored"])
def test_held_out_normal_windows_have_distances_near_1(
    most_cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whitening_module, "MOST_JOINT_CELLS", most_cells)
    whitening = Whitening(WINDOW, 2)
    assert whitening.is_factored == (most_cells == 4)
    with history_of(coupled(4_000, 0)) as history:
        module = linear_model(history)
        fit_whitening(whitening, module, all_windows(history), fading=False)
    found = statistics(module, whitening, coupled(2_000, 1)).mean(axis=0)
    assert found[0] == pytest.approx(1.0, abs=0.25)
    assert found[1] == pytest.approx(np.log(2.0), abs=0.1)  # the mean of log(1 + distance)


@pytest.mark.parametrize("most_cells", [1_024, 4], ids=["joint", "factored"])
def test_a_broken_correlation_is_seen_that_the_plain_error_does_not_see(
    most_cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whitening_module, "MOST_JOINT_CELLS", most_cells)
    whitening, plain = Whitening(WINDOW, 2), Whitening(WINDOW, 2)
    with history_of(coupled(4_000, 0, 0.05)) as history:
        fit_whitening(whitening, Nothing(), all_windows(history), fading=False)
    normal, broken = (coupled(2_000, 1, 0.05, broken) for broken in (False, True))
    for one, ratio in ((plain, (0.5, 2.0)), (whitening, (10.0, 1e6))):
        before, after = (np.median(statistics(Nothing(), one, values)[:, 0]) for values in (normal, broken))
        assert ratio[0] < after / before < ratio[1]
    # Of each channel by itself nothing has changed.
    alone = [np.median(statistics(Nothing(), whitening, values)[:, 1]) for values in (normal, broken)]
    assert alone[1] == pytest.approx(alone[0], rel=0.1)


@pytest.mark.parametrize("most_cells", [1_024, 4], ids=["joint", "factored"])
def test_a_constant_channel_gives_finite_matrices(most_cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whitening_module, "MOST_JOINT_CELLS", most_cells)
    values = np.column_stack([coupled(500, 0), np.zeros(500)])
    whitening = Whitening(WINDOW, 3)
    with history_of(values) as history:
        module = linear_model(history)
        fit_whitening(whitening, module, all_windows(history), fading=False)
    assert all(torch.isfinite(matrix).all() for matrix in whitening.state_dict().values())
    changed = values.copy()
    changed[250:, 2] = 0.5
    found = statistics(module, whitening, changed)
    assert np.isfinite(found).all()
    assert found[300:, 0].min() > 10 * found[:200, 0].max()


@pytest.mark.parametrize("most_cells", [1_024, 4], ids=["joint", "factored"])
def test_channels_that_never_move_change_no_distance(
    most_cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whitening_module, "MOST_JOINT_CELLS", most_cells)
    values = coupled(900, 0)
    still = np.insert(values, [0, 1, 1, 2, 2], 0.0, axis=1)
    found = []
    for given, living in ((values, None), (still, np.array([1, 4]))):
        whitening = Whitening(WINDOW, given.shape[1])
        with history_of(given) as history:
            windows = dataclasses.replace(all_windows(history), living=living)
            fit_whitening(whitening, Nothing(), windows, fading=True)
        found.append(statistics(Nothing(), whitening, given))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
    moved = still.copy()
    moved[:, 0] = 5.0
    np.testing.assert_allclose(statistics(Nothing(), whitening, moved), found[1], rtol=1e-6)
    x_NWC = torch.tensor(still[:WINDOW], dtype=torch.float32)[None]
    known = torch.ones_like(x_NWC, dtype=torch.bool)
    known[:, :, [0, 2, 3]] = False  # a sensor that never moved goes missing: nothing is more unusual for it
    holed = Distances(whitening)(x_NWC, x_NWC, known)[0].numpy()
    np.testing.assert_allclose(holed[0], found[1][0], rtol=1e-4)


def test_one_channel_has_one_statistic() -> None:
    whitening = Whitening(WINDOW, 1)
    with history_of(coupled(2_000, 0)[:, :1]) as history:
        module = linear_model(history)
        fit_whitening(whitening, module, all_windows(history), fading=False)
    found = statistics(module, whitening, coupled(1_000, 1)[:, :1])
    assert found.shape[1] == 1
    assert found.mean() == pytest.approx(1.0, abs=0.25)


def test_missing_values_leave_the_distance_about_where_it_was() -> None:
    whitening = Whitening(WINDOW, 2)
    values = coupled(4_000, 0)
    values[np.random.default_rng(2).random(values.shape) < 0.02] = np.nan
    with history_of(values) as history:
        module = linear_model(history)
        fit_whitening(whitening, module, all_windows(history), fading=False)
    assert all(torch.isfinite(matrix).all() for matrix in whitening.state_dict().values())
    found = statistics(module, whitening, coupled(2_000, 1)).mean(axis=0)
    assert found[0] == pytest.approx(1.0, abs=0.5)


def test_distances_do_not_depend_on_the_unit_of_a_channel() -> None:
    """A change of unit of the whole history: the model's units differ, its distances do not."""
    found = []
    for unit in (1.0, 7.0):
        whitening = Whitening(WINDOW, 2)
        with history_of(unit * coupled(2_000, 0)) as history:
            fit_whitening(whitening, Nothing(), all_windows(history), fading=False)
        found.append(statistics(Nothing(), whitening, unit * coupled(500, 1)))
    np.testing.assert_allclose(found[1], found[0], rtol=0.01)


@pytest.mark.parametrize("num_channels", [1, 2])
def test_a_fading_distance_soon_forgets_an_event_that_is_over(num_channels: int) -> None:
    """Whole windows stay loud until the event has left them; fading ones quieten row by row."""
    values = coupled(4_000, 0)[:, :num_channels]
    burst = coupled(200, 1)[:, :num_channels]
    burst[100:102] += 8.0
    after = slice(102 - WINDOW + 1 + WINDOW // 2, 102)  # windows in whose older half the burst lies
    loudness = {}
    for fading in (False, True):
        whitening = Whitening(WINDOW, num_channels)
        with history_of(values) as history:
            module = linear_model(history)
            fit_whitening(whitening, module, all_windows(history), fading=fading)
        normal = statistics(module, whitening, coupled(2_000, 2)[:, :num_channels])[:, 0]
        assert 0.3 < normal.mean() < 1.5
        loudness[fading] = statistics(module, whitening, burst)[after, 0].mean()
    assert loudness[True] < 0.5 * loudness[False]


def test_fading_weights_fall_by_e_a_quarter_and_average_1() -> None:
    weight = fading_weights(64)
    assert weight.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(weight[16:] / weight[:-16], np.e)


@pytest.mark.parametrize(("delay", "fading"), [(0, True), (32, True), (33, False), (63, False)])
def test_windows_fade_while_a_verdict_waits_for_at_most_half_of_them(delay: int, fading: bool) -> None:
    assert fades(64, delay) is fading
