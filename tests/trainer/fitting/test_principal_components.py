"""The linear family is PCA: in closed form, and by the gradients that train every other family."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

from connectors.parquet.reader import Chunk
from detector.artifact.spec import Member
from detector.models import families as models
from trainer.config import FitOptions
from trainer.data.history import History, build_history
from trainer.data.training_windows import TrainingWindows
from trainer.fitting.gradient import TrainingAndValidation, fit_module
from trainer.fitting.principal_components import eigenvectors, fit_linear
from trainer.progress import quiet

WINDOW, CHANNELS, LATENT = 6, 2, 3


def history_of(values: np.ndarray) -> History:
    chunk = Chunk(np.arange(len(values)), ("s",), np.zeros(len(values), np.int32), values, None, None)
    return build_history(lambda: iter([chunk]), tuple("ab"), 1, 5)


def series(num_rows: int = 500) -> np.ndarray:
    """Two coupled autoregressive channels about a mean that is not zero, float64 [rows, 2]."""
    rng = np.random.default_rng(1)
    values = np.zeros((num_rows, 2))
    for row in range(1, num_rows):
        values[row] = values[row - 1] @ [[0.9, 0.2], [-0.2, 0.8]] + rng.normal(0, 0.5, 2)
    return values / values.std(axis=0) + [1.0, -0.5]


@pytest.fixture(scope="module")
def windows() -> Iterator[TrainingWindows]:
    with history_of(series()) as history:
        yield TrainingWindows(history, history.segments, np.zeros(2), np.ones(2), WINDOW)


def flat(windows: TrainingWindows) -> np.ndarray:
    """All windows, float64 [n, cells]."""
    x_BWC = windows.spread(100_000)
    assert len(x_BWC) == len(windows)
    return x_BWC.reshape(len(x_BWC), -1).astype(np.float64)


def reconstructed(module: torch.nn.Module, x_ND: np.ndarray) -> np.ndarray:
    x_BWC = torch.from_numpy(x_ND.astype(np.float32)).reshape(len(x_ND), WINDOW, CHANNELS)
    with torch.inference_mode():
        return module(x_BWC).reshape(len(x_ND), -1).numpy().astype(np.float64)


def angle(module: torch.nn.Module, pca: PCA) -> float:
    """The largest principal angle between the decoder's subspace and that of the components, in radians."""
    return float(subspace_angles(module.decoder.weight.detach().double().numpy(), pca.components_.T).max())


def test_linear_closed_form_equals_pca(windows: TrainingWindows) -> None:
    x_ND = flat(windows)
    pca = PCA(LATENT, svd_solver="full").fit(x_ND)
    module = models.build("linear", {"latent": LATENT}, WINDOW, CHANNELS)
    hyperparameters = models.resolve("linear", {"latent": LATENT}, WINDOW, CHANNELS)
    result = fit_module(
        module,
        Member("linear", hyperparameters, WINDOW),
        TrainingAndValidation(windows, windows, windows),
        FitOptions(),
        quiet,
    )
    assert result.stopped == "closed_form"
    assert angle(module, pca) < 1e-5
    expected = pca.inverse_transform(pca.transform(x_ND))
    np.testing.assert_allclose(reconstructed(module, x_ND), expected, atol=5e-6)
    with torch.inference_mode():
        z_BL = module.encode(torch.from_numpy(x_ND.astype(np.float32)).reshape(-1, WINDOW, CHANNELS)).numpy()
    np.testing.assert_allclose(np.abs(z_BL), np.abs(pca.transform(x_ND)), atol=5e-6)


def test_linear_trained_by_gradient_spans_the_subspace_of_pca(windows: TrainingWindows) -> None:
    """Through the training loop of every other family: no closed form, batches of all windows."""
    x_ND = flat(windows)
    pca = PCA(LATENT, svd_solver="full").fit(x_ND)
    torch.manual_seed(0)
    hyperparameters = models.resolve("linear", {"latent": LATENT, "fit": "gradient"}, WINDOW, CHANNELS)
    module = models.build("linear", hyperparameters, WINDOW, CHANNELS)
    before = angle(module, pca)
    options = FitOptions(
        max_epochs=80, patience=40, batch_size=len(windows), learning_rate=2e-2, weight_decay=0, device="cpu"
    )
    result = fit_module(
        module,
        Member("linear", hyperparameters, WINDOW),
        TrainingAndValidation(windows, windows, windows),
        options,
        quiet,
    )
    assert result.stopped != "closed_form"
    assert before > 0.1
    assert angle(module, pca) < 1e-2
    best = np.mean((x_ND - pca.inverse_transform(pca.transform(x_ND))) ** 2)
    assert np.mean((x_ND - reconstructed(module, x_ND)) ** 2) == pytest.approx(best, rel=1e-3)


