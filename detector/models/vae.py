"""The variational autoencoder (Kingma and Welling, 2014): the code of a window is a distribution.

    q(z | x) = N(mean(x), var(x)),  p(x | z) = N(decode(z), variance of the channel),  p(z) = N(0, 1)

Training draws one code for each window and lowers the negative evidence lower bound. `beta` is the weight of
its KL divergence (Higgins et al., 2017). Scoring uses the same draws for every window. They are a
buffer that is saved with the weights.

Promise: a score depends only on the weights and the window.

The hyperparameter `score` selects the residual of a cell (`residual`):

- expected: its square is the expected squared error over the draws; it has the sign of the mean error
- probability: the same in units of the decoder's standard deviation of the channel. Half its square is
  the cell's part of the negative log of the reconstruction probability (An and Cho, 2015), less a constant
- mean: the error of the reconstruction from the mean code; it needs no draws and is the cheapest

Letters: B batch, W window, C channels, H features of the backbone, L latent, K draws.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from detector.models import conv, deep
from detector.models.blocks import ACTIVATIONS, identities
from detector.models.configs.conv import Config as ConvConfig
from detector.models.configs.vae import CODE_LOG_VARIANCE, LOG_VARIANCE, Config

_START_LOG_VARIANCE = -2.0  # with 0, codes of small windows collapse to the prior early in training


class VariationalAutoencoder(nn.Module):
    """Encode windows to distributions of codes, between the two halves of a backbone.

    noise         [K, L], the draws that scoring uses
    code_mean     [L], mean of the codes of real windows, for `sample`
    code_factor   [L, L], lower triangular factor of their covariance, for `sample`
    noise_memory  [C], lag-1 autocorrelation of the decoder's errors, for `sample`
    """

    noise: torch.Tensor
    code_mean: torch.Tensor
    code_factor: torch.Tensor
    noise_memory: torch.Tensor

    def __init__(self, config: Config, window: int, num_channels: int) -> None:
        super().__init__()
        assert config.latent is not None
        self._score, self._beta = config.score, config.beta
        self.backbone = _backbone(config, window, num_channels)
        num_features = self.backbone.num_codes
        activation = ACTIVATIONS[config.activation]
        self.posterior = nn.Sequential(activation(), nn.Linear(num_features, 2 * config.latent))
        self.features = nn.Sequential(nn.Linear(config.latent, num_features), activation())
        self.log_variance = nn.Parameter(torch.full((num_channels,), _START_LOG_VARIANCE))
        self.register_buffer("noise", _antithetic(config.draws, config.latent))
        self.register_buffer("code_mean", torch.zeros(config.latent))
        self.register_buffer("code_factor", identities(config.latent, config.latent))
        self.register_buffer("noise_memory", torch.zeros(num_channels))

    def encode(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """Return the mean code of each window, float32 [B, L]."""
        return self.distribution(x_BWC)[0]

    def distribution(self, x_BWC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log-variance of the code of each window, each float32 [B, L]."""
        mean_BL, log_variance_BL = self.posterior(self.backbone.encode(x_BWC)).chunk(2, dim=1)
        return mean_BL, log_variance_BL.clamp(*CODE_LOG_VARIANCE)

    def decode(self, z_BL: torch.Tensor, window: int) -> torch.Tensor:
        """Return the mean window of each code, float32 [B, W, C]; `window` is that of the constructor."""
        return self.backbone.decode(self.features(z_BL), window)

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """Return the window of the mean code, float32 [B, W, C]."""
        return self.decode(self.encode(x_BWC), x_BWC.shape[1])

    @property
    def variance(self) -> torch.Tensor:
        """Return the decoder's variance of each channel, [C], in the squared units of the model."""
        return self.log_variance.clamp(*LOG_VARIANCE).exp()

    def residual(self, x_BWC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return expected values and signed residuals, each float32 [B, W, C], as `score` selects."""
        if self._score == "mean":
            y_BWC = self(x_BWC)
            return y_BWC, x_BWC - y_BWC
        mean_BL, log_variance_BL = self.distribution(x_BWC)
        spread_BL = (0.5 * log_variance_BL).exp()
        y_BWC, square_BWC = torch.zeros_like(x_BWC), torch.zeros_like(x_BWC)
        for noise_L in self.noise:  # one draw at a time needs less memory
            drawn_BWC = self.decode(mean_BL + spread_BL * noise_L, x_BWC.shape[1])
            y_BWC = y_BWC + drawn_BWC / len(self.noise)
            square_BWC = square_BWC + (x_BWC - drawn_BWC) ** 2 / len(self.noise)
        r_BWC = torch.copysign(square_BWC.sqrt(), x_BWC - y_BWC)
        return y_BWC, r_BWC / self.variance.sqrt() if self._score == "probability" else r_BWC

    def cell_losses(
        self, x_BWC: torch.Tensor, target_BWC: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the negative evidence lower bound of each window, spread over its known cells.

        In training mode one code is drawn. In evaluation mode the saved draws are used, so that the same
        weights always have the same loss.

        Args:
            x_BWC: Windows that the module sees, float32.
            target_BWC: Windows that it should return, float32.
            mask: True in the known cells, bool [B, W, C]; None if all are known.

        Returns:
            float32 [B, W, C], without the constant log(2 pi) / 2 of each cell.
        """
        mean_BL, log_variance_BL = self.distribution(x_BWC)
        spread_BL = (0.5 * log_variance_BL).exp()
        draws = [torch.randn_like(spread_BL)] if self.training else list(self.noise)
        square_BWC = torch.zeros_like(target_BWC)
        for noise in draws:
            y_BWC = self.decode(mean_BL + spread_BL * noise, x_BWC.shape[1])
            square_BWC = square_BWC + F.mse_loss(y_BWC, target_BWC, reduction="none") / len(draws)
        variance_C = self.variance
        kl_B = 0.5 * (mean_BL**2 + spread_BL**2 - log_variance_BL - 1).sum(1)
        known = torch.ones_like(target_BWC) if mask is None else mask
        kl_B = self._beta * kl_B / known.flatten(1).sum(1).clamp(min=1)
        return 0.5 * (square_BWC / variance_C + variance_C.log()) + kl_B[:, None, None]

    def fit_samples(self, x_BWC: torch.Tensor) -> None:
        """Learn what `sample` needs in addition to the weights. Call this after training.

        The mean and covariance of codes are those of the posteriors of all windows together (the aggregate
        posterior). The decoder's noise gets the lag-1 autocorrelation of the errors of each channel.

        Args:
            x_BWC: Windows of the training data in the units of the model, float32.
        """
        with torch.no_grad():
            parts = [self.distribution(part) for part in torch.split(x_BWC, 256)]
            mean_BL = torch.cat([mean for mean, _ in parts])
            variance_BL = torch.cat([log_variance for _, log_variance in parts]).exp()
            covariance_LL = torch.cov(mean_BL.double().T, correction=0).reshape(variance_BL.shape[1], -1)
            covariance_LL = covariance_LL + variance_BL.double().mean(0).diag()
            self.code_mean.copy_(mean_BL.mean(0))
            self.code_factor.copy_(torch.linalg.cholesky(covariance_LL))
            z_BL = mean_BL + variance_BL.sqrt() * self.noise[0]
            error_BWC = x_BWC - torch.cat([self.decode(z, x_BWC.shape[1]) for z in torch.split(z_BL, 256)])
            lagged_C = (error_BWC[:, 1:] * error_BWC[:, :-1]).flatten(0, 1).sum(0)
            square_C = 0.5 * (error_BWC[:, 1:] ** 2 + error_BWC[:, :-1] ** 2).flatten(0, 1).sum(0)
            self.noise_memory.copy_(lagged_C / square_C.clamp(min=1e-12))

    def sample(self, num: int, window: int, generator: torch.Generator) -> torch.Tensor:
        """Return random windows that resemble the training data.

        Codes come from a Gaussian with the mean and covariance of the aggregate posterior, not from N(0, 1).
        The two often differ, and the decoder was trained on codes of the former (Tomczak and Welling, 2018).
        Noise of the decoder is added. It is autoregressive of order one, because errors are seldom white.
        Before `fit_samples`, codes come from N(0, 1) and the noise is white.

        Args:
            num: Number of windows.
            window: Rows of a window, as in the constructor.
            generator: Source of the random numbers, on the device of the module.

        Returns:
            float32 [num, W, C], in the units of the model.
        """
        device = self.code_mean.device
        with torch.no_grad():
            noise_BL = torch.randn(num, len(self.code_mean), generator=generator, device=device)
            y_BWC = self.decode(self.code_mean + noise_BL @ self.code_factor.T, window)
            noise_BWC = torch.randn(y_BWC.shape, generator=generator, device=device)
            new_C = (1 - self.noise_memory**2).clamp(min=0).sqrt()
            for row in range(1, window):
                noise_BWC[:, row] = self.noise_memory * noise_BWC[:, row - 1] + new_C * noise_BWC[:, row]
            return y_BWC + noise_BWC * self.variance.sqrt()


def _backbone(config: Config, window: int, num_channels: int) -> deep.DeepAutoencoder | conv.ConvAutoencoder:
    """Return an encoder and decoder between windows and features; the code stands between the two."""
    chosen = config.backbone_config(window, num_channels)
    if isinstance(chosen, ConvConfig):
        return conv.ConvAutoencoder(chosen, window, num_channels)
    return deep.DeepAutoencoder(chosen, window, num_channels)


def _antithetic(num: int, num_latent: int) -> torch.Tensor:
    """Return normal vectors in pairs of opposite sign, float32 [num, num_latent].

    The mean of each column is exactly 0 and its variance exactly 1. Such draws estimate an expectation
    better than the same number of independent draws.
    """
    half_KL = torch.randn(num // 2, num_latent)
    if half_KL.is_meta:  # it has a shape and no values
        return half_KL.new_empty(num, num_latent)
    half_KL = half_KL / half_KL.square().mean(0).sqrt().clamp(min=1e-6)
    return torch.cat([half_KL, -half_KL])
