"""Whitened distances: how far a window is from normal ones.

A plain squared residual counts every cell alike, though neighbouring rows err together and channels err
by different amounts. Here a window is measured by two Mahalanobis distances, each a mean of squares that is
near 1 on normal windows:

joint   of the residual, with the covariance over all cells, shrunk towards a multiple of the identity
        (Ledoit and Wolf, 2004); of windows of several channels with more than 32 rows or 1,024 cells it is
        the Kronecker product of one over rows and one over channels (matrix normal: Dutilleul, 1999),
        which costs W + C multiplications a cell instead of W C
alone   of each channel's own rows as they came, with that channel's covariance over rows; of these the mean
        of log(1 + distance), so that one heavy-tailed channel cannot dominate the others

With one channel the joint distance says it all, and it is the only one. Cells without a value are left out as
a normal distribution leaves them out: the distance is that of the known cells alone, which is the least that
any values in the others could give. Letters: B batch, W window, C
channels, K statistics (1 or 2), D cells of a window.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from detector.models.blocks import identities

MOST_JOINT_CELLS, MOST_JOINT_ROWS = 1_024, 32
_STEPS = 6
_TINY = 1e-12
Linear = Callable[[torch.Tensor], torch.Tensor]


class Whitening(nn.Module):
    """The matrices A of x -> x A after which what is normal is uncorrelated with variance 1.

    joint [D, D] over the cells of a window, or `rows` [W, W] and `channels` [C, C] where there are too many;
    alone [C, W, W] for each channel (none for a single one); scale [C], the root mean square residual of
    each channel, for its share in a distance. Fresh ones are identities: the plain mean of squares.
    """

    joint: torch.Tensor
    rows: torch.Tensor
    channels: torch.Tensor
    alone: torch.Tensor
    scale: torch.Tensor

    def __init__(self, window: int, num_channels: int) -> None:
        super().__init__()
        num_cells = window * num_channels
        self.is_factored = num_channels > 1 and (num_cells > MOST_JOINT_CELLS or window > MOST_JOINT_ROWS)
        num_alone = num_channels if num_channels > 1 else 0
        joint, rows, channels = (0, window, num_channels) if self.is_factored else (num_cells, 0, 0)
        self.register_buffer("joint", identities(joint, joint))
        self.register_buffer("rows", identities(rows, rows))
        self.register_buffer("channels", identities(channels, channels))
        self.register_buffer("alone", identities(num_alone, window, window))
        self.register_buffer("scale", torch.ones(num_channels))

    def forward(
        self, x_BWC: torch.Tensor, residual_BWC: torch.Tensor, known_BWC: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Statistics [B, K] and each channel's mean squared residual in units of its normal one, [B, C].

        `known_BWC` is False in cells that say nothing (None: all say something); a window counts by the
        share of its cells that are known, a channel without a known cell not at all.
        """
        blamed_BWC = residual_BWC
        if known_BWC is not None:
            blamed_BWC = torch.where(known_BWC, residual_BWC, 0.0)
            residual_BWC = least_distant(blamed_BWC, known_BWC, self._precision, (1, 2))
            x_BWC = self._least_distant_alone(torch.where(known_BWC, x_BWC, 0.0), known_BWC)
        joint_B = self._whitened(residual_BWC).square().mean(dim=1)
        blame_BC = (blamed_BWC / self.scale).square().mean(dim=1)
        if known_BWC is not None:
            share_BC = known_BWC.float().mean(dim=1)
            joint_B = joint_B / share_BC.mean(dim=1)
            blame_BC = blame_BC / share_BC.clamp(min=1e-6)
        if len(self.alone) == 0:
            return joint_B[:, None], blame_BC
        alone_BC = (x_BWC.permute(2, 0, 1) @ self.alone).square().mean(dim=2).T
        if known_BWC is None:
            tamed_B = alone_BC.log1p().mean(dim=1)
        else:
            tamed_BC = (alone_BC / share_BC.clamp(min=1e-6)).log1p()
            present_BC = share_BC > 0
            tamed_B = (tamed_BC * present_BC).sum(dim=1) / present_BC.sum(dim=1).clamp(min=1)
        return torch.stack([joint_B, tamed_B], dim=1), blame_BC

    def _whitened(self, residual_BWC: torch.Tensor) -> torch.Tensor:
        """[B, D]"""
        if not self.is_factored:
            return residual_BWC.flatten(1) @ self.joint
        whitened: torch.Tensor = (residual_BWC.transpose(1, 2) @ self.rows).transpose(1, 2) @ self.channels
        return whitened.flatten(1)

    def _precision(self, residual_BWC: torch.Tensor) -> torch.Tensor:
        """The gradient of half the joint distance, [B, W, C]."""
        if not self.is_factored:
            return (residual_BWC.flatten(1) @ self.joint @ self.joint.T).view_as(residual_BWC)
        by_row_BCW = residual_BWC.transpose(1, 2) @ self.rows @ self.rows.T
        return by_row_BCW.transpose(1, 2) @ self.channels @ self.channels.T

    def _least_distant_alone(self, x_BWC: torch.Tensor, known_BWC: torch.Tensor) -> torch.Tensor:
        """`least_distant` of each channel's own rows."""
        if len(self.alone) == 0:
            return x_BWC
        x_CBW, known_CBW = x_BWC.permute(2, 0, 1), known_BWC.permute(2, 0, 1)
        return least_distant(x_CBW, known_CBW, self._precision_alone, (2,)).permute(1, 2, 0)

    def _precision_alone(self, x_CBW: torch.Tensor) -> torch.Tensor:
        return x_CBW @ self.alone @ self.alone.mT


def least_distant(
    x: torch.Tensor, known: torch.Tensor, precision: Linear, axes: tuple[int, ...]
) -> torch.Tensor:
    """`x` with values in its unknown cells (0 when given) that bring its distance to the least: what a normal
    distribution expects there, so that the distance is that of the known cells.

    x, known float and bool [..., cells]; `precision` applies a positive definite matrix over the `axes`
    of the cells. A few steps of conjugate gradients (Hestenes and Stiefel, 1952), each window by itself;
    stopping early leaves a greater distance, never a smaller one.
    """
    unknown = (~known).to(x.dtype)
    slope = -precision(x) * unknown
    direction, size = slope, (slope * slope).sum(axes, keepdim=True)
    for _ in range(_STEPS):
        bent = precision(direction) * unknown
        step = size / (direction * bent).sum(axes, keepdim=True).clamp_(min=_TINY)
        x = torch.addcmul(x, step, direction)
        slope = torch.addcmul(slope, step, bent, value=-1.0)
        size, before = (slope * slope).sum(axes, keepdim=True), size
        direction = torch.addcmul(slope, size / before.clamp_(min=_TINY), direction)
    return x
