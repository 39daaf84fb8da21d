"""Describe the recurrent autoencoders, LSTM and GRU, by their hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from detector.models.configs.checks import check_shared


@dataclass(frozen=True, slots=True)
class Config:
    """Hold the hyperparameters of the family.

    latent      length of the code of a window; None: an eighth of its cells, 4 to 64, but never more
                than half of them
    activation  of the embedding of a patch
    layers      recurrent layers each way
    nodes       size of a layer's state
    loss        mse, mae or huber
    patch       rows that a step reads or writes; None: an eighth of the window, 1 to 8
    """

    latent: int | None = None
    activation: str = "gelu"
    layers: int = 1
    nodes: int = 48
    loss: str = "mse"
    patch: int | None = None

    def __post_init__(self) -> None:
        check_shared(self.latent, self.layers, self.nodes, self.activation, self.loss)
        if self.patch is not None and self.patch < 1:
            raise ValueError(f"patch is {self.patch}; it must be at least 1")

    def resolved(self, window: int, num_channels: int) -> Self:
        """Return the same hyperparameters with every None replaced by a number that suits the data.

        Args:
            window: Rows of a window.
            num_channels: Channels of the model.
        """
        num_cells = window * num_channels
        latent = self.latent or max(1, min(64, max(4, num_cells // 8), num_cells // 2))
        return replace(self, latent=latent, patch=self.patch or min(8, max(1, window // 8)))
