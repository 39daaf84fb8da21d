"""Run the causal convolutional autoencoder row by row, without windows.

Status: nothing in the detector, trainer or connectors uses this module yet. It is meant to score a causal
`conv` without windows, which costs less. Today the detector scores windows with every family. The module is
tested against the windows (tests/detector/models/test_incremental_conv.py) and measured
(benchmarks/incremental.py).

Each convolution of the encoder keeps only the inputs that it will need again. Layer l keeps the last
(kernel - 1) * 2^l in a ring. A new row therefore costs the same few multiplications for any window. Sources:
the algorithme a trous (Holschneider et al., 1989) and rings (Paine et al., 2016). A series is assumed to have
been constant before its first row, as the module assumes of a window.

Promise: except for rounding, the outputs equal those of the module for the newest rows of a window. The
window ends there and has at least `receptive_field` rows. For the first rows of a series they equal those of
the window of all rows so far.

Promise: the outputs of a row do not depend on how rows are cut into calls, nor on other series. As in
`detector.scoring.inference`, all arithmetic runs in batches of one fixed size.

Letters: N rows, B rows of a padded batch, C channels, K kernel, S span, Z slots, T rows in a ring;
I and O inputs and outputs of a layer. P counts the newest positions kept of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from detector.models.conv import ConvAutoencoder
from detector.rows.series_arrays import lengths_of, starts_of

_SPARE = 0
"""Slot of the rows that only fill a batch; series s has slot s + 1."""


class Incremental:
    """Reconstruct the newest rows of many series, one new row at a time. Not thread-safe.

    Args:
        module: A causal `conv`. Its weights and their device must not change later.
        num_series: Number of series to make room for.
        span: Number of the newest rows to reconstruct at each row, 1 to 2^layers, the rows of a code's step.
        batch_size: Rows that go through the network at once, always the same number.

    Raises:
        ValueError: The module is not a causal `conv`, or it cannot have this span.
    """

    def __init__(self, module: nn.Module, num_series: int = 0, span: int = 1, batch_size: int = 256) -> None:
        if not isinstance(module, ConvAutoencoder) or module.receptive_field is None:
            raise ValueError("only conv with causal = true can score row by row; train one")
        *down, code = module.encoder
        self._layers = [
            _Layer(cast(nn.Conv1d, convolution), activation, 2**depth)
            for depth, (convolution, activation) in enumerate(zip(down[1::3], down[2::3], strict=True))
        ]
        if not 1 <= span <= 2 ** len(self._layers):
            raise ValueError(f"span is {span}; it must be 1 to {2 ** len(self._layers)}, what a code writes")
        self.receptive_field = module.receptive_field
        self._code = cast(nn.Conv1d, code)
        self._decoder = _Decoder(module.decoder, span)
        self._span, self._batch_size = span, batch_size
        self._num_seen = np.zeros(0, np.int64)
        self.reserve(num_series)

    def reserve(self, num_series: int) -> None:
        """Make room for the series 0 to num_series - 1, and keep the state of those that exist."""
        missing = num_series + 1 - len(self._num_seen)
        if missing > 0:
            more = max(missing, len(self._num_seen))
            self._num_seen = np.append(self._num_seen, np.zeros(more, np.int64))
            for layer in self._layers:
                layer.grow(more)

    def reset(self, series: NDArray[np.integer]) -> None:
        """Forget these series, so that the next row of each is its first."""
        self._num_seen[series + 1] = 0

    def extend(self, series: NDArray[np.integer], x_NC: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add new rows, and return the reconstruction of the newest rows of their series at each of them.

        Args:
            series: Number of the series of each row, [N]. Rows of one series stand together, oldest first.
            x_NC: Rows in the units of the model, float32, without NaN.

        Returns:
            The `span` newest rows of the series at each row, oldest first, float32 [N, S, C].

        Raises:
            ValueError: The rows of a series do not stand together.
        """
        starts = starts_of(series)
        if len(np.unique(series[starts])) < len(starts):
            raise ValueError("the rows of a series must stand together; sort by series, then by time")
        self.reserve(int(series.max(initial=-1)) + 1)
        y_NSC = np.empty((len(x_NC), self._span, x_NC.shape[1]), np.float32)
        with torch.inference_mode():
            for at in range(0, len(x_NC), self._batch_size):
                part = slice(at, at + self._batch_size)
                y_NSC[part] = self._extend(series[part], x_NC[part])
        return y_NSC

    def _extend(self, series: NDArray[np.integer], x_NC: NDArray[np.float32]) -> NDArray[np.float32]:
        """Reconstruct at most a batch of rows."""
        device = self._code.weight.device
        batch = self._place(series).to(device)
        x_BC = np.zeros((self._batch_size, x_NC.shape[1]), np.float32)
        x_BC[: len(x_NC)] = x_NC
        h_BI = torch.from_numpy(x_BC).to(device)
        for layer in self._layers:
            h_BI = layer.extend(batch, h_BI)
        z_BL = F.linear(h_BI, self._code.weight[:, :, 0], self._code.bias)
        newest_NSC: NDArray[np.float32] = self._decoder.newest(z_BL)[: len(x_NC)].cpu().numpy()
        return newest_NSC

    def _place(self, series: NDArray[np.integer]) -> _Batch:
        """Return the places of the rows in their series, and count the rows as seen."""
        num = len(series)
        starts = starts_of(series)
        lengths = lengths_of(starts, num)
        slot, since, after = (np.full(self._batch_size, fill) for fill in (_SPARE, 0, np.iinfo(np.int64).max))
        slot[:num] = series + 1
        since[:num] = np.arange(num) - np.repeat(starts, lengths)
        after[:num] = np.repeat(lengths, lengths) - 1 - since[:num]
        seen = self._num_seen[slot] + since
        first = starts[seen[starts] == 0]
        self._num_seen[slot[starts]] += lengths
        return _Batch(*map(torch.from_numpy, (slot, seen, since, after, first)))


