"""Recurrent autoencoders, LSTM and GRU: an encoder reads the window, a decoder writes it from one code.

A step reads or writes a patch of several rows, so that a window takes `patch` times fewer steps. The LSTM
with `patch = 1` is the classic form of Malhotra et al. (2016), which also decodes in reverse. The GRU (Cho
et al., 2014) has the weights of three gates where the LSTM has four, and no cell in addition to its state.
The code is a linear map of the encoder's last state. The decoder starts from the code and reads it at every
step. Without that start, training takes several times as many steps to learn more than the mean.

Letters: B batch, W window, C channels, P patch, T steps (W / P), N nodes, L latent, D layers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from detector.models.blocks import ACTIVATIONS
from detector.models.configs.recurrent import Config


class RecurrentAutoencoder(nn.Module):
    """Encode and decode windows of any length by recurrent layers.

    A window is padded in front to a multiple of the patch, and its reconstruction is cut to its length again.
    A subclass sets `cell`, the class of its layers, and `num_states`, the number of state vectors of a layer.
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
        """Return the code of each window, float32 [B, L]."""
        batch, window, _ = x_BWC.shape
        padded = F.pad(x_BWC.transpose(1, 2), (-window % self._patch, 0), mode="replicate").transpose(1, 2)
        patches_BTP = padded.reshape(batch, -1, self._patch * self._channels)
        hidden_BTN, _ = self.encoder(self.embed(patches_BTP))
        code_BL: torch.Tensor = self.code(hidden_BTN[:, -1])
        return code_BL

    def decode(self, z_BL: torch.Tensor, window: int) -> torch.Tensor:
        """Return the window of each code, float32 [B, W, C]; the last patch is written first."""
        steps = -(-window // self._patch)
        start_DBN = self.start(z_BL).reshape(len(z_BL), self.num_states * self._layers, -1).transpose(0, 1)
        hidden, *cell = start_DBN.contiguous().chunk(self.num_states)
        state = (hidden.tanh(), *cell) if cell else hidden.tanh()
        hidden_BTN, _ = self.decoder(z_BL[:, None].expand(-1, steps, -1), state)
        written_BTP = self.write(hidden_BTN).flip(1)
        y_BWC: torch.Tensor = written_BTP.reshape(len(z_BL), -1, self._channels)[:, -window:]
        return y_BWC

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """Return the reconstruction of each window, float32 [B, W, C]."""
        return self.decode(self.encode(x_BWC), x_BWC.shape[1])


class LstmAutoencoder(RecurrentAutoencoder):
    """Use long short-term memory (Hochreiter and Schmidhuber, 1997): a hidden state and a cell."""

    cell, num_states = nn.LSTM, 2


class GruAutoencoder(RecurrentAutoencoder):
    """Use gated recurrent units: a hidden state only."""

    cell, num_states = nn.GRU, 1
