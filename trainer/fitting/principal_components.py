"""Training of linear autoencoders in closed form: principal components of the windows.

Letters: N windows, D cells of a flattened window.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from detector.models.linear import LinearAutoencoder
from detector.scoring.preprocessing import fill_missing
from trainer.data.training_windows import TrainingWindows

_EXACT_CELLS = 4_096
_LINEAR_WINDOWS = 40_000
_SAMPLE_CELLS = 1 << 26
_CONSTANT_SHARE = 1e-12
"""A cell with so small a share of the largest variance is constant; its variance is rounding."""


def fit_linear(module: LinearAutoencoder, train: TrainingWindows, seed: int, noise: float = 0.0) -> None:
    """Set `module` to the principal components of the windows; missing values are filled as in scoring.

    Up to 4,096 cells per window the result is exact, an eigendecomposition of the covariance. Larger windows
    use a randomised decomposition of a sample (Halko, Martinsson and Tropp, 2011).

    With noise on the input, the best linear map to the clean windows has the same components, each shrunk by
    variance / (variance + noise^2). This is Wiener's filter, or the marginalised denoising autoencoder of
    Chen et al. (2012) at a given rank. No noise has to be drawn.

    Args:
        module: Trained in place, on the CPU.
        train: Windows to fit.
        seed: Seed of the sample of windows.
        noise: Standard deviation of the noise on the input, in scaled units.
    """
    rng = np.random.default_rng([seed, 0])
    num_latent, num_cells = module.encoder.out_features, module.encoder.in_features
    at_most = min(_LINEAR_WINDOWS, _SAMPLE_CELLS // num_cells)
    batches = (torch.from_numpy(fill_missing(x)).flatten(1) for x in train.shuffled(2_048, rng, at_most))
    is_exact = num_cells <= _EXACT_CELLS
    mean, components, variance = (_principal if is_exact else _principal_of_sample)(batches, num_latent)
    shrunk = components * (variance / (variance + noise**2)) if noise else components
    with torch.no_grad():
        module.encoder.weight.copy_(components.T)
        module.encoder.bias.copy_(-(components.T @ mean))
        module.decoder.weight.copy_(shrunk)
        module.decoder.bias.copy_(mean)
    module.eval()


def _principal(batches: Iterator[torch.Tensor], num_latent: int) -> tuple[torch.Tensor, ...]:
    """Return mean [D], components [D, latent] and variances [latent] of batches [N, D], float32."""
    num, total_D, square_DD = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    for batch in batches:
        x_ND = batch.double()
        num, total_D, square_DD = num + len(x_ND), total_D + x_ND.sum(0), square_DD + x_ND.T @ x_ND
    mean_D = total_D / num
    values, vectors = eigenvectors(square_DD / num - torch.outer(mean_D, mean_D))
    largest = values[-num_latent:].flip(0).clamp(min=0)
    return mean_D.float(), vectors[:, -num_latent:].flip(1).float(), largest.float()


def eigenvectors(moment_DD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the eigenvalues, rising, and the eigenvectors as columns, of a covariance, float64 [D, D].

    Divide and conquer sometimes fails where most cells are constant. The cells that vary are then solved
    alone, and if that fails too, by singular values.

    Raises:
        RuntimeError: No solver converges, as for a matrix that is not finite.
    """
    try:
        values, vectors = torch.linalg.eigh(moment_DD)
    except RuntimeError:  # torch's LinAlgError, which has no public name
        variance_D = moment_DD.diagonal()
        varying = torch.nonzero(variance_D > _CONSTANT_SHARE * variance_D.max()).flatten()
        block = moment_DD[varying][:, varying]
        try:
            values, vectors = torch.linalg.eigh(block)
        except RuntimeError:
            vectors, values, _ = torch.linalg.svd(block)
            values, vectors = values.flip(0), vectors.flip(1)
        values, vectors = _with_constant_cells(values, vectors, varying, len(moment_DD))
    return values, vectors


def _with_constant_cells(
    values: torch.Tensor, vectors: torch.Tensor, varying: torch.Tensor, num_cells: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put the eigenvectors of the varying cells among those of constant cells, whose eigenvalue is 0."""
    constant = torch.ones(num_cells, dtype=torch.bool)
    constant[varying] = False
    num_constant = num_cells - len(varying)
    whole = torch.zeros(num_cells, num_cells, dtype=vectors.dtype)
    whole[torch.nonzero(constant).flatten(), torch.arange(num_constant)] = 1.0
    whole[varying, num_constant:] = vectors
    return torch.cat([torch.zeros(num_constant, dtype=values.dtype), values]), whole


def _principal_of_sample(batches: Iterator[torch.Tensor], num_latent: int) -> tuple[torch.Tensor, ...]:
    """Return the same approximately, without a covariance [D, D]."""
    x_ND = torch.cat(list(batches))
    torch.manual_seed(0)
    _, singular, components = torch.pca_lowrank(x_ND, q=min(num_latent, len(x_ND)), center=True)
    missing = num_latent - components.shape[1]
    pad = torch.nn.functional.pad
    return x_ND.mean(0), pad(components, (0, missing)), pad(singular**2 / len(x_ND), (0, missing))
