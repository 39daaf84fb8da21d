"""Rows in the model's units, and windows without missing cells.

Letters: B batch, W window, C channels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LIMIT = 1e4
"""Scaled values are clipped here: a wild value stays wild, but float32 arithmetic stays finite."""


def scale_rows(
    values: NDArray[np.float64], center: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Convert physical units to the model's: float64 [n, C] -> float32 [n, C]; NaN stays NaN.

    >>> scale_rows(np.array([[12.0, np.nan]]), center=np.array([10.0, 0.0]), scale=np.array([4.0, 1.0]))
    array([[0.5, nan]], dtype=float32)
    """
    scaled: NDArray[np.float32] = np.clip((values - center) / scale, -LIMIT, LIMIT).astype(np.float32)
    return scaled


def fill_missing(x_BWC: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return windows without NaN, because a network cannot read it.

    A missing cell is interpolated between the channel's neighbours in the window. At an end it takes the only
    neighbour. It is 0 if the channel has no value. The caller masks these cells, so they have no residual.

    Args:
        x_BWC: windows in the model's units, float32 [B, W, C], NaN where missing.
    """
    missing = np.isnan(x_BWC)
    if not missing.any():
        return x_BWC
    filled = x_BWC.copy()
    holed = np.flatnonzero(missing.any(axis=(1, 2)))
    filled[holed] = _interpolated(x_BWC[holed], missing[holed])
    return filled


def _interpolated(x_BWC: NDArray[np.float32], missing: NDArray[np.bool_]) -> NDArray[np.float32]:
    window = x_BWC.shape[1]
    index = np.arange(window)[None, :, None]
    before = np.maximum.accumulate(np.where(missing, -1, index), axis=1)
    after = np.minimum.accumulate(np.where(missing, window, index)[:, ::-1], axis=1)[:, ::-1]
    left = np.where(before < 0, after, before)
    right = np.where(after >= window, before, after)
    has_any = (left >= 0) & (left < window) & (right >= 0)
    low, high = (np.take_along_axis(x_BWC, np.clip(at, 0, window - 1), axis=1) for at in (left, right))
    share = (index - left) / np.maximum(right - left, 1)
    between = low + (high - low) * np.clip(share, 0.0, 1.0).astype(np.float32)
    result: NDArray[np.float32] = np.where(has_any, np.where(missing, between, x_BWC), np.float32(0.0))
    return result
