"""The linear autoencoder: it projects windows on their principal components.

With squared error its best encoder and decoder span the same subspace as PCA (Baldi and Hornik, 1989). It
is solved in closed form (`trainer.fitting.principal_components`), or trained by gradients to the same
subspace (`trainer.fitting.gradient`). It has one layer and no activation.

Letters: B batch, W window, C channels, L latent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import nn

from detector.models.blocks import check_one_of, check_shared

FITS = ("closed", "gradient")


@dataclass(frozen=True, slots=True)
class Config:
    """Hold the hyperparameters of the family.

    latent  number of components; None: an eighth of the window's cells, 1 to 64
    fit     closed: compute the principal components; gradient: use the training loop of the other families
    loss    mse; with `fit = "gradient"` also mae or huber

    All families have activation, layers and nodes; here each has only one allowed value.
    """

    latent: int | None = None
    activation: str = "identity"
    layers: int = 1
    nodes: int = 1
    loss: str = "mse"
    fit: str = "closed"

    def __post_init__(self) -> None:
        check_shared(self.latent, self.layers, self.nodes, self.activation, self.loss)
        check_one_of("fit", self.fit, FITS)
        if (self.activation, self.layers, self.nodes) != ("identity", 1, 1):
            raise ValueError("linear has one layer without nodes or activation; use another family")
        if self.fit == "closed" and self.loss != "mse":
            raise ValueError(f'loss is {self.loss!r}; the closed form needs mse: set fit = "gradient"')

    def resolved(self, window: int, num_channels: int) -> Self:
        """Return the same hyperparameters with every None replaced by a number that suits the data.

        Args:
            window: Rows of a window.
            num_channels: Channels of the model.
        """
        num_cells = window * num_channels
        latent = self.latent or min(64, max(1, num_cells // 8))
        return replace(self, latent=min(latent, num_cells))


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
