"""The convolutional autoencoder: strided convolutions down to a narrow code, transposed ones back.

Letters: B batch, W window, C channels, N nodes, L latent, T steps of the code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import nn
from torch.nn import functional as F

from detector.models.options import ACTIVATIONS, check_shared


@dataclass(frozen=True, slots=True)
class Config:
    """Hyperparameters.

    latent      numbers a step of the code; None: an eighth of what the step covers, 2 to 16
    activation  see `detector.models.options.ACTIVATIONS`
    layers      strided convolutions each way; each halves the length
    nodes       filters a layer
    loss        mse, mae or huber
    kernel      rows that a convolution sees
    """

    latent: int | None = None
    activation: str = "gelu"
    layers: int = 3
    nodes: int = 24
    loss: str = "mse"
    kernel: int = 5

    def __post_init__(self) -> None:
        check_shared(self.latent, self.layers, self.nodes, self.activation, self.loss)
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}; it must be odd and at least 1")

    def resolved(self, window: int, num_channels: int) -> Self:
        """The same with every None replaced by a number that fits the data."""
        covered = num_channels * 2**self.layers
        return replace(self, latent=self.latent or min(16, max(2, covered // 8)))


class ConvAutoencoder(nn.Module):
    """Any window: it is padded in front to a multiple of 2^layers and cut again."""

    def __init__(self, config: Config, window: int, num_channels: int) -> None:
        super().__init__()
        assert config.latent is not None
        self._multiple = 2**config.layers
        activation = ACTIVATIONS[config.activation]
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for layer in range(config.layers):
            num_in = num_channels if layer == 0 else config.nodes
            down += [nn.Conv1d(num_in, config.nodes, config.kernel, 2, config.kernel // 2), activation()]
            num_out = num_channels if layer == config.layers - 1 else config.nodes
            up += [activation(), nn.ConvTranspose1d(config.nodes, num_out, 4, 2, 1)]
        self.encoder = nn.Sequential(*down, nn.Conv1d(config.nodes, config.latent, 1))
        self.decoder = nn.Sequential(nn.Conv1d(config.latent, config.nodes, 1), *up)

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        window = x_BWC.shape[1]
        x_BCW = x_BWC.transpose(1, 2)
        if window % self._multiple:
            x_BCW = F.pad(x_BCW, (-window % self._multiple, 0), mode="replicate")
        code_BLT = self.encoder(x_BCW)
        y_BCW: torch.Tensor = self.decoder(code_BLT)
        return y_BCW[:, :, -window:].transpose(1, 2)
