"""The variational autoencoder (Kingma and Welling, 2014): a window's code is a distribution.

    q(z | x) = N(mean(x), var(x)),  p(x | z) = N(decode(z), decoder variance a channel),  p(z) = N(0, 1)

Training draws one code a window and lowers the negative evidence lower bound, its KL divergence weighted
by `beta` (Higgins et al., 2017). Scoring draws from the same noise for every window and for ever: the
noise is a buffer, saved with the weights, so that a score depends on nothing but the window.

`score` says what the residual of a cell is (`residual`):

- expected: its square is the expected squared error over the draws, its sign that of the mean's error
- probability: the same in units of the decoder's standard deviation of the channel. Half its square is
  the cell's part of the negative log of the reconstruction probability (An and Cho, 2015), less a constant
- mean: the error of what the mean code gives; no draws, and the cheapest

Letters: B batch, W window, C channels, H features of the backbone, L latent, K draws.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import nn
from torch.nn import functional as F

from detector.models import conv, deep
from detector.models.blocks import ACTIVATIONS, check_one_of, check_shared, identities

BACKBONES = ("dense", "conv")
SCORES = ("expected", "probability", "mean")
_START_LOG_VARIANCE = -2.0  # from 0, small windows lose their code to the prior before they have learnt any
_LOG_VARIANCE = (-8.0, 4.0)
_CODE_LOG_VARIANCE = (-12.0, 4.0)


@dataclass(frozen=True, slots=True)
class Config:
    """Hyperparameters.

    latent      numbers of the code; None: an eighth of the window's cells, 1 to 64
    activation  of the backbone, and between it and the code
    layers      of the backbone
    nodes       of the backbone
    loss        mse: the decoder is Gaussian
    backbone    dense (`deep`) or conv
    beta        weight of the KL divergence; less copies more, more forgets more
    score       expected, probability or mean: see the top of this file
    draws       codes a window is judged by; even, as they come in pairs of opposite sign
    """

    latent: int | None = None
    activation: str = "gelu"
    layers: int = 2
    nodes: int = 64
    loss: str = "mse"
    backbone: str = "dense"
    beta: float = 1.0
    score: str = "expected"
    draws: int = 8

    def __post_init__(self) -> None:
        check_shared(self.latent, self.layers, self.nodes, self.activation, self.loss)
        check_one_of("backbone", self.backbone, BACKBONES)
        check_one_of("score", self.score, SCORES)
        if self.loss != "mse":
            raise ValueError(f"loss is {self.loss!r}; the decoder of vae is Gaussian, so it must be mse")
        if not 0 <= self.beta < float("inf"):
            raise ValueError(f"beta is {self.beta}; it must be at least 0")
        if self.draws < 2 or self.draws % 2:
            raise ValueError(f"draws is {self.draws}; it must be even and at least 2")

    def resolved(self, window: int, num_channels: int) -> Self:
        """The same with every None replaced by a number that fits the data."""
        return replace(self, latent=self.latent or min(64, max(1, window * num_channels // 8)))


class VariationalAutoencoder(nn.Module):
    """A distribution of codes between the two halves of a backbone. `forward` decodes the mean code."""

    noise: torch.Tensor  # [K, L]
    code_mean: torch.Tensor  # [L]
    code_factor: torch.Tensor  # [L, L], lower triangular
    noise_memory: torch.Tensor  # [C]

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
        """The mean code, float32 [B, L]."""
        return self.distribution(x_BWC)[0]

    def distribution(self, x_BWC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log-variance of the code, each float32 [B, L]."""
        mean_BL, log_variance_BL = self.posterior(self.backbone.encode(x_BWC)).chunk(2, dim=1)
        return mean_BL, log_variance_BL.clamp(*_CODE_LOG_VARIANCE)

    def decode(self, z_BL: torch.Tensor, window: int) -> torch.Tensor:
        """The mean window of a code, float32 [B, W, C]; `window` is the one it was built for."""
        return self.backbone.decode(self.features(z_BL), window)

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        return self.decode(self.encode(x_BWC), x_BWC.shape[1])

    @property
    def variance(self) -> torch.Tensor:
        """The decoder's variance of each channel, [C], in the model's units squared."""
        return self.log_variance.clamp(*_LOG_VARIANCE).exp()

    def residual(self, x_BWC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Expected values and signed residuals, each float32 [B, W, C]; see `score` above."""
        if self._score == "mean":
            y_BWC = self(x_BWC)
            return y_BWC, x_BWC - y_BWC
        mean_BL, log_variance_BL = self.distribution(x_BWC)
        spread_BL = (0.5 * log_variance_BL).exp()
        y_BWC, square_BWC = torch.zeros_like(x_BWC), torch.zeros_like(x_BWC)
        for noise_L in self.noise:  # one at a time: a draw needs no more memory than a batch
            drawn_BWC = self.decode(mean_BL + spread_BL * noise_L, x_BWC.shape[1])
            y_BWC = y_BWC + drawn_BWC / len(self.noise)
            square_BWC = square_BWC + (x_BWC - drawn_BWC) ** 2 / len(self.noise)
        r_BWC = torch.copysign(square_BWC.sqrt(), x_BWC - y_BWC)
        return y_BWC, r_BWC / self.variance.sqrt() if self._score == "probability" else r_BWC

    def cell_losses(
        self, x_BWC: torch.Tensor, target_BWC: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """The negative evidence lower bound of each window, spread over its known cells, [B, W, C].

        Without the constant log(2 pi) / 2 a cell. In training mode one code is drawn; in evaluation mode
        the buffered draws are taken, so that the same weights always have the same loss.
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
        """Learn from real windows what `sample` needs beside the weights; called when those are final.

        The codes' mean and covariance are those of the posteriors of all windows together (the aggregate
        posterior); the decoder's noise gets the lag-1 autocorrelation that the errors of each channel have.
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
        """Windows that could have been history, float32 [num, W, C], in the model's units.

        Codes come from a Gaussian with the mean and covariance of the aggregate posterior rather than from
        N(0, 1): the two often differ, and the decoder knows only codes of the first (Tomczak and Welling,
        2018). The decoder's noise is added, autoregressive of order one: what a narrow code leaves over is
        seldom white. A module that was not trained yet draws codes from N(0, 1) and white noise. The
        generator is on the module's device.
        """
        device = self.code_mean.device
        with torch.no_grad():
            noise_BL = torch.randn(num, len(self.code_mean), generator=generator, device=device)
            y_BWC = self.decode(self.code_mean + noise_BL @ self.code_factor.T, window)
            noise_BWC = torch.randn(y_BWC.shape, generator=generator, device=device)
            fresh_C = (1 - self.noise_memory**2).clamp(min=0).sqrt()
            for row in range(1, window):
                noise_BWC[:, row] = self.noise_memory * noise_BWC[:, row - 1] + fresh_C * noise_BWC[:, row]
            return y_BWC + noise_BWC * self.variance.sqrt()


def _backbone(config: Config, window: int, num_channels: int) -> deep.DeepAutoencoder | conv.ConvAutoencoder:
    """Encoder and decoder between windows and features; the code is added between them."""
    if config.backbone == "conv":
        strided = conv.Config(activation=config.activation, layers=config.layers, nodes=config.nodes)
        return conv.ConvAutoencoder(strided.resolved(window, num_channels), window, num_channels)
    assert config.latent is not None
    width = max(config.latent, config.nodes >> config.layers)
    dense = deep.Config(latent=width, activation=config.activation, layers=config.layers, nodes=config.nodes)
    return deep.DeepAutoencoder(dense, window, num_channels)


def _antithetic(num: int, num_latent: int) -> torch.Tensor:
    """Normal vectors in pairs of opposite sign, float32 [num, num_latent], each column's variance one.

    With both moments exact, `num` draws estimate an expectation better than as many independent ones.
    """
    half_KL = torch.randn(num // 2, num_latent)
    if half_KL.is_meta:  # it has a shape and no values
        return half_KL.new_empty(num, num_latent)
    half_KL = half_KL / half_KL.square().mean(0).sqrt().clamp(min=1e-6)
    return torch.cat([half_KL, -half_KL])
