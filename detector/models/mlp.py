"""The plain autoencoder: one hidden layer, which is the code (Rumelhart, Hinton and Williams, 1986).

    z = activation(W x + b),  y = output(W' z + b')  over flattened windows

Scaled data is not within the range of a sigmoid, so the output is linear by default. The textbook's form,
for data between 0 and 1, is `activation = "sigmoid", output = "sigmoid"`.

Letters: B batch, W window, C channels, L latent.
"""

from __future__ import annotations

import torch
from torch import nn

from detector.models.blocks import ACTIVATIONS
from detector.models.configs.mlp import Config


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
