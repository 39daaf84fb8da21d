"""Run the convolutional autoencoder by products of matrices, for inference on the CPU.

A layer with few filters fills only a part of a processor's units for products. Here a layer is one product
for all blocks of several groups of outputs. Its matrix holds the weights of a group several times, each time
a stride further, and 0 elsewhere. Channels stay last, so that no layer moves them.

Letters: B batch, W window, C channels, T positions, I and O inputs and outputs of a layer, K kernel.
A group of G outputs sees S positions. N is the blocks of all windows, and P the inputs of a block.
"""

from __future__ import annotations

from math import gcd
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from detector.models.conv import ConvAutoencoder

BLOCK = 2
"""Groups of a block, where that divides their number."""
LEAST_WINDOWS, POSITIONS = 128, 8_192
"""Windows computed at once: so many positions, and at least so many windows. The core's cache holds them."""


class ConvProducts:
    """Reconstruct windows of any length as a module does, to rounding. The module must not be causal.

    It holds what follows from the weights that the module has now. Make another one after they change.
    """

    def __init__(self, module: ConvAutoencoder) -> None:
        assert module.receptive_field is None
        encoder, decoder = list(module.encoder), list(module.decoder)
        self._activation = encoder[1]
        self._halving = [_halving(cast(nn.Conv1d, one)) for one in encoder[:-1:2]]
        self._middle = [_each(cast(nn.Conv1d, one)) for one in (encoder[-1], decoder[0])]
        self._doubling = [_doubling(cast(nn.ConvTranspose1d, one)) for one in decoder[2::2]]

    def __call__(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """Return the reconstruction of each window, float32 [B, W, C].

        The batch is computed in equal parts or at once. The bits of a window therefore do not depend on its
        place in the batch.
        """
        num = max(LEAST_WINDOWS, POSITIONS // x_BWC.shape[1])
        if len(x_BWC) <= num or len(x_BWC) % num:
            return self._part(x_BWC)
        return torch.cat([self._part(part_BWC) for part_BWC in torch.split(x_BWC, num)])

    def _part(self, x_BWC: torch.Tensor) -> torch.Tensor:
        missing = -x_BWC.shape[1] % 2 ** len(self._halving)
        h_BTI = x_BWC
        if missing:
            h_BTI = torch.cat([x_BWC[:, :1].expand(-1, missing, -1), x_BWC], dim=1)
        for halve in self._halving:
            h_BTI = self._activation(halve(h_BTI))
        for layer in self._middle:
            h_BTI = layer(h_BTI)
        for double in self._doubling:
            h_BTI = double(self._activation(h_BTI))
        return h_BTI[:, missing:]


class _Layer:
    """Map [B, T, I] to [B, groups * G / O, O], where each group of outputs sees S positions.

    Args:
        weight_SIG: The weights of a group.
        bias_O: The bias of one position.
        padding: Positions of 0 that are added on both sides.
        stride: Positions from one group to the next.
    """

    def __init__(self, weight_SIG: torch.Tensor, bias_O: torch.Tensor, padding: int, stride: int) -> None:
        self._padding, self._stride = padding, stride
        self._seen, self._outputs = len(weight_SIG), len(bias_O)
        self._products = {size: _product(weight_SIG, bias_O, stride, size) for size in {1, BLOCK}}

    def __call__(self, h_BTI: torch.Tensor) -> torch.Tensor:
        num, length, width = h_BTI.shape
        groups = length // self._stride
        size = gcd(groups, BLOCK)
        padded = F.pad(h_BTI, (0, 0, self._padding, self._padding)) if self._padding else h_BTI.contiguous()
        step = size * self._stride * width
        shape = (num, groups // size, ((size - 1) * self._stride + self._seen) * width)
        blocks_NP = padded.as_strided(shape, (padded.stride(0), step, 1)).flatten(0, 1)
        bias, weight = self._products[size]
        return torch.addmm(bias, blocks_NP, weight).view(num, -1, self._outputs)


def _product(
    weight_SIG: torch.Tensor, bias_O: torch.Tensor, stride: int, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return bias and matrix of a block of `size` groups, [size * G] and [P, size * G]."""
    seen, width, outputs = weight_SIG.shape
    matrix = weight_SIG.new_zeros((size - 1) * stride + seen, width, size, outputs)
    for at in range(size):
        matrix[at * stride : at * stride + seen, :, at] = weight_SIG
    return bias_O.repeat(size * outputs // len(bias_O)), matrix.reshape(-1, size * outputs)


def _halving(layer: nn.Conv1d) -> _Layer:
    """Return a convolution of stride 2 with an odd kernel."""
    weight_KIO = layer.weight.detach().permute(2, 1, 0)
    return _Layer(weight_KIO, _bias(layer), len(weight_KIO) // 2, 2)


def _each(layer: nn.Conv1d) -> _Layer:
    """Return a convolution that maps each position alone."""
    return _Layer(layer.weight.detach().permute(2, 1, 0), _bias(layer), 0, 1)


def _doubling(layer: nn.ConvTranspose1d) -> _Layer:
    """Return a transposed convolution with kernel 4, stride 2 and padding 1.

    An even output 2 m gets taps 3 and 1 of the inputs m - 1 and m. An odd output 2 m + 1 gets taps 2 and 0
    of the inputs m and m + 1.
    """
    weight_KIO = layer.weight.detach().permute(2, 0, 1)
    nothing = torch.zeros_like(weight_KIO[0])
    even = torch.stack([weight_KIO[3], weight_KIO[1], nothing])
    odd = torch.stack([nothing, weight_KIO[2], weight_KIO[0]])
    return _Layer(torch.cat([even, odd], dim=2), _bias(layer), 1, 1)


def _bias(layer: nn.Conv1d | nn.ConvTranspose1d) -> torch.Tensor:
    assert layer.bias is not None
    return layer.bias.detach()
