"""The linear autoencoder: the principal components of the windows.

With squared error its best encoder and decoder span the same subspace as PCA (Baldi and Hornik,
1989), so it is fitted in closed form (`trainer.fitting`). It has no activation and one layer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import nn

from detector.models.options import check_shared


@dataclass(frozen=True, slots=True)
class Config:
    """Hyperparameters: `latent` components; None: an eighth of the window's cells, 1 to 64.

    activation, layers, nodes and loss exist for all families and have one value here.
    """

    latent: int | None = None
    activation: str = "identity"
    layers: int = 1
    nodes: int = 1
    loss: str = "mse"

    def __post_init__(self) -> None:
        check_shared(self.latent, self.layers, self.nodes, self.activation, self.loss)
        if (self.activation, self.layers, self.loss) != ("identity", 1, "mse"):
            raise ValueError("linear has one layer, no activation and squared error; use another family")

    def resolved(self, window: int, num_channels: int) -> Self:
        """The same with every None replaced by a number that fits the data."""
        num_cells = window * num_channels
        latent = self.latent or min(64, max(1, num_cells // 8))
        return replace(self, latent=min(latent, num_cells))


class LinearAutoencoder(nn.Module):
    """x -> (x - mean) @ components @ components^T + mean over flattened windows."""

    def __init__(self, config: Config, window: int, num_channels: int) -> None:
        super().__init__()
        assert config.latent is not None
        num_cells = window * num_channels
        self.encoder = nn.Linear(num_cells, config.latent)
        self.decoder = nn.Linear(config.latent, num_cells)

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        code_BL = self.encoder(x_BWC.flatten(1))
        y_BWC: torch.Tensor = self.decoder(code_BL).reshape(x_BWC.shape)
        return y_BWC
