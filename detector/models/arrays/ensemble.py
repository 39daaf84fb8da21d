"""The ensemble of an artifact in NumPy. The same computation in torch is in `detector.models.ensemble`.

Letters: B batch, W window, S span, C channels, K statistics, L numbers of a code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from detector.errors import ConfigError
from detector.models.arrays.families import ArrayAutoencoder, reconstruct
from detector.models.arrays.layers import F32
from detector.models.arrays.whitening import WhiteningArrays, has_long_hole
from detector.models.configs.whitening import FILLING_ROUNDS, FILLING_STEP
from detector.models.execution.choice import NUMPY, REMEDY
from detector.models.execution.network import Outputs
from detector.models.execution.threads import limit_blas


class ArrayMember:
    """Compute expected values, distances and the contribution of each channel for windows.

    It runs where it is: it is a `NetworkMember` and its own `Runner`.
    """

    def __init__(self, autoencoder: ArrayAutoencoder, whitening: WhiteningArrays) -> None:
        self._autoencoder = autoencoder
        self._whitening = whitening

    def on(self, device: str) -> ArrayMember:
        """Return the member itself.

        Raises:
            ConfigError: The device is "cuda".
        """
        if device == "cuda":
            raise ConfigError(f'device "cuda" needs PyTorch, and NumPy computes here; {REMEDY}')
        return self

    def __call__(self, x_BWC: F32, known_BWC: NDArray[np.bool_] | None, span: int) -> Outputs:
        """Return the outputs of a batch of windows, as `detector.models.execution.network.Runner` says."""
        with np.errstate(all="ignore"):  # as torch: huge readings give infinite distances
            if known_BWC is not None:
                x_BWC = np.where(known_BWC, x_BWC, reconstruct(self._autoencoder, x_BWC)[0])
                x_BWC = self._refined(x_BWC, known_BWC)
            y_BWC, residual_BWC = reconstruct(self._autoencoder, x_BWC)
            statistics_BK, contribution_BC = self._whitening(x_BWC, residual_BWC, known_BWC)
        return y_BWC[:, y_BWC.shape[1] - span :], statistics_BK, contribution_BC

    def encode(self, x_BWC: F32) -> F32:
        """Return the flat code of each window, float32 [B, L]."""
        return self._autoencoder.encode(x_BWC)

    def decode(self, z_BL: F32, window: int) -> F32:
        """Return the window of each code, float32 [B, window, C]."""
        return self._autoencoder.decode(z_BL, window)

    def reconstruct(self, x_BWC: F32) -> F32:
        """Return the reconstruction of each window, float32 [B, W, C]."""
        return self._autoencoder(x_BWC)

    def _refined(self, x_BWC: F32, known_BWC: NDArray[np.bool_]) -> F32:
        """Return the windows with better values in long holes; windows without one stay as they are."""
        holed_B11 = has_long_hole(known_BWC)[:, None, None]
        if not holed_B11.any():
            return x_BWC
        filled_BWC = holed_B11 & ~known_BWC
        for _ in range(FILLING_ROUNDS):
            y_BWC = reconstruct(self._autoencoder, x_BWC)[0]
            x_BWC = np.where(filled_BWC, x_BWC + FILLING_STEP * (y_BWC - x_BWC), x_BWC)
        return x_BWC


class ArrayEnsemble:
    """Hold all members of an artifact, in the order of its spec.

    Args:
        members: The members.
        weights: The weights of all members by name, in the order of the modules.
    """

    executor = NUMPY

    def __init__(self, members: Iterable[ArrayMember], weights: Mapping[str, F32]) -> None:
        limit_blas()
        self._members = tuple(members)
        self._weights = dict(weights)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, at: int) -> ArrayMember:
        return self._members[at]

    def weights(self) -> dict[str, F32]:
        """Return the weights of all members by name, in the order of the modules."""
        return self._weights
