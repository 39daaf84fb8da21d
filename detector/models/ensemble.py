"""Combine autoencoders and the whitening of their residuals into the network of an artifact.

An artifact has one member or several, of different families and window lengths.

Letters: B batch, W window, S span, C channels, K statistics.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from detector.models import families as models
from detector.models.configs.whitening import FILLING_ROUNDS, FILLING_STEP
from detector.models.execution.choice import TORCH
from detector.models.execution.devices import pick_device
from detector.models.execution.network import F32, Network, Outputs
from detector.models.whitening import Whitening, has_long_hole


class EnsembleMember(nn.Module):
    """Compute expected values, distances and the contribution of each channel for windows."""

    def __init__(self, autoencoder: nn.Module, whitening: Whitening) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.whitening = whitening

    def forward(
        self, x_BWC: torch.Tensor, known_BWC: torch.Tensor | None, span: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Run the member on a batch of windows.

        If cells were filled, the autoencoder runs twice. Its first reconstruction replaces the filled cells,
        because a crude filling would disturb the reconstruction of their neighbours. Windows with a long hole
        get several rounds, until the filled cells agree with the known ones (`_refined`).

        Args:
            x_BWC: Windows in the units of the model, float32, without NaN.
            known_BWC: False in cells that were filled, bool; None if no cell was.
            span: Number of the newest rows whose expected values are returned, 1 to W.

        Returns:
            Expected values of the last `span` rows [B, S, C], statistics of each window [B, K], and the
            contribution of each channel to its error [B, C]; all float32.
        """
        if known_BWC is not None:
            x_BWC = torch.where(known_BWC, x_BWC, models.reconstruct(self.autoencoder, x_BWC)[0])
            x_BWC = self._refined(x_BWC, known_BWC)
        y_BWC, residual_BWC = models.reconstruct(self.autoencoder, x_BWC)
        statistics_BK, contribution_BC = self.whitening(x_BWC, residual_BWC, known_BWC)
        return y_BWC[:, y_BWC.shape[1] - span :], statistics_BK, contribution_BC

    def on(self, device: str) -> TorchRunner:
        """Move the member to "cpu", "cuda" or "auto", and return it ready for inference there."""
        return TorchRunner(self, pick_device(device))

    def _refined(self, x_BWC: torch.Tensor, known_BWC: torch.Tensor) -> torch.Tensor:
        """Return the windows with better values in long holes; windows without one stay as they are.

        The reconstruction of the filled cells replaces them, again and again, a little further each time
        (successive over-relaxation). At the end they are what the autoencoder expects beside the known cells.
        """
        holed_B11 = has_long_hole(known_BWC)[:, None, None]
        if not holed_B11.any():
            return x_BWC
        filled_BWC = holed_B11 & ~known_BWC
        for _ in range(FILLING_ROUNDS):
            y_BWC = models.reconstruct(self.autoencoder, x_BWC)[0]
            x_BWC = torch.where(filled_BWC, x_BWC + FILLING_STEP * (y_BWC - x_BWC), x_BWC)
        return x_BWC


class TorchRunner:
    """Run a member on a device in inference mode, with arrays in and out: a `Runner`."""

    def __init__(self, member: EnsembleMember, device: torch.device) -> None:
        if device.type == "cuda":  # by default convolutions and LSTM round to 10 bits: scores 5e-4 apart
            torch.backends.cudnn.allow_tf32 = False
        self._member = member.eval().to(device)
        self._device = device

    def __call__(self, x_BWC: F32, known_BWC: NDArray[np.bool_] | None, span: int) -> Outputs:
        """Return the outputs of a batch of windows."""
        mask = None if known_BWC is None else torch.from_numpy(known_BWC).to(self._device)
        with torch.inference_mode():
            expected, statistics, contribution = self._member(self._on_device(x_BWC), mask, span)
            return expected.cpu().numpy(), statistics.cpu().numpy(), contribution.cpu().numpy()

    def encode(self, x_BWC: F32) -> F32:
        """Return the flat code of each window, float32 [B, L]."""
        with torch.inference_mode():
            return _array(self._autoencoder.encode(self._on_device(x_BWC)))

    def decode(self, z_BL: F32, window: int) -> F32:
        """Return the window of each code, float32 [B, window, C]."""
        with torch.inference_mode():
            return _array(self._autoencoder.decode(self._on_device(z_BL), window))

    def reconstruct(self, x_BWC: F32) -> F32:
        """Return the reconstruction of each window, float32 [B, W, C]."""
        with torch.inference_mode():
            return _array(self._member.autoencoder(self._on_device(x_BWC)))

    @property
    def _autoencoder(self) -> models.Autoencoder:
        return cast(models.Autoencoder, self._member.autoencoder)

    def _on_device(self, values: F32) -> torch.Tensor:
        return torch.from_numpy(values).to(self._device)


class Ensemble(nn.Module):
    """Hold all members of an artifact, in the order of its spec."""

    executor = TORCH

    def __init__(self, members: Iterable[EnsembleMember]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, at: int) -> EnsembleMember:
        return cast(EnsembleMember, self.members[at])

    def weights(self) -> dict[str, F32]:
        """Return the weights of all members by name, in the order of the modules."""
        return {name: _array(tensor) for name, tensor in self.state_dict().items()}


def torch_ensemble(network: Network) -> Ensemble:
    """Return the networks of an artifact as modules of torch, for training.

    Raises:
        TypeError: Another executor holds them.
    """
    if not isinstance(network, Ensemble):
        raise TypeError(f"training needs modules of torch, and {network.executor} holds the networks")
    return network


def _array(tensor: torch.Tensor) -> F32:
    values: F32 = tensor.cpu().numpy()
    return values
