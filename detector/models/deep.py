"""The deep dense autoencoder: a funnel of dense layers to a code, and back (Hinton and Salakhutdinov, 2006).

The code has no activation, so that its numbers may have any value.

Letters: B batch, W window, C channels, L latent.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from detector.models.blocks import ACTIVATIONS
from detector.models.configs.deep import Config


class DeepAutoencoder(nn.Module):
    """Encode and decode windows by several dense layers. `num_codes` is the length of a window's code."""

    def __init__(self, config: Config, window: int, num_channels: int) -> None:
        super().__init__()
        assert config.latent is not None
        self.num_codes = config.latent
        num_cells = window * num_channels
        widths = config.widths()
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
