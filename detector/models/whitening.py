"""Measure how far a window is from normal windows, by whitened distances.

A plain squared residual gives every cell the same weight. But residuals of neighbouring rows are
correlated, and those of different channels differ in size. Two Mahalanobis distances take this into
account. Each is a mean of squares that is near 1 on normal windows:

joint   of the residual, with the covariance over all cells, shrunk towards a multiple of the identity
        (Ledoit and Wolf, 2004). It is factored for windows of several channels with more than 32 rows or
        1,024 cells: it is then the Kronecker product of one covariance over rows and one over channels
        (matrix normal: Dutilleul, 1999). This costs W + C multiplications a cell instead of W C.
alone   of the measured rows of each channel, with the covariance of that channel over rows. The statistic is
        the mean of log(1 + distance) over channels, so that one heavy-tailed channel cannot dominate.
        A channel whose matrix is 0 stood still in the history, and does not count.

A model with one channel has only the joint distance. Cells without a value are left out: the distance is
that of the known cells under the marginal normal distribution. It is also the least distance that any
values in the unknown cells could give.

Letters: B batch, W window, C channels, K statistics (1 or 2), D cells of a window.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from detector.models.blocks import identities
from detector.models.configs.whitening import LONG_HOLE, MORE_STEPS, STEPS, TINY, is_factored

Linear = Callable[[torch.Tensor], torch.Tensor]


class Whitening(nn.Module):
    """Hold matrices A that whiten: x A is uncorrelated with variance 1 on normal windows.

    A new module holds identity matrices, with which the joint distance is the plain mean of squares.

    joint     [D, D], over the cells of a window; [0, 0] if the window has too many cells
    rows      [W, W], over rows, instead of `joint`; else [0, 0]
    channels  [C, C], over channels, instead of `joint`; else [0, 0]
    alone     [C, W, W], over the rows of each channel; [0, W, W] for a single channel
    scale     [C], the root mean square residual of each channel on normal windows

    Args:
        window: Rows of a window.
        num_channels: Channels of the model.
    """

    joint: torch.Tensor
    rows: torch.Tensor
    channels: torch.Tensor
    alone: torch.Tensor
    scale: torch.Tensor

    def __init__(self, window: int, num_channels: int) -> None:
        super().__init__()
        num_cells = window * num_channels
        self.is_factored = is_factored(window, num_channels)
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
        """Return the statistics of each window and the contribution of each channel to its error.

        Sums over the known cells are divided by their number, so that windows with unknown cells stay
        comparable. A channel without any known cell contributes nothing.

        Args:
            x_BWC: Windows in the units of the model, float32.
            residual_BWC: Their residuals, float32.
            known_BWC: False in cells without a value, bool; None if all cells have one.

        Returns:
            Statistics, float32 [B, K], and the mean squared residual of each channel in units of its normal
            mean squared residual, float32 [B, C].
        """
        masked_BWC = residual_BWC
        if known_BWC is not None:
            masked_BWC = torch.where(known_BWC, residual_BWC, 0.0)
            holed_B = has_long_hole(known_BWC)
            residual_BWC = least_distant(masked_BWC, known_BWC, self._precision(), (1, 2), holed_B)
            x_BWC = self._least_distant_alone(torch.where(known_BWC, x_BWC, 0.0), known_BWC, holed_B)
        joint_B = self._whitened(residual_BWC).square().mean(dim=1)
        contribution_BC = (masked_BWC / self.scale).square().mean(dim=1)
        if known_BWC is not None:
            share_BC = known_BWC.float().mean(dim=1)
            living_BC = share_BC if len(self.alone) == 0 else share_BC[:, self._living()]
            joint_B = joint_B / living_BC.mean(dim=1).clamp(min=1e-6)
            contribution_BC = contribution_BC / share_BC.clamp(min=1e-6)
        if len(self.alone) == 0:
            return joint_B[:, None], contribution_BC
        alone_BC = (x_BWC.permute(2, 0, 1) @ self.alone).square().mean(dim=2).T
        living_C = self._living()
        if known_BWC is None:
            log_alone_B = alone_BC.log1p().sum(dim=1) / living_C.sum()
        else:
            log_alone_BC = (alone_BC / share_BC.clamp(min=1e-6)).log1p()
            present_BC = (share_BC > 0) & living_C
            log_alone_B = (log_alone_BC * present_BC).sum(dim=1) / present_BC.sum(dim=1).clamp(min=1)
        return torch.stack([joint_B, log_alone_B], dim=1), contribution_BC

    def _living(self) -> torch.Tensor:
        """Return which of several channels moved in the history, bool [C]."""
        return self.alone[:, -1, -1] != 0

    def _whitened(self, residual_BWC: torch.Tensor) -> torch.Tensor:
        """Return the residuals after the joint whitening, [B, D]."""
        if not self.is_factored:
            return residual_BWC.flatten(1) @ self.joint
        whitened: torch.Tensor = (residual_BWC.transpose(1, 2) @ self.rows).transpose(1, 2) @ self.channels
        return whitened.flatten(1)

    def _precision(self) -> Linear:
        """Return what maps residuals [B, W, C] to the gradient of half their joint distance.

        The matrices are multiplied once, which halves the work of the many steps that use them.
        """
        if not self.is_factored:
            joint = self.joint @ self.joint.T
            return lambda residual_BWC: (residual_BWC.flatten(1) @ joint).view_as(residual_BWC)
        rows, channels = self.rows @ self.rows.T, self.channels @ self.channels.T
        return lambda residual_BWC: (residual_BWC.transpose(1, 2) @ rows).transpose(1, 2) @ channels

    def _least_distant_alone(
        self, x_BWC: torch.Tensor, known_BWC: torch.Tensor, holed_B: torch.Tensor
    ) -> torch.Tensor:
        """Fill the unknown rows of each channel by `least_distant`, [B, W, C]."""
        if len(self.alone) == 0:
            return x_BWC
        x_CBW, known_CBW = x_BWC.permute(2, 0, 1), known_BWC.permute(2, 0, 1)
        holed_CB = holed_B.expand(len(x_CBW), -1)
        alone = self.alone @ self.alone.mT
        return least_distant(x_CBW, known_CBW, lambda one_CBW: one_CBW @ alone, (2,), holed_CB).permute(
            1, 2, 0
        )


def has_long_hole(known_BWC: torch.Tensor) -> torch.Tensor:
    """Return which windows lack a channel for many of their rows, while others have values, bool [B]."""
    gone_BC = (~known_BWC).sum(dim=1)
    return (gone_BC >= LONG_HOLE).any(dim=1) & (gone_BC < known_BWC.shape[1]).any(dim=1)


def least_distant(
    x: torch.Tensor,
    known: torch.Tensor,
    precision: Linear,
    axes: tuple[int, ...],
    holed: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return `x` with the values in its unknown cells that make its distance least.

    These are the values that a normal distribution expects there, so that the distance is that of the known
    cells. They are found by a few steps of conjugate gradients (Hestenes and Stiefel, 1952), separately for
    each window. As only a few steps are made, the distance may be greater than the least, but never smaller.

    Args:
        x: Windows with 0 in their unknown cells, float [..., cells].
        known: False in the unknown cells, bool of the same shape.
        precision: Multiplies windows by a positive definite matrix over their cells.
        axes: The axes of the cells.
        holed: Windows that get more steps, because they lack many cells, bool of the other axes; None: none.
    """
    unknown = (~known).to(x.dtype)
    slope = -precision(x) * unknown
    direction, size = slope, (slope * slope).sum(axes, keepdim=True)
    if not bool(size.any()):
        return x  # nothing is unknown, or only what no known cell says anything of
    more = MORE_STEPS if holed is not None and bool(holed.any()) else 0
    for number in range(STEPS + more):
        if number == STEPS and holed is not None:
            goes_on = holed[(..., *(None for _ in axes))].to(x.dtype)
            slope, direction, size = slope * goes_on, direction * goes_on, size * goes_on
        bent = precision(direction) * unknown
        step = size / (direction * bent).sum(axes, keepdim=True).clamp_(min=TINY)
        x = torch.addcmul(x, step, direction)
        slope = torch.addcmul(slope, step, bent, value=-1.0)
        size, before = (slope * slope).sum(axes, keepdim=True), size
        direction = torch.addcmul(slope, size / before.clamp_(min=TINY), direction)
    return x
