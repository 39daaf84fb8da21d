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
from detector.models.conv import ConvAutoencoder
from detector.models.execution.choice import TORCH
from detector.models.execution.conv_products import ConvProducts
from detector.models.execution.devices import pick_device
from detector.models.execution.network import F32, Network, Outputs
from detector.models.whitening import Distances, Whitening, has_long_hole


class EnsembleMember(nn.Module):
    """Hold an autoencoder and the whitening of its residuals."""

    def __init__(self, autoencoder: nn.Module, whitening: Whitening) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.whitening = whitening

    def on(self, device: str) -> TorchRunner:
        """Move the member to "cpu", "cuda" or "auto", and return it ready for inference there."""
        return TorchRunner(self, pick_device(device))


class TorchRunner:
    """Run a member on a device in inference mode, with arrays in and out: a `Runner`.

    It holds what follows from the weights that the member has now. Make another one after they change.
    """

    def __init__(self, member: EnsembleMember, device: torch.device) -> None:
        if device.type == "cuda":  # by default convolutions and LSTM round to 10 bits: scores 5e-4 apart
            torch.backends.cudnn.allow_tf32 = False
        self._member = member.eval().to(device)
        self._device = device
        with torch.inference_mode():
            self._reconstruct = _reconstruction(member.autoencoder, device)
            self._distances = Distances(member.whitening)

    def __call__(self, x_BWC: F32, known_BWC: NDArray[np.bool_] | None, span: int) -> Outputs:
        """Return the outputs of a batch of windows.

        If cells were filled, the autoencoder runs twice. Its first reconstruction replaces the filled cells,
        because a crude filling would disturb the reconstruction of their neighbours. Windows with a long hole
        get several rounds, until the filled cells agree with the known ones (`_refined`).
        """
        known = None if known_BWC is None else torch.from_numpy(known_BWC).to(self._device)
        with torch.inference_mode():
            x = self._on_device(x_BWC)
            if known is not None:
                x = self._refined(torch.where(known, x, self._reconstruct(x)[0]), known)
            y, residual = self._reconstruct(x)
            statistics, contribution = self._distances(x, residual, known)
            return _array(y[:, y.shape[1] - span :]), _array(statistics), _array(contribution)

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
            y_BWC = self._reconstruct(x_BWC)[0]
            x_BWC = torch.where(filled_BWC, x_BWC + FILLING_STEP * (y_BWC - x_BWC), x_BWC)
        return x_BWC

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


def _reconstruction(module: nn.Module, device: torch.device) -> models.Reconstruction:
    """Return the fastest way to the expected values and residuals of a module in inference."""
    if isinstance(module, ConvAutoencoder) and module.receptive_field is None and device.type == "cpu":
        return models.plain_reconstruction(ConvProducts(module))
    return models.reconstruction(module)


def _array(tensor: torch.Tensor) -> F32:
    values: F32 = tensor.cpu().numpy()
    return values
