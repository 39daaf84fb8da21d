"""Windows to residuals, always in padded batches of one fixed size.

The fixed size makes a window's result independent of its neighbours in the batch: natural batch sizes
changed the last bits of CPU results, so a score at the threshold could flip with the cut of the input.

Letters: B batch, W window, C channels, S span (the last rows of a window that are scored).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

LIMIT = 1e4
"""Scaled values are clipped here: a wild value stays wild, but float32 arithmetic stays finite."""


def scale_rows(
    values: NDArray[np.float64], center: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Physical units to the model's: float64 [n, C] -> float32 [n, C]; NaN stays NaN."""
    scaled: NDArray[np.float32] = np.clip((values - center) / scale, -LIMIT, LIMIT).astype(np.float32)
    return scaled


def fill_missing(x_BWC: NDArray[np.float32]) -> NDArray[np.float32]:
    """Windows that a module can read: NaN takes the channel's last value in the window, else 0.

    What was filled is never judged: residuals at those cells are masked by the caller.
    """
    missing = np.isnan(x_BWC)
    if not missing.any():
        return x_BWC
    index = np.where(missing, 0, np.arange(x_BWC.shape[1])[None, :, None])
    last = np.maximum.accumulate(index, axis=1)
    return np.nan_to_num(np.take_along_axis(x_BWC, last, axis=1), nan=0.0)


@dataclass(frozen=True, slots=True)
class Scorer:
    """A module behind its fixed batch size, on one device."""

    module: torch.nn.Module
    batch_size: int
    device: torch.device

    @classmethod
    def on(cls, module: torch.nn.Module, batch_size: int, device: str) -> Scorer:
        """`device` is "cpu", "cuda" or "auto" (CUDA where present)."""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(module.eval().to(device), batch_size, torch.device(device))

    def reconstruct(
        self, flat: NDArray[np.float32], ends: NDArray[np.intp], window: int, span: int
    ) -> NDArray[np.float32]:
        """What the module returns for the last `span` rows of the windows of `flat` that end at `ends`.

        flat float32 [rows, C], NaN where missing; ends intp [N]; returns float32 [N, S, C].
        """
        rows, width = flat.strides
        shape = (len(flat) - window + 1, window, flat.shape[1])
        windows = np.lib.stride_tricks.as_strided(flat, shape, (rows, rows, width), writeable=False)
        result = np.empty((len(ends), span, flat.shape[1]), np.float32)
        x_BWC = np.zeros((self.batch_size, window, flat.shape[1]), np.float32)
        for at in range(0, len(ends), self.batch_size):
            starts = ends[at : at + self.batch_size] - (window - 1)
            x_BWC[: len(starts)] = windows[starts]
            x_BWC[len(starts) :] = 0.0
            result[at : at + len(starts)] = self._forward(fill_missing(x_BWC))[: len(starts), -span:]
        return result

    def _forward(self, x_BWC: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            y_BWC = self.module(torch.from_numpy(x_BWC).to(self.device))
            filled: NDArray[np.float32] = y_BWC.cpu().numpy()
        return filled
