"""The deep dense autoencoder: a funnel of dense layers to a code, and back (Hinton and Salakhutdinov, 2006).

The code has no activation, so that its numbers may have any value.

Letters: B batch, W window, C channels, L latent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import torch
from torch import nn

from detector.models.blocks import ACTIVATIONS, check_one_of, check_shared


@dataclass(frozen=True, slots=True)
class Config:
    """Hold the hyperparameters of the family.

    latent      numbers of the code; None: an eighth of the window's cells, 1 to 64
    activation  of every layer except the code; see `detector.models.blocks.ACTIVATIONS`
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


class DeepAutoencoder(nn.Module):
    """Encode and decode windows by several dense layers. `num_codes` is the length of a window's code."""

    def __init__(self, config: Config, window: int, num_channels: int) -> None:
        super().__init__()
        assert config.latent is not None
        self.num_codes = config.latent
        num_cells = window * num_channels
        widths = [max(config.latent, config.nodes >> layer) for layer in range(config.layers)]
        self.encoder = _stack([num_cells, *widths, config.latent], config.activation)
        self.decoder = _stack([config.latent, *widths[::-1], num_cells], config.activation)
        self.output = ACTIVATIONS[config.output]()

    def encode(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """Return the code of each window, float32 [B, L]."""
        z_BL: torch.Tensor = self.encoder(x_BWC.flatten(1))
        return z_BL

    def decode(self, z_BL: torch.Tensor, window: int) -> torch.Tensor:
        """Return the window of each code, float32 [B, W, C]; `window` is that of the constructor."""
        y_BWC: torch.Tensor = self.output(self.decoder(z_BL)).reshape(len(z_BL), window, -1)
        return y_BWC

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """Return the reconstruction of each window, float32 [B, W, C]."""
        return self.decode(self.encode(x_BWC), x_BWC.shape[1])


def _stack(widths: list[int], activation: str) -> nn.Sequential:
    """Return dense layers of these widths with an activation between each two."""
    layers: list[nn.Module] = []
    for num_in, num_out in pairwise(widths):
        layers += [nn.Linear(num_in, num_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])
