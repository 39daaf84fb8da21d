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
LEAST_CELLS_IN_BLOCKS = 256
"""A joint matrix of fewer cells gains nothing by two products."""


class Whitening(nn.Module):
    """Hold matrices A that whiten: x A is uncorrelated with variance 1 on normal windows.

    `Distances` measures windows with them. A new module holds identity matrices, with which the joint
    distance is the plain mean of squares.

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


class Distances:
    """Measure windows by the matrices that a `Whitening` has now, on its device.

    It holds what follows from these matrices. Make another one after they change or move.
    """

    def __init__(self, whitening: Whitening) -> None:
        self._is_factored = whitening.is_factored
        self._joint, self._rows, self._channels = whitening.joint, whitening.rows, whitening.channels
        self._alone = whitening.alone
        self._blocks = _blocks_of(whitening.joint)
        # Squares are divided after they were added up: there are fewer of them then.
        self._weight_C = whitening.scale.square().mul(whitening.alone.shape[1]).reciprocal()
        self._living_C = whitening.alone[:, -1, -1] != 0

    def __call__(
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
        masked_BWC, share_BC = residual_BWC, None
        if known_BWC is not None:
            share_BC = known_BWC.float().mean(dim=1)
            masked_BWC = torch.where(known_BWC, residual_BWC, 0.0)
            holed_B = has_long_hole(known_BWC)
            residual_BWC = least_distant(masked_BWC, known_BWC, self._precision(), (1, 2), holed_B)
            x_BWC = self._least_distant_alone(torch.where(known_BWC, x_BWC, 0.0), known_BWC, holed_B)
        joint_B = _mean_square(self._whitened(residual_BWC))
        contribution_BC = masked_BWC.square().sum(dim=1).mul_(self._weight_C)
        if share_BC is not None:
            living_BC = share_BC if len(self._alone) == 0 else share_BC[:, self._living_C]
            joint_B = joint_B / living_BC.mean(dim=1).clamp(min=1e-6)
            contribution_BC = contribution_BC / share_BC.clamp(min=1e-6)
        if len(self._alone) == 0:
            return joint_B[:, None], contribution_BC
        return torch.stack([joint_B, self._log_alone(x_BWC, share_BC)], dim=1), contribution_BC

    def _log_alone(self, x_BWC: torch.Tensor, share_BC: torch.Tensor | None) -> torch.Tensor:
        """Return the mean of log(1 + distance) over the channels that have a value, [B]."""
        alone_CB = _mean_square(torch.bmm(x_BWC.permute(2, 0, 1).contiguous(), self._alone))
        if share_BC is None:
            # Divided as below: beside a window with a hole a whole one has to keep its bits.
            mean_B: torch.Tensor = alone_CB.log1p_().sum(dim=0) / self._living_C.sum()
            return mean_B
        log_alone_BC = (alone_CB.T / share_BC.clamp(min=1e-6)).log1p()
        present_BC = (share_BC > 0) & self._living_C
        return (log_alone_BC * present_BC).sum(dim=1) / present_BC.sum(dim=1).clamp(min=1)

    def _whitened(self, residual_BWC: torch.Tensor) -> torch.Tensor:
        """Return the residuals after the joint whitening, [B, D]."""
        if self._is_factored:
            turned = residual_BWC.transpose(1, 2) @ self._rows
            return (turned.transpose(1, 2) @ self._channels).flatten(1)
        residual_BD = residual_BWC.flatten(1)
        if len(self._blocks) == 1:
            return residual_BD @ self._joint
        whitened_BD = torch.empty_like(residual_BD)
        start = 0
        for block in self._blocks:
            stop = len(block)
            torch.mm(residual_BD[:, :stop], block, out=whitened_BD[:, start:stop])
            start = stop
        return whitened_BD

    def _precision(self) -> Linear:
        """Return what maps residuals [B, W, C] to the gradient of half their joint distance.

        The matrices are multiplied once, which halves the work of the many steps that use them.
        """
        if not self._is_factored:
            joint = self._joint @ self._joint.T
            return lambda residual_BWC: (residual_BWC.flatten(1) @ joint).view_as(residual_BWC)
        rows, channels = self._rows @ self._rows.T, self._channels @ self._channels.T
        return lambda residual_BWC: (residual_BWC.transpose(1, 2) @ rows).transpose(1, 2) @ channels

    def _least_distant_alone(
        self, x_BWC: torch.Tensor, known_BWC: torch.Tensor, holed_B: torch.Tensor
    ) -> torch.Tensor:
        """Fill the unknown rows of each channel by `least_distant`, [B, W, C]."""
        if len(self._alone) == 0:
            return x_BWC
        x_CBW, known_CBW = x_BWC.permute(2, 0, 1), known_BWC.permute(2, 0, 1)
        holed_CB = holed_B.expand(len(x_CBW), -1)
        alone = self._alone @ self._alone.mT
        return least_distant(x_CBW, known_CBW, lambda one_CBW: one_CBW @ alone, (2,), holed_CB).permute(
            1, 2, 0
        )


def _mean_square(values: torch.Tensor) -> torch.Tensor:
    """Return the mean of squares over the last axis. The norm is the fastest sum of squares in torch."""
    norm: torch.Tensor = torch.linalg.vector_norm(values, dim=-1)
    return norm.square_().mul_(1.0 / values.shape[-1])


def _blocks_of(matrix: torch.Tensor) -> list[torch.Tensor]:
    """Return the columns of a matrix in two blocks, without the rows that are 0 in the first; or in one.

    An upper triangular matrix has such rows, and the trainer makes the matrices so.
    """
    half = len(matrix) // 2
    if len(matrix) < LEAST_CELLS_IN_BLOCKS or bool(matrix[half:, :half].any()):
        return [matrix]
    return [matrix[:half, :half].contiguous(), matrix[:, half:].contiguous()]


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
