"""Describe the convolutional autoencoder by its hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from detector.models.configs.checks import check_shared


@dataclass(frozen=True, slots=True)
class Config:
    """Hold the hyperparameters of the family.

    latent      numbers in a step of the code; None: an eighth of the cells of the step, 2 to 16
    activation  see `detector.models.configs.checks.ACTIVATIONS`
    layers      strided convolutions each way; each halves the length
    nodes       filters of a layer
    loss        mse, mae or huber
    kernel      rows that a convolution sees
    causal      the reconstruction of the newest row of a window depends on `receptive_field` rows only
    """

    latent: int | None = None
    activation: str = "gelu"
    layers: int = 3
    nodes: int = 24
    loss: str = "mse"
    kernel: int = 5
    causal: bool = False

    def __post_init__(self) -> None:
        check_shared(self.latent, self.layers, self.nodes, self.activation, self.loss)
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}; it must be odd and at least 1")
        if self.causal and self.kernel < 3:
            raise ValueError(f"kernel is {self.kernel}; with causal it must be at least 3, to see every row")

    def resolved(self, window: int, num_channels: int) -> Self:
        """Return the same hyperparameters with every None replaced by a number that suits the data.

        Args:
            window: Rows of a window.
            num_channels: Channels of the model.
        """
        covered = num_channels * 2**self.layers
        return replace(self, latent=self.latent or min(16, max(2, covered // 8)))
