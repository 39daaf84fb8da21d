"""The LSTM autoencoder: an encoder reads the window, a decoder writes it again from one code.

Over patches of rows instead of single rows it takes `patch` times fewer steps; `patch = 1` is the
classic form of Malhotra et al. (2016), decoded in reverse as they do. The code is a linear map of the
encoder's last state; the decoder starts from it and reads it at every step. Without that start a decoder
takes several times as many steps of training to leave the mean.

Letters: B batch, W window, C channels, P patch, T steps (W / P), N nodes, L latent, D layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import nn
from torch.nn import functional as F

from detector.models.options import ACTIVATIONS, check_shared


@dataclass(frozen=True, slots=True)
class Config:
    """Hyperparameters.

    latent      numbers of the code of a whole window; None: an eighth of its cells, 4 to 64, but never
                more than half of them
    activation  of the embedding of a patch
    layers      LSTM layers each way
    nodes       size of the LSTM's state
    loss        mse, mae or huber
    patch       rows read and written at once; None: an eighth of the window, 1 to 8
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
        """The same with every None replaced by a number that fits the data."""
        num_cells = window * num_channels
        latent = self.latent or max(1, min(64, max(4, num_cells // 8), num_cells // 2))
        return replace(self, latent=latent, patch=self.patch or min(8, max(1, window // 8)))


class LstmAutoencoder(nn.Module):
    """Any window: it is padded in front to a multiple of the patch and cut again."""

    def __init__(self, config: Config, window: int, num_channels: int) -> None:
        super().__init__()
        assert config.latent is not None
        assert config.patch is not None
        self._patch, self._layers = config.patch, config.layers
        num_cells = config.patch * num_channels
        activation = ACTIVATIONS[config.activation]
        self.embed = nn.Sequential(nn.Linear(num_cells, config.nodes), activation())
        self.encoder = nn.LSTM(config.nodes, config.nodes, config.layers, batch_first=True)
        self.code = nn.Linear(config.nodes, config.latent)
        self.start = nn.Linear(config.latent, 2 * config.layers * config.nodes)
        self.decoder = nn.LSTM(config.latent, config.nodes, config.layers, batch_first=True)
        self.write = nn.Linear(config.nodes, num_cells)

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        batch, window, channels = x_BWC.shape
        padded = F.pad(x_BWC.transpose(1, 2), (-window % self._patch, 0), mode="replicate").transpose(1, 2)
        steps = padded.shape[1] // self._patch
        patches_BTP = padded.reshape(batch, steps, self._patch * channels)
        _, (state, _) = self.encoder(self.embed(patches_BTP))
        code_BL = self.code(state[-1])
        start_DBN = self.start(code_BL).reshape(batch, 2 * self._layers, -1).transpose(0, 1).contiguous()
        hidden, cell = start_DBN.chunk(2)
        hidden_BTN, _ = self.decoder(code_BL[:, None].expand(-1, steps, -1), (hidden.tanh(), cell))
        written_BTP = self.write(hidden_BTN).flip(1)
        y_BWC: torch.Tensor = written_BTP.reshape(batch, -1, channels)[:, -window:]
        return y_BWC
