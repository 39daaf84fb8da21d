"""Say what every executor of a trained model offers: arrays in, arrays out, whatever computes in between.

There are two: PyTorch (`detector.models.ensemble`) and NumPy (`detector.models.arrays.ensemble`). Scoring,
codes and reconstructions use nothing else of a model's networks, so they need neither by name.

Letters: B batch, W window, S span, C channels, K statistics, L numbers of a code.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Outputs = tuple[F32, F32, F32]
"""Expected values of the last rows [B, S, C], statistics [B, K], contributions of the channels [B, C]."""


class Runner(Protocol):
    """A member of the ensemble, ready to run in one place. Several threads may call it at once.

    Promise: what else is in a batch of the same size does not change the results of a window in any bit.
    """

    def __call__(self, x_BWC: F32, known_BWC: NDArray[np.bool_] | None, span: int) -> Outputs:
        """Return the outputs of a batch of windows.

        Args:
            x_BWC: Windows in the units of the model, float32, without NaN.
            known_BWC: False in cells that were filled, bool; None if no cell was.
            span: Number of the newest rows whose expected values are returned, 0 to W.
        """

    def encode(self, x_BWC: F32) -> F32:
        """Return the flat code of each window, float32 [B, L]."""

    def decode(self, z_BL: F32, window: int) -> F32:
        """Return the window of each code, float32 [B, window, C]."""

    def reconstruct(self, x_BWC: F32) -> F32:
        """Return the reconstruction of each window, float32 [B, W, C]."""


class NetworkMember(Protocol):
    """A member of the ensemble with its weights."""

    def on(self, device: str) -> Runner:
        """Return the member ready to run on "cpu", "cuda" or "auto" (CUDA if there is one).

        Raises:
            ConfigError: The executor has no such device.
        """


class Network(Protocol):
    """All members of an artifact, in the order of its spec."""

    @property
    def executor(self) -> str:
        """Return what computes: "torch" or "numpy"."""

    def __len__(self) -> int: ...

    def __getitem__(self, at: int) -> NetworkMember: ...

    def weights(self) -> dict[str, F32]:
        """Return the weights of all members by name. Every executor has the same names in the same order."""