@dataclass(frozen=True, slots=True)
class _Batch:
    """Hold the places of a padded batch of rows, int64.

    slot   [B], slot of the series of the row
    seen   [B], number of earlier rows of the series
    since  [B], number of earlier rows of the series within the batch
    after  [B], number of later rows of the series within the batch; the greatest int64 for filling rows
    first  [n], indices of rows that are the first of their series
    """

    slot: torch.Tensor
    seen: torch.Tensor
    since: torch.Tensor
    after: torch.Tensor
    first: torch.Tensor

    def to(self, device: torch.device) -> _Batch:
        columns = (self.slot, self.seen, self.since, self.after, self.first)
        return _Batch(*(column.to(device) for column in columns))


class _Layer:
    """Evaluate a strided convolution at every row, where its taps are `dilation` rows apart."""

    def __init__(self, convolution: nn.Conv1d, activation: nn.Module, dilation: int) -> None:
        weight_OIK = convolution.weight.detach()
        _, num_in, kernel = weight_OIK.shape
        self._weight = weight_OIK.permute(0, 2, 1).flatten(1).contiguous()
        self._bias = convolution.bias
        self._activation = activation
        self._size = (kernel - 1) * dilation
        self._back = torch.arange(self._size, 0, -dilation, device=weight_OIK.device)
        self._ring_ZTI = weight_OIK.new_zeros((0, self._size, num_in))

    def grow(self, num_slots: int) -> None:
        """Make room for so many more slots."""
        more = self._ring_ZTI.new_zeros((num_slots, *self._ring_ZTI.shape[1:]))
        self._ring_ZTI = torch.cat([self._ring_ZTI, more])

    def extend(self, batch: _Batch, h_BI: torch.Tensor) -> torch.Tensor:
        """Return the outputs of the layer at the new rows, [B, O], for its inputs there, [B, I]."""
        ring_ZTI = self._ring_ZTI
        ring_ZTI[batch.slot[batch.first]] = h_BI[batch.first, None]
        taps_BKI = self._taps(batch, h_BI)
        kept = (batch.after < self._size).nonzero()[:, 0]
        ring_ZTI[batch.slot[kept], batch.seen[kept] % self._size] = h_BI[kept]
        outputs: torch.Tensor = self._activation(F.linear(taps_BKI.flatten(1), self._weight, self._bias))
        return outputs

    def _taps(self, batch: _Batch, h_BI: torch.Tensor) -> torch.Tensor:
        """Return the inputs of the kernel at each row, oldest first, [B, K, I].

        Inputs of earlier batches come from the ring, the others from the batch itself.
        """
        place = (batch.seen[:, None] - self._back) % self._size
        place += batch.slot[:, None] * self._size
        found = self._ring_ZTI.flatten(0, 1).index_select(0, place.flatten())
        earlier_BKI = found.view(*place.shape, -1)
        row, tap = (batch.since[:, None] >= self._back).nonzero(as_tuple=True)
        earlier_BKI[row, tap] = h_BI[row - self._back[tap]]
        return torch.cat([earlier_BKI, h_BI[:, None]], dim=1)


class _Decoder:
    """Decode a code to its newest rows only; older rows are left out in every layer."""

    def __init__(self, decoder: nn.Sequential, span: int) -> None:
        first, *up = decoder
        self._first = cast(nn.Conv1d, first)
        self._activations = up[::2]
        doubling = [cast(nn.ConvTranspose1d, layer) for layer in up[1::2]]
        self._weights = [
            layer.weight.detach().permute(2, 1, 0).flatten(0, 1).contiguous() for layer in doubling
        ]
        self._biases = [cast(torch.Tensor, layer.bias).detach().repeat(2) for layer in doubling]
        self._num_kept = [-(-span // 2**coarser) for coarser in reversed(range(len(doubling)))]

    def newest(self, z_BL: torch.Tensor) -> torch.Tensor:
        """Return the newest rows of each code, oldest first, [B, S, C]."""
        h_BPI = F.linear(z_BL, self._first.weight[:, :, 0], self._first.bias)[:, None]
        for activation, weight, bias, num_kept in zip(
            self._activations, self._weights, self._biases, self._num_kept, strict=True
        ):
            pairs_BPO = F.linear(activation(h_BPI), weight, bias)
            h_BPI = pairs_BPO.reshape(len(z_BL), 2 * pairs_BPO.shape[1], -1)[:, -num_kept:]
        return h_BPI
