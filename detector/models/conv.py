"""The convolutional autoencoder: strided convolutions to a narrow code, transposed convolutions back.

The causal form pads only in front, and counts its strides back from the end of the window. A step of the
code depends on its own 2^layers rows and on earlier rows, never on later ones. Only that step reconstructs
these rows. It cannot simply copy them, because it has fewer numbers than they have cells.

The reconstruction of the newest row therefore depends on the last `receptive_field` rows only. It is the
same in every window that ends there.

Letters: B batch, W window, C channels, N nodes, L latent, T steps of the code.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from detector.models.blocks import ACTIVATIONS
from detector.models.configs.conv import Config


class ConvAutoencoder(nn.Module):
    """Encode and decode windows of any length by convolutions.

    A window is padded in front to a multiple of 2^layers, and its reconstruction is cut to its length again.
    The causal form assumes that the first row was constant before the window. It therefore scores a window
    shorter than `receptive_field` as if such rows came before it.

    num_codes        length of the code of a window of the constructor's length
    receptive_field  rows that the reconstruction of the newest row depends on; None if it is not causal,
                     because then it depends on the whole window
    """

    def __init__(self, config: Config, window: int, num_channels: int) -> None:
        super().__init__()
        assert config.latent is not None
        self._multiple = 2**config.layers
        self.num_codes = config.latent * -(-window // self._multiple)
        self.receptive_field = 1 + (config.kernel - 1) * (self._multiple - 1) if config.causal else None
        activation = ACTIVATIONS[config.activation]
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for layer in range(config.layers):
            num_in = num_channels if layer == 0 else config.nodes
            down += [*_halve(num_in, config), activation()]
            num_out = num_channels if layer == config.layers - 1 else config.nodes
            up += [activation(), _double(num_out, config)]
        self.encoder = nn.Sequential(*down, nn.Conv1d(config.nodes, config.latent, 1))
        self.decoder = nn.Sequential(nn.Conv1d(config.latent, config.nodes, 1), *up)

    def encode(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """Return the flat code of each window, float32 [B, latent * T]."""
        x_BCW = x_BWC.transpose(1, 2)
        missing = -x_BWC.shape[1] % self._multiple
        if self.receptive_field is not None:
            # One extra step in front, so that the left padding of each causal layer is its own output for
            # a constant input.
            missing += 1
        if missing:
            x_BCW = F.pad(x_BCW, (missing, 0), mode="replicate")
        code_BLT: torch.Tensor = self.encoder(x_BCW)
        if self.receptive_field is not None:
            code_BLT = code_BLT[:, :, 1:]
        return code_BLT.flatten(1)

    def decode(self, z_BL: torch.Tensor, window: int) -> torch.Tensor:
        """Return the window of each code, float32 [B, window, C]."""
        steps = -(-window // self._multiple)
        y_BCW: torch.Tensor = self.decoder(z_BL.reshape(len(z_BL), -1, steps))
        return y_BCW[:, :, -window:].transpose(1, 2)

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """Return the reconstruction of each window, float32 [B, W, C]."""
        return self.decode(self.encode(x_BWC), x_BWC.shape[1])


def _halve(num_in: int, config: Config) -> list[nn.Module]:
    """Return a layer [B, num_in, 2 T] -> [B, nodes, T]; causal: [B, num_in, 1 + 2 T] -> [B, nodes, 1 + T]."""
    if config.causal:
        pad = nn.ReplicationPad1d((config.kernel - 1, 0))
        return [pad, nn.Conv1d(num_in, config.nodes, config.kernel, 2)]
    return [nn.Conv1d(num_in, config.nodes, config.kernel, 2, config.kernel // 2)]


def _double(num_out: int, config: Config) -> nn.ConvTranspose1d:
    """Return a layer [B, nodes, T] -> [B, num_out, 2 T]; the causal one maps each step alone."""
    if config.causal:
        return nn.ConvTranspose1d(config.nodes, num_out, 2, 2)
    return nn.ConvTranspose1d(config.nodes, num_out, 4, 2, 1)
