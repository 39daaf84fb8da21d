"""The recurrent autoencoders in NumPy, LSTM and GRU.

Their modules in torch are in `detector.models.recurrent`.

Time comes first here: a step is then one contiguous matrix over all windows. What a step takes from its input
is computed for all steps at once. A step multiplies its state with the weights of all gates together.

Letters: B batch, W window, C channels, P cells of a patch, T steps, N nodes, L latent, D layers, G cells of
all gates.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from detector.models.arrays.layers import ACTIVATIONS, F32, Shapes, dense, dense_shapes, sigmoid
from detector.models.configs.recurrent import Config


class _LstmLayer:
    """Run a layer of long short-term memory. The gates are those of torch: input, forget, cell, output."""

    num_gates, num_states = 4, 2

    def __init__(self, weights: Mapping[str, F32], place: str, layer: int) -> None:
        self._input = weights[f"{place}.weight_ih_l{layer}"]
        self._recurrent = weights[f"{place}.weight_hh_l{layer}"].T
        self._bias = weights[f"{place}.bias_ih_l{layer}"] + weights[f"{place}.bias_hh_l{layer}"]

    def gates(self, x_NI: F32) -> F32:
        """Return what the inputs of any number of steps add to the gates, float32 [N, G]."""
        return dense(x_NI, self._input, self._bias)

    def step(self, gates_BG: F32, states: list[F32]) -> list[F32]:
        """Return hidden state and cell, float32 [B, N] each, after one step. Writes over the gates."""
        hidden, cell = states
        gates_BG += hidden @ self._recurrent
        num = cell.shape[1]
        let_in, keep = sigmoid(gates_BG[:, :num]), sigmoid(gates_BG[:, num : 2 * num])
        new, show = np.tanh(gates_BG[:, 2 * num : 3 * num]), sigmoid(gates_BG[:, 3 * num :])
        cell = keep * cell + let_in * new
        return [show * np.tanh(cell), cell]


class _GruLayer:
    """Run a layer of gated recurrent units. The gates are those of torch: reset, update, new."""

    num_gates, num_states = 3, 1

    def __init__(self, weights: Mapping[str, F32], place: str, layer: int) -> None:
        self._input = weights[f"{place}.weight_ih_l{layer}"]
        self._recurrent = weights[f"{place}.weight_hh_l{layer}"]
        self._input_bias = weights[f"{place}.bias_ih_l{layer}"]
        self._recurrent_bias = weights[f"{place}.bias_hh_l{layer}"]

    def gates(self, x_NI: F32) -> F32:
        """Return what the inputs of any number of steps add to the gates, float32 [N, G]."""
        return dense(x_NI, self._input, self._input_bias)

    def step(self, gates_BG: F32, states: list[F32]) -> list[F32]:
        """Return the hidden state, float32 [B, N], after one step. Writes over the gates."""
        (hidden,) = states
        num = hidden.shape[1]
        own_BG = dense(hidden, self._recurrent, self._recurrent_bias)
        gates_BG[:, : 2 * num] += own_BG[:, : 2 * num]
        reset, update = sigmoid(gates_BG[:, :num]), sigmoid(gates_BG[:, num : 2 * num])
        new = np.tanh(gates_BG[:, 2 * num :] + reset * own_BG[:, 2 * num :])
        return [new + update * (hidden - new)]


class _RecurrentArrays:
    """Encode and decode windows of any length by recurrent layers."""

    cell: type[_LstmLayer] | type[_GruLayer]

    def __init__(self, config: Config, window: int, num_channels: int, weights: Mapping[str, F32]) -> None:
        assert config.patch is not None
        self._patch, self._channels = config.patch, num_channels
        self._activate = ACTIVATIONS[config.activation]
        self._embed = weights["embed.0.weight"], weights["embed.0.bias"]
        self._encoder = [self.cell(weights, "encoder", layer) for layer in range(config.layers)]
        self._code = weights["code.weight"], weights["code.bias"]
        self._start = weights["start.weight"], weights["start.bias"]
        self._decoder = [self.cell(weights, "decoder", layer) for layer in range(config.layers)]
        self._write = weights["write.weight"], weights["write.bias"]
        self._nodes = config.nodes

    @classmethod
    def shapes(cls, config: Config, window: int, num_channels: int) -> Shapes:
        """Return the shapes of the weights by name, in the order of the module."""
        assert config.latent is not None
        assert config.patch is not None
        num_cells, nodes = config.patch * num_channels, config.nodes
        num_started = cls.cell.num_states * config.layers * nodes
        return {
            **dense_shapes("embed.0", num_cells, nodes),
            **_layer_shapes("encoder", nodes, config, cls.cell.num_gates),
            **dense_shapes("code", nodes, config.latent),
            **dense_shapes("start", config.latent, num_started),
            **_layer_shapes("decoder", config.latent, config, cls.cell.num_gates),
            **dense_shapes("write", nodes, num_cells),
        }

    def encode(self, x_BWC: F32) -> F32:
        """Return the code of each window, float32 [B, L]."""
        num, window, _ = x_BWC.shape
        missing = -window % self._patch
        if missing:
            x_BWC = np.concatenate([np.repeat(x_BWC[:, :1], missing, axis=1), x_BWC], axis=1)
        patches_BTP = x_BWC.reshape(num, -1, self._patch * self._channels)
        h_TBN = _each(np.ascontiguousarray(patches_BTP.transpose(1, 0, 2)), self._embed)
        h_TBN = self._activate(h_TBN)
        for layer in self._encoder:
            zeros = np.zeros((num, self._nodes), np.float32)
            gates_TBG = layer.gates(h_TBN.reshape(-1, h_TBN.shape[2])).reshape(*h_TBN.shape[:2], -1)
            h_TBN = _run(layer, gates_TBG, [zeros] * layer.num_states)
        return dense(h_TBN[-1], *self._code)

    def decode(self, z_BL: F32, window: int) -> F32:
        """Return the window of each code, float32 [B, W, C]; the last patch is written first."""
        num, steps = len(z_BL), -(-window // self._patch)
        started_BSN = dense(z_BL, *self._start).reshape(num, -1, self._nodes)
        depth, h_TBN = len(self._decoder), z_BL[None]
        for at, layer in enumerate(self._decoder):
            states = [started_BSN[:, at + depth * number] for number in range(layer.num_states)]
            states[0] = np.tanh(states[0])
            gates_TBG = layer.gates(h_TBN.reshape(-1, h_TBN.shape[2])).reshape(*h_TBN.shape[:2], -1)
            if at == 0:  # every step reads the same code
                gates_TBG = np.repeat(gates_TBG, steps, axis=0)
            h_TBN = _run(layer, gates_TBG, states)
        written_TBP = _each(h_TBN, self._write)
        written_BTP = written_TBP[::-1].transpose(1, 0, 2)
        return written_BTP.reshape(num, -1, self._channels)[:, -window:]

    def __call__(self, x_BWC: F32) -> F32:
        """Return the reconstruction of each window, float32 [B, W, C]."""
        return self.decode(self.encode(x_BWC), x_BWC.shape[1])


class LstmArrays(_RecurrentArrays):
    """Use long short-term memory: a hidden state and a cell."""

    cell = _LstmLayer


class GruArrays(_RecurrentArrays):
    """Use gated recurrent units: a hidden state only."""

    cell = _GruLayer


def _layer_shapes(place: str, num_in: int, config: Config, num_gates: int) -> Shapes:
    """Return the shapes of the weights of all recurrent layers of a direction."""
    found: Shapes = {}
    for layer in range(config.layers):
        width = num_in if layer == 0 else config.nodes
        found[f"{place}.weight_ih_l{layer}"] = (num_gates * config.nodes, width)
        found[f"{place}.weight_hh_l{layer}"] = (num_gates * config.nodes, config.nodes)
        found[f"{place}.bias_ih_l{layer}"] = found[f"{place}.bias_hh_l{layer}"] = (num_gates * config.nodes,)
    return found


def _run(layer: _LstmLayer | _GruLayer, gates_TBG: F32, states: list[F32]) -> F32:
    """Return the hidden state after each step, float32 [T, B, N]."""
    steps, num, _ = gates_TBG.shape
    hidden_TBN = np.empty((steps, num, states[0].shape[1]), np.float32)
    for at in range(steps):
        states = layer.step(gates_TBG[at], states)
        hidden_TBN[at] = states[0]
    return hidden_TBN


def _each(x_TBI: F32, weights: tuple[F32, F32]) -> F32:
    """Return a dense layer of every step, float32 [T, B, O]."""
    steps, num, width = x_TBI.shape
    return dense(x_TBI.reshape(steps * num, width), *weights).reshape(steps, num, -1)
