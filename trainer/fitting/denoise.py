"""Corruption of training windows: what a denoising autoencoder sees (Vincent et al., 2008).

It has to give back the clean window, so it cannot copy its input and learns how cells depend on each other.

Letters: B batch, W window, C channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.scoring.preprocessing import fill_missing


def corrupted(
    x_BWC: NDArray[np.float32], noise: float, mask: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Windows as a module sees them: some cells lost, what is missing filled as in scoring, noise on all.

    x_BWC is float32 in scaled units, NaN where missing, and stays as it is. `mask` is the share of the cells
    that are lost, each for itself; `noise` the standard deviation of the normal noise.
    """
    if mask:
        x_BWC = np.where(rng.random(x_BWC.shape, np.float32) < mask, np.float32(np.nan), x_BWC)
    filled = fill_missing(x_BWC)
    if not noise:
        return filled
    return filled + np.float32(noise) * rng.standard_normal(x_BWC.shape, np.float32)
