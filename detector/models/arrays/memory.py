"""The memory in NumPy; its module in torch is in `detector.models.memory`.

Letters: B batch, W window, C channels, L numbers of a code (1 + C), K cores, D cells of a window.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from detector.models.arrays.layers import F32, Shapes
from detector.models.configs.memory import Config


class MemoryArrays:
    """Map windows to the nearest core, by squared distance over all cells, at the window's own level."""

    def __init__(self, config: Config, window: int, num_channels: int, weights: Mapping[str, F32]) -> None:
        self._cores_KD = weights["cores"]
        self._half_square_K = np.square(self._cores_KD).sum(axis=1) / 2.0

    @staticmethod
    def shapes(config: Config, window: int, num_channels: int) -> Shapes:
        """Return the shapes of the weights by name, in the order of the module."""
        return {"cores": (config.nodes, window * num_channels)}

    def encode(self, x_BWC: F32) -> F32:
        """Return the number of the nearest core and the level of each channel, float32 [B, L]."""
        level_BC = x_BWC.mean(axis=1)
        x_BD = (x_BWC - level_BC[:, None]).reshape(len(x_BWC), -1)
        number_B = (self._half_square_K - x_BD @ self._cores_KD.T).argmin(axis=1)
        return np.concatenate([number_B[:, None].astype(np.float32), level_BC], axis=1)

    def decode(self, z_BL: F32, window: int) -> F32:
        """Return the core of each code at its level, float32 [B, W, C].

        The number is rounded; one that no core has means the first or the last.
        """
        number_B = np.clip(np.rint(z_BL[:, 0]), 0, len(self._cores_KD) - 1).astype(np.intp)
        return self._cores_KD[number_B].reshape(len(z_BL), window, -1) + z_BL[:, None, 1:]

    def __call__(self, x_BWC: F32) -> F32:
        """Return the nearest core of each window at the window's level, float32 [B, W, C]."""
        return self.decode(self.encode(x_BWC), x_BWC.shape[1])
