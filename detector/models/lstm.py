"""The LSTM autoencoder: an encoder reads the window, a decoder writes it again from one code.

Over patches of rows instead of single rows it takes `patch` times fewer steps; `patch = 1` is the
classic form of Malhotra et al. (2016), decoded in reverse as they do.

Letters: B batch, W window, C channels, P patch, T steps (W / P), N nodes, L latent.
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

    latent      numbers of the code of a whole window; None: an eighth of its cells, 4 to 64
    activation  of the code and of the embedding of a patch
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
        latent = self.latent or min(64, max(4, window * num_channels // 8))
        return replace(self, latent=latent, patch=self.patch or min(8, max(1, window // 8)))


class LstmAutoencoder(nn.Module):
    """Any window: it is padded in front to a multiple of the patch and cut again."""

    def __init__(self, config: Config, window: int, num_channels: int) -> None:
        super().__init__()
        assert config.latent is not None
        assert config.patch is not None
        self._patch = config.patch
        num_cells = config.patch * num_channels
        activation = ACTIVATIONS[config.activation]
        self.embed = nn.Sequential(nn.Linear(num_cells, config.nodes), activation())
        self.encoder = nn.LSTM(config.nodes, config.nodes, config.layers, batch_first=True)
        self.code = nn.Sequential(nn.Linear(config.nodes, config.latent), activation())
        self.decoder = nn.LSTM(config.latent, config.nodes, config.layers, batch_first=True)
        self.write = nn.Linear(config.nodes, num_cells)

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        batch, window, channels = x_BWC.shape
        padded = F.pad(x_BWC.transpose(1, 2), (-window % self._patch, 0), mode="replicate").transpose(1, 2)
        steps = padded.shape[1] // self._patch
        patches_BTP = padded.reshape(batch, steps, self._patch * channels)
        _, (state, _) = self.encoder(self.embed(patches_BTP))
        code_BL = self.code(state[-1])
        hidden_BTN, _ = self.decoder(code_BL[:, None].expand(-1, steps, -1))
        written_BTP = self.write(hidden_BTN).flip(1)
        y_BWC: torch.Tensor = written_BTP.reshape(batch, -1, channels)[:, -window:]
        return y_BWC
