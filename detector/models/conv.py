"""The convolutional autoencoder: strided convolutions down to a narrow code, transposed ones back.

The causal form pads in front only, and its strides are counted back from the window's end. A step of the
code is made of its own 2^layers rows and of those before them, never of later ones, and it alone writes
its rows again: each row would rather be copied, but the code has room for fewer numbers than the step has
cells. So what the newest row is said to be is a function of the last `receptive_field` rows, the same in
every window that ends there, and can be computed without a window: the strided network, evaluated at
every row, is a dilated one (the algorithme a trous: Holschneider et al., 1989). That is
`detector.models.incremental_conv`.

Letters: B batch, W window, C channels, N nodes, L latent, T steps of the code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import nn
from torch.nn import functional as F

from detector.models.blocks import ACTIVATIONS, check_shared


@dataclass(frozen=True, slots=True)
class Config:
    """Hyperparameters.

    latent      numbers a step of the code; None: an eighth of what the step covers, 2 to 16
    activation  see `detector.models.blocks.ACTIVATIONS`
    layers      strided convolutions each way; each halves the length
    nodes       filters a layer
    loss        mse, mae or huber
    kernel      rows that a convolution sees
    causal      no row is judged by later ones, and a stream is scored without windows
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
        """The same with every None replaced by a number that fits the data."""
        covered = num_channels * 2**self.layers
        return replace(self, latent=self.latent or min(16, max(2, covered // 8)))


class ConvAutoencoder(nn.Module):
    """Any window: it is padded in front to a multiple of 2^layers and cut again.

    `num_codes` are the numbers in the code of a window of the given length. `receptive_field` is the number
    of rows that the reconstruction of the newest row depends on where the network is causal, else None: it
    depends on the window. The causal form takes a window for one that had its first row for ever before, so
    a window shorter than that is judged as if it were such a longer one.
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
        """The flat code of each window, [B, latent * T]."""
        x_BCW = x_BWC.transpose(1, 2)
        missing = -x_BWC.shape[1] % self._multiple
        if self.receptive_field is not None:
            missing += (
                1  # each layer then begins with what it says of the first row for ever, and pads by that
            )
        if missing:
            x_BCW = F.pad(x_BCW, (missing, 0), mode="replicate")
        code_BLT: torch.Tensor = self.encoder(x_BCW)
        if self.receptive_field is not None:
            code_BLT = code_BLT[:, :, 1:]
        return code_BLT.flatten(1)

    def decode(self, z_BL: torch.Tensor, window: int) -> torch.Tensor:
        """The windows of the codes, [B, window, C]."""
        steps = -(-window // self._multiple)
        y_BCW: torch.Tensor = self.decoder(z_BL.reshape(len(z_BL), -1, steps))
        return y_BCW[:, :, -window:].transpose(1, 2)

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        return self.decode(self.encode(x_BWC), x_BWC.shape[1])


def _halve(num_in: int, config: Config) -> list[nn.Module]:
    """[B, num_in, 2 T] -> [B, nodes, T]; causal: [B, num_in, 1 + 2 T] -> [B, nodes, 1 + T]."""
    if config.causal:
        pad = nn.ReplicationPad1d((config.kernel - 1, 0))
        return [pad, nn.Conv1d(num_in, config.nodes, config.kernel, 2)]
    return [nn.Conv1d(num_in, config.nodes, config.kernel, 2, config.kernel // 2)]


def _double(num_out: int, config: Config) -> nn.ConvTranspose1d:
    """[B, nodes, T] -> [B, num_out, 2 T]; causal: each step by itself."""
    if config.causal:
        return nn.ConvTranspose1d(config.nodes, num_out, 2, 2)
    return nn.ConvTranspose1d(config.nodes, num_out, 4, 2, 1)
