"""The convolutional autoencoder in NumPy; its module in torch is in `detector.models.conv`.

Channels come last here. The rows that a kernel sees then lie side by side, and a layer is one product of
matrices over all positions of all windows. A transposed convolution is written alike: each pair of
neighbouring inputs gives two outputs.

Letters: B batch, W window, C channels, I and O inputs and outputs of a layer, K kernel, T positions,
L latent.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from detector.models.arrays.layers import ACTIVATIONS, F32, Shapes, dense
from detector.models.configs.conv import Config


class ConvArrays:
    """Encode and decode windows of any length by strided convolutions and their transposes."""

    def __init__(self, config: Config, window: int, num_channels: int, weights: Mapping[str, F32]) -> None:
        self._config = config
        self._activate = ACTIVATIONS[config.activation]
        down, up = _places(config)
        self._halving = [_rows_of(weights[f"encoder.{at}.weight"]) for at in down]
        self._halving_bias = [weights[f"encoder.{at}.bias"] for at in down]
        last = len(down) * (3 if config.causal else 2)
        self._code = weights[f"encoder.{last}.weight"][:, :, 0], weights[f"encoder.{last}.bias"]
        self._start = weights["decoder.0.weight"][:, :, 0], weights["decoder.0.bias"]
        double = _alone_of if config.causal else _pairs_of
        self._doubling = [double(weights[f"decoder.{at}.weight"]) for at in up]
        self._doubling_bias = [weights[f"decoder.{at}.bias"] for at in up]

    @staticmethod
    def shapes(config: Config, window: int, num_channels: int) -> Shapes:
        """Return the shapes of the weights by name, in the order of the module."""
        assert config.latent is not None
        down, up = _places(config)
        nodes, last = config.nodes, len(down) * (3 if config.causal else 2)
        found: Shapes = {}
        for layer, at in enumerate(down):
            num_in = num_channels if layer == 0 else nodes
            found |= {f"encoder.{at}.weight": (nodes, num_in, config.kernel), f"encoder.{at}.bias": (nodes,)}
        found |= {
            f"encoder.{last}.weight": (config.latent, nodes, 1),
            f"encoder.{last}.bias": (config.latent,),
        }
        found |= {"decoder.0.weight": (nodes, config.latent, 1), "decoder.0.bias": (nodes,)}
        for layer, at in enumerate(up):
            num_out = num_channels if layer == len(up) - 1 else nodes
            kernel = 2 if config.causal else 4
            found |= {f"decoder.{at}.weight": (nodes, num_out, kernel), f"decoder.{at}.bias": (num_out,)}
        return found

    def encode(self, x_BWC: F32) -> F32:
        """Return the flat code of each window, float32 [B, latent * T]."""
        return self._codes(x_BWC).transpose(0, 2, 1).reshape(len(x_BWC), -1)

    def decode(self, z_BL: F32, window: int) -> F32:
        """Return the window of each code, float32 [B, window, C]."""
        steps = -(-window // 2**self._config.layers)
        codes = z_BL.reshape(len(z_BL), -1, steps).transpose(0, 2, 1)
        return self._windows(np.ascontiguousarray(codes), window)

    def __call__(self, x_BWC: F32) -> F32:
        """Return the reconstruction of each window, float32 [B, W, C]."""
        return self._windows(self._codes(x_BWC), x_BWC.shape[1])

    def _codes(self, x_BWC: F32) -> F32:
        """Return the code of each step, float32 [B, T, latent]."""
        config = self._config
        missing = -x_BWC.shape[1] % 2**config.layers + int(config.causal)
        h_BTI = _padded(x_BWC, (missing, 0), "edge")
        half = config.kernel // 2
        padding, mode = ((2 * half, 0), "edge") if config.causal else ((half, half), "constant")
        for weight_OK, bias_O in zip(self._halving, self._halving_bias, strict=True):
            taps_BTK = _taps(_padded(h_BTI, padding, mode), config.kernel, 2)
            h_BTI = self._activate(_each(taps_BTK, weight_OK, bias_O))
        codes_BTL = _each(h_BTI, *self._code)
        return codes_BTL[:, 1:] if config.causal else codes_BTL

    def _windows(self, codes_BTL: F32, window: int) -> F32:
        """Return the window of each code, float32 [B, window, C]."""
        h_BTI = _each(np.ascontiguousarray(codes_BTL), *self._start)
        for weight_PK, bias_O in zip(self._doubling, self._doubling_bias, strict=True):
            double = _doubled_alone if self._config.causal else _doubled
            h_BTI = double(self._activate(h_BTI), weight_PK, bias_O)
        return h_BTI[:, -window:]


def _places(config: Config) -> tuple[list[int], list[int]]:
    """Return where the strided layers stand in the encoder and in the decoder of the module."""
    step, first = (3, 1) if config.causal else (2, 0)
    return [first + step * layer for layer in range(config.layers)], [2 + 2 * n for n in range(config.layers)]


def _rows_of(weight_OIK: F32) -> F32:
    """Return the weights of a strided layer as a matrix over the rows that it sees, float32 [O, K * I]."""
    return weight_OIK.transpose(0, 2, 1).reshape(len(weight_OIK), -1)


def _alone_of(weight_IOK: F32) -> F32:
    """Return the weights that map one input to two outputs, float32 [2 * O, I]."""
    return weight_IOK.transpose(2, 1, 0).reshape(-1, len(weight_IOK))


def _pairs_of(weight_IOK: F32) -> F32:
    """Return the weights that map two neighbouring inputs to two outputs, float32 [2 * O, 2 * I].

    An even output 2 m gets taps 3 and 1 of the inputs m - 1 and m. An odd output 2 m + 1 gets taps 2 and 0
    of the inputs m and m + 1.
    """
    even = np.concatenate([weight_IOK[:, :, 3], weight_IOK[:, :, 1]])
    odd = np.concatenate([weight_IOK[:, :, 2], weight_IOK[:, :, 0]])
    return np.ascontiguousarray(np.concatenate([even, odd], axis=1).T)


def _padded(x_BTI: F32, amounts: tuple[int, int], mode: str) -> F32:
    """Return the rows with so many more before and after: zeros, or copies of the first ("edge")."""
    before, after = amounts
    if before == after == 0:
        return x_BTI
    num, rows, width = x_BTI.shape
    wide = np.empty((num, before + rows + after, width), np.float32)
    wide[:, :before] = x_BTI[:, :1] if mode == "edge" else 0.0
    wide[:, before : before + rows] = x_BTI
    wide[:, before + rows :] = 0.0
    return wide


def _taps(x_BTI: F32, kernel: int, stride: int) -> F32:
    """Return what the kernel sees at each position, float32 [B, T, K * I]."""
    num, rows, width = x_BTI.shape
    along, down, across = x_BTI.strides
    shape = (num, (rows - kernel) // stride + 1, kernel, width)
    strides = (along, stride * down, down, across)
    seen = np.lib.stride_tricks.as_strided(x_BTI, shape, strides, writeable=False)
    return seen.reshape(num, shape[1], -1)


def _each(x_BTI: F32, weight_OI: F32, bias_O: F32) -> F32:
    """Return a dense layer of every position, float32 [B, T, O]."""
    num, rows, width = x_BTI.shape
    return dense(x_BTI.reshape(num * rows, width), weight_OI, bias_O).reshape(num, rows, -1)


def _doubled(x_BTI: F32, weight_PK: F32, bias_O: F32) -> F32:
    """Return the transposed convolution with kernel 4, stride 2 and padding 1, float32 [B, 2 * T, O]."""
    num, rows, _ = x_BTI.shape
    pairs = _each(_taps(_padded(x_BTI, (1, 1), "constant"), 2, 1), weight_PK, np.tile(bias_O, 2))
    num_out = len(bias_O)
    wide = np.empty((num, rows, 2, num_out), np.float32)
    wide[:, :, 0] = pairs[:, :-1, :num_out]
    wide[:, :, 1] = pairs[:, 1:, num_out:]
    return wide.reshape(num, 2 * rows, num_out)


def _doubled_alone(x_BTI: F32, weight_PI: F32, bias_O: F32) -> F32:
    """Return the transposed convolution that maps each position alone to two, float32 [B, 2 * T, O]."""
    num, rows, _ = x_BTI.shape
    return _each(x_BTI, weight_PI, np.tile(bias_O, 2)).reshape(num, 2 * rows, -1)
