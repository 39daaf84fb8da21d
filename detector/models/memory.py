"""The memory: a window becomes the nearest of a few hundred normal windows, its core.

The cores are means of groups of similar windows of the history (k-means: Lloyd, 1982), which
`trainer.fitting.cores` finds. Other families combine what they learnt, so they also write windows between
two patterns. This one cannot: an odd beat between known beats stays far from every core. Detectors of this
kind (KMeansAD: Yairi et al., 2001) need no training by gradients.

The mean of each channel is taken off first, so that a core stands for a course at any level.

Letters: B batch, W window, C channels, L numbers of a code (1 + C), K cores, D cells of a window.
"""

from __future__ import annotations

import torch
from torch import nn

from detector.models.configs.memory import Config


class MemoryAutoencoder(nn.Module):
    """Map windows to the nearest core, by squared distance over all cells, at the window's own level."""

    def __init__(self, config: Config, window: int, num_channels: int) -> None:
        super().__init__()
        self.cores = nn.Parameter(torch.randn(config.nodes, window * num_channels))

    def encode(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """Return the number of the nearest core and the level of each channel, float32 [B, L]."""
        level_B1C = x_BWC.mean(1, keepdim=True)
        number_B1 = nearest(self.cores, (x_BWC - level_B1C).flatten(1))[:, None]
        return torch.cat([number_B1.to(x_BWC.dtype), level_B1C[:, 0]], dim=1)

    def decode(self, z_BL: torch.Tensor, window: int) -> torch.Tensor:
        """Return the core of each code at its level, float32 [B, W, C].

        The number is rounded; one that no core has means the first or the last.
        """
        number_B = z_BL[:, 0].round().clamp(0, len(self.cores) - 1).long()
        y_BWC: torch.Tensor = self.cores[number_B].reshape(len(z_BL), window, -1) + z_BL[:, None, 1:]
        return y_BWC

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """Return the nearest core of each window at the window's level, float32 [B, W, C]."""
        return self.decode(self.encode(x_BWC), x_BWC.shape[1])


def nearest(cores_KD: torch.Tensor, x_BD: torch.Tensor) -> torch.Tensor:
    """Return the number of the nearest core of each window, int64 [B]; the first of equally near ones."""
    return (cores_KD.square().sum(1) / 2.0 - x_BD @ cores_KD.T).argmin(1)
