"""Describe the memory by its hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from detector.models.configs.checks import check_shared


@dataclass(frozen=True, slots=True)
class Config:
    """Hold the hyperparameters of the family.

    latent  numbers of the code: that of the core, and one level for each channel
    nodes   number of cores

    All families have activation, layers and loss; here each has only one allowed value.
    """

    latent: int | None = None
    activation: str = "identity"
    layers: int = 1
    nodes: int = 256
    loss: str = "mse"

    def __post_init__(self) -> None:
        check_shared(self.latent, self.layers, self.nodes, self.activation, self.loss)
        if (self.activation, self.layers, self.loss) != ("identity", 1, "mse"):
            raise ValueError("memory has one layer without activation, and its loss is mse; set nodes alone")

    def resolved(self, window: int, num_channels: int) -> Self:
        """Return the same hyperparameters with the length of the code.

        Args:
            window: Rows of a window.
            num_channels: Channels of the model.

        Raises:
            ValueError: The length of the code is given, and it is another one.
        """
        if self.latent not in (None, 1 + num_channels):
            raise ValueError(
                f"latent is {self.latent}; a memory of {num_channels} channels has {1 + num_channels}:"
                " leave it out"
            )
        return replace(self, latent=1 + num_channels)
