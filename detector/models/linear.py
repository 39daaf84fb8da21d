"""The linear autoencoder: it projects windows on their principal components.

With squared error its best encoder and decoder span the same subspace as PCA (Baldi and Hornik, 1989). It
is solved in closed form (`trainer.fitting.principal_components`), or trained by gradients to the same
subspace (`trainer.fitting.gradient`). It has one layer and no activation.

Letters: B batch, W window, C channels, L latent.
"""

from __future__ import annotations

import torch
from torch import nn

from detector.models.configs.linear import Config


class LinearAutoencoder(nn.Module):
    """Map flattened windows x to (x - mean) @ components @ components^T + mean."""

    def __init__(self, config: Config, window: int, num_channels: int) -> None:
        super().__init__()
        assert config.latent is not None
        num_cells = window * num_channels
        self.encoder = nn.Linear(num_cells, config.latent)
        self.decoder = nn.Linear(config.latent, num_cells)

    def encode(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """Return the coordinates of each window along the components, float32 [B, L]."""
        z_BL: torch.Tensor = self.encoder(x_BWC.flatten(1))
        return z_BL

    def decode(self, z_BL: torch.Tensor, window: int) -> torch.Tensor:
        """Return the window of each code, float32 [B, W, C]; `window` is that of the constructor."""
        y_BWC: torch.Tensor = self.decoder(z_BL).reshape(len(z_BL), window, -1)
        return y_BWC

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """Return the reconstruction of each window, float32 [B, W, C]."""
        return self.decode(self.encode(x_BWC), x_BWC.shape[1])
