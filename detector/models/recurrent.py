"""Recurrent autoencoders, LSTM and GRU: an encoder reads the window, a decoder writes it from one code.

Over patches of rows instead of single rows they take `patch` times fewer steps; the LSTM with
`patch = 1` is the classic form of Malhotra et al. (2016), decoded in reverse as they do. The GRU (Cho et
al., 2014) has three gates' weights where the LSTM has four, and no cell beside its state. The code is a
linear map of the encoder's last state; the decoder starts from it and reads it at every step. Without
that start a decoder takes several times as many steps of training to leave the mean.

Letters: B batch, W window, C channels, P patch, T steps (W / P), N nodes, L latent, D layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import nn
from torch.nn import functional as F

from detector.models.blocks import ACTIVATIONS, check_shared


@dataclass(frozen=True, slots=True)
class Config:
    """Hyperparameters.

    latent      numbers of the code of a whole window; None: an eighth of its cells, 4 to 64, but never
                more than half of them
    activation  of the embedding of a patch
    layers      recurrent layers each way
    nodes       size of a layer's state
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


class RecurrentAutoencoder(nn.Module):
    """Any window: it is padded in front to a multiple of the patch and cut again.

    A subclass says which cell it has, and how many states of `nodes` numbers a layer of it starts from.
    """

    cell: Callable[..., nn.RNNBase]
    num_states: int

    def __init__(self, config: Config, window: int, num_channels: int) -> None:
        super().__init__()
        assert config.latent is not None
        assert config.patch is not None
        self._patch, self._layers, self._channels = config.patch, config.layers, num_channels
        num_cells = config.patch * num_channels
        activation = ACTIVATIONS[config.activation]
        self.embed = nn.Sequential(nn.Linear(num_cells, config.nodes), activation())
        self.encoder = self.cell(config.nodes, config.nodes, config.layers, batch_first=True)
        self.code = nn.Linear(config.nodes, config.latent)
        self.start = nn.Linear(config.latent, self.num_states * config.layers * config.nodes)
        self.decoder = self.cell(config.latent, config.nodes, config.layers, batch_first=True)
        self.write = nn.Linear(config.nodes, num_cells)

    def encode(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """The code of the window, float32 [B, L]."""
        batch, window, _ = x_BWC.shape
        padded = F.pad(x_BWC.transpose(1, 2), (-window % self._patch, 0), mode="replicate").transpose(1, 2)
        patches_BTP = padded.reshape(batch, -1, self._patch * self._channels)
        hidden_BTN, _ = self.encoder(self.embed(patches_BTP))
        code_BL: torch.Tensor = self.code(hidden_BTN[:, -1])
        return code_BL

    def decode(self, z_BL: torch.Tensor, window: int) -> torch.Tensor:
        """The window of a code, float32 [B, W, C]; written from its last patch to its first."""
        steps = -(-window // self._patch)
        start_DBN = self.start(z_BL).reshape(len(z_BL), self.num_states * self._layers, -1).transpose(0, 1)
        hidden, *cell = start_DBN.contiguous().chunk(self.num_states)
        state = (hidden.tanh(), *cell) if cell else hidden.tanh()
        hidden_BTN, _ = self.decoder(z_BL[:, None].expand(-1, steps, -1), state)
        written_BTP = self.write(hidden_BTN).flip(1)
        y_BWC: torch.Tensor = written_BTP.reshape(len(z_BL), -1, self._channels)[:, -window:]
        return y_BWC

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        return self.decode(self.encode(x_BWC), x_BWC.shape[1])


class LstmAutoencoder(RecurrentAutoencoder):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997): a hidden state and a cell."""

    cell, num_states = nn.LSTM, 2


class GruAutoencoder(RecurrentAutoencoder):
    """Gated recurrent units: a hidden state only."""

    cell, num_states = nn.GRU, 1
