"""A member of an artifact: an autoencoder and the whitening of its residuals.

Most artifacts have one member; an ensemble has several, of different families and window lengths.
Letters: B batch, W window, S span, C channels, K statistics.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import nn

from detector.models import families as models
from detector.models.whitening import Whitening


class EnsembleMember(nn.Module):
    """Windows in; expected values, distances and what each channel is to blame for out."""

    def __init__(self, autoencoder: nn.Module, whitening: Whitening) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.whitening = whitening

    def forward(
        self, x_BWC: torch.Tensor, known_BWC: torch.Tensor | None, span: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Expected values of the last `span` rows [B, S, C], statistics [B, K], blame a channel [B, C].

        `x_BWC` has no NaN; `known_BWC` is False in cells that were filled (None: none was). These take what
        the model makes of them before it is asked again: a crude filling would disturb their neighbours.
        """
        if known_BWC is not None:
            x_BWC = torch.where(known_BWC, x_BWC, models.reconstruct(self.autoencoder, x_BWC)[0])
        y_BWC, residual_BWC = models.reconstruct(self.autoencoder, x_BWC)
        statistics_BK, blame_BC = self.whitening(x_BWC, residual_BWC, known_BWC)
        return y_BWC[:, y_BWC.shape[1] - span :], statistics_BK, blame_BC


class Ensemble(nn.Module):
    """All members of an artifact, in the order of its spec."""

    def __init__(self, members: Iterable[EnsembleMember]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, at: int) -> EnsembleMember:
        return cast(EnsembleMember, self.members[at])
