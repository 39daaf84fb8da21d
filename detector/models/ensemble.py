"""Combine autoencoders and the whitening of their residuals into the network of an artifact.

An artifact has one member or several, of different families and window lengths.

Letters: B batch, W window, S span, C channels, K statistics.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import nn

from detector.models import families as models
from detector.models.whitening import Whitening, has_long_hole

_ROUNDS, _STEP = 8, 1.5


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

    def _refined(self, x_BWC: torch.Tensor, known_BWC: torch.Tensor) -> torch.Tensor:
        """Return the windows with better values in long holes; windows without one stay as they are.

        The reconstruction of the filled cells replaces them, again and again, a little further each time
        (successive over-relaxation). At the end they are what the autoencoder expects beside the known cells.
        """
        holed_B11 = has_long_hole(known_BWC)[:, None, None]
        if not holed_B11.any():
            return x_BWC
        filled_BWC = holed_B11 & ~known_BWC
        for _ in range(_ROUNDS):
            y_BWC = models.reconstruct(self.autoencoder, x_BWC)[0]
            x_BWC = torch.where(filled_BWC, x_BWC + _STEP * (y_BWC - x_BWC), x_BWC)
        return x_BWC


class Ensemble(nn.Module):
    """Hold all members of an artifact, in the order of its spec."""

    def __init__(self, members: Iterable[EnsembleMember]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, at: int) -> EnsembleMember:
        return cast(EnsembleMember, self.members[at])
