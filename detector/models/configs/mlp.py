"""Describe the plain autoencoder by its hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from detector.models.configs.checks import ACTIVATIONS, check_one_of, check_shared


@dataclass(frozen=True, slots=True)
class Config:
    """Hold the hyperparameters of the family.

    latent      number of hidden nodes, which are the code; None: an eighth of the window's cells, 1 to 64
    activation  of the hidden nodes; see `detector.models.configs.checks.ACTIVATIONS`
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