def test_without_noise_no_shrinkage_and_with_it_the_best_linear_denoiser(windows: TrainingWindows) -> None:
    """Against least squares of clean windows on many noisy copies, at full rank: no closed form there."""
    x_ND, noise = flat(windows), 0.7
    rank = WINDOW * CHANNELS
    module = models.build("linear", {"latent": rank}, WINDOW, CHANNELS)
    fit_linear(module, windows, 0, noise)
    found = (module.decoder.weight @ module.encoder.weight).detach().double().numpy()
    rng = np.random.default_rng(0)
    copies = np.tile(x_ND - x_ND.mean(axis=0), (400, 1))
    noisy = copies + rng.normal(0, noise, copies.shape)
    expected, *_ = np.linalg.lstsq(noisy, copies, rcond=None)
    np.testing.assert_allclose(found, expected.T, atol=0.01)


def test_a_low_rank_denoiser_is_the_best_of_its_rank(windows: TrainingWindows) -> None:
    """Gradients on the exact expected error find none better, wherever they start."""
    noise = 0.7
    module = models.build("linear", {"latent": 2}, WINDOW, CHANNELS)
    fit_linear(module, windows, 0, noise)
    x_ND = torch.from_numpy(flat(windows))
    covariance = torch.cov(x_ND.T, correction=0)

    def expected_error(map_DD: torch.Tensor) -> torch.Tensor:
        """E |map (x + noise) - x|^2 of centred x."""
        left = map_DD - torch.eye(len(map_DD), dtype=torch.float64)
        return (left @ covariance @ left.T).trace() + noise**2 * map_DD.square().sum()

    found = expected_error((module.decoder.weight @ module.encoder.weight).detach().double()).item()
    for seed in range(3):
        torch.manual_seed(seed)
        parts = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((12, 2), (2, 12))]
        optimizer = torch.optim.LBFGS(parts, max_iter=300, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimizer.zero_grad()  # noqa: B023  # called at once
            error = expected_error(parts[0] @ parts[1])  # noqa: B023
            error.backward()
            return error

        optimizer.step(closure)
        assert found <= expected_error(parts[0] @ parts[1]).item() * (1 + 1e-5)


@pytest.mark.parametrize("options", [{"mask": 0.2}, {"trim": 0.1}])
def test_masked_cells_and_trimmed_windows_need_gradients(windows: TrainingWindows, options: dict) -> None:
    hyperparameters = models.resolve("linear", {}, WINDOW, CHANNELS)
    module = models.build("linear", hyperparameters, WINDOW, CHANNELS)
    chosen = FitOptions(max_epochs=1, min_steps_per_epoch=1, device="cpu", **options)
    result = fit_module(
        module,
        Member("linear", hyperparameters, WINDOW),
        TrainingAndValidation(windows, windows, windows),
        chosen,
        quiet,
    )
    assert len(result.train_losses) == 1


def test_a_linear_model_too_wide_for_an_exact_fit_is_fitted_from_a_sample(
    windows: TrainingWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact, approximate = (models.build("linear", {"latent": 2}, WINDOW, CHANNELS) for _ in range(2))
    fit_linear(exact, windows, 0, noise=0.5)
    monkeypatch.setattr("trainer.fitting.principal_components._EXACT_CELLS", 1)
    fit_linear(approximate, windows, 0, noise=0.5)
    x_ND = flat(windows)
    np.testing.assert_allclose(reconstructed(exact, x_ND), reconstructed(approximate, x_ND), atol=0.05)


@pytest.mark.parametrize("num_failures", [0, 1, 2])
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(0, 12), st.integers(-6, 6))
@settings(max_examples=30, deadline=None)
def test_constant_cells_are_solved_whatever_the_solver_says(
    num_failures: int, seed: int, varying: int, constant: int, exponent: int
) -> None:
    """With the first solvers failing, the eigenvectors still take the covariance apart."""
    rng = np.random.default_rng(seed)
    x_ND = np.zeros((40, varying + constant))
    x_ND[:, :varying] = rng.standard_normal((40, varying)) * 10.0**exponent
    moment = np.cov(x_ND[:, rng.permutation(varying + constant)].T, ddof=0)
    moment_DD = torch.from_numpy(moment.reshape(varying + constant, varying + constant))
    solver, failures = torch.linalg.eigh, iter(range(num_failures))

    def failing(matrix: torch.Tensor) -> object:
        if next(failures, None) is not None:
            raise RuntimeError("linalg.eigh: The algorithm failed to converge")
        return solver(matrix)

    with patch.object(torch.linalg, "eigh", failing):
        values, vectors = eigenvectors(moment_DD)
    scale = float(moment_DD.abs().max())
    assert bool((values.diff() >= -1e-9 * scale).all())
    assert torch.allclose(vectors.T @ vectors, torch.eye(len(values), dtype=torch.float64), atol=1e-8)
    assert torch.allclose(vectors * values @ vectors.T, moment_DD, atol=1e-9 * scale)
