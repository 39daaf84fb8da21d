"""Describe the linear autoencoder by its hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from detector.models.configs.checks import check_one_of, check_shared

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
