"""Describe the deep dense autoencoder by its hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from detector.models.configs.checks import ACTIVATIONS, check_one_of, check_shared


@dataclass(frozen=True, slots=True)
class Config:
    """Hold the hyperparameters of the family.

    latent      numbers of the code; None: an eighth of the window's cells, 1 to 64
    activation  of every layer except the code; see `detector.models.configs.checks.ACTIVATIONS`
    layers      dense layers between window and code, each way
    nodes       of the layer next to the window; each further layer has half as many, at least `latent`
    loss        mse, mae or huber
    output      activation of the output, from the same list
    """

    latent: int | None = None
    activation: str = "gelu"
    layers: int = 2
    nodes: int = 128
    loss: str = "mse"
    output: str = "identity"

    def __post_init__(self) -> None:
        check_shared(self.latent, self.layers, self.nodes, self.activation, self.loss)
        check_one_of("output", self.output, ACTIVATIONS)

    def resolved(self, window: int, num_channels: int) -> Self:
        """Return the same hyperparameters with every None replaced by a number that suits the data.

        Args:
            window: Rows of a window.
            num_channels: Channels of the model.
        """
        return replace(self, latent=self.latent or min(64, max(1, window * num_channels // 8)))

    def widths(self) -> list[int]:
        """Return the widths of the layers between window and code, that next to the window first."""
        assert self.latent is not None
        return [max(self.latent, self.nodes >> layer) for layer in range(self.layers)]
