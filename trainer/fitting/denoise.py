"""Corruption of training windows for a denoising autoencoder (Vincent et al., 2008).

The autoencoder has to restore the clean window. It cannot copy its input and learns how cells depend on each
other.

Letters: B batch, W window, C channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.scoring.preprocessing import fill_missing


def corrupted(
    x_BWC: NDArray[np.float32], noise: float, mask: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return corrupted windows, float32 [B, W, C]: cells hidden, missing cells filled, noise on every cell.

    Args:
        x_BWC: float32 in scaled units, NaN where missing; not changed.
        noise: Standard deviation of the normal noise.
        mask: Share of the cells to hide, each drawn independently; hidden cells are filled as in scoring.
        rng: Source of the random numbers.
    """
    if mask:
        x_BWC = np.where(rng.random(x_BWC.shape, np.float32) < mask, np.float32(np.nan), x_BWC)
    filled = fill_missing(x_BWC)
    if not noise:
        return filled
    return filled + np.float32(noise) * rng.standard_normal(x_BWC.shape, np.float32)
