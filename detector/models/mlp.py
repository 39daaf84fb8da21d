"""The plain autoencoder: one hidden layer, which is the code (Rumelhart, Hinton and Williams, 1986).

    z = activation(W x + b),  y = output(W' z + b')  over flattened windows

Scaled data is not within the range of a sigmoid, so the output is linear by default. The textbook's form,
for data between 0 and 1, is `activation = "sigmoid", output = "sigmoid"`.

Letters: B batch, W window, C channels, L latent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import nn

from detector.models.blocks import ACTIVATIONS, check_one_of, check_shared


@dataclass(frozen=True, slots=True)
class Config:
    """Hold the hyperparameters of the family.

    latent      number of hidden nodes, which are the code; None: an eighth of the window's cells, 1 to 64
    activation  of the hidden nodes; see `detector.models.blocks.ACTIVATIONS`
    loss        mse, mae or huber
    output      activation of the output, from the same list

    All families have layers and nodes; here each has only one allowed value.
    """

    latent: int | None = None
    activation: str = "tanh"
    layers: int = 1
    nodes: int = 1
    loss: str = "mse"
    output: str = "identity"

    def __post_init__(self) -> None:
        check_shared(self.latent, self.layers, self.nodes, self.activation, self.loss)
        check_one_of("output", self.output, ACTIVATIONS)
        if (self.layers, self.nodes) != (1, 1):
            raise ValueError("mlp has one layer, whose nodes are its code: set latent, or use deep")

    def resolved(self, window: int, num_channels: int) -> Self:
        """Return the same hyperparameters with every None replaced by a number that suits the data.

        Args:
            window: Rows of a window.
            num_channels: Channels of the model.
        """
        return replace(self, latent=self.latent or min(64, max(1, window * num_channels // 8)))


class MlpAutoencoder(nn.Module):
    """Encode windows by one dense layer and decode them by another."""

    def __init__(self, config: Config, window: int, num_channels: int) -> None:
        super().__init__()
        assert config.latent is not None
        num_cells = window * num_channels
        self.encoder = nn.Sequential(nn.Linear(num_cells, config.latent), ACTIVATIONS[config.activation]())
        self.decoder = nn.Sequential(nn.Linear(config.latent, num_cells), ACTIVATIONS[config.output]())

    def encode(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """Return the values of the hidden nodes, float32 [B, L]."""
        z_BL: torch.Tensor = self.encoder(x_BWC.flatten(1))
        return z_BL

    def decode(self, z_BL: torch.Tensor, window: int) -> torch.Tensor:
        """Return the window of each code, float32 [B, W, C]; `window` is that of the constructor."""
        y_BWC: torch.Tensor = self.decoder(z_BL).reshape(len(z_BL), window, -1)
        return y_BWC

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """Return the reconstruction of each window, float32 [B, W, C]."""
        return self.decode(self.encode(x_BWC), x_BWC.shape[1])
