"""The whitened distances of windows in NumPy.

What they are and why stands in `detector.models.whitening`, which computes the same in torch.

Letters: B batch, W window, C channels, K statistics (1 or 2), D cells of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from detector.models.arrays.layers import F32, Shapes
from detector.models.configs.whitening import LONG_HOLE, MORE_STEPS, STEPS, TINY, is_factored

Mask = NDArray[np.bool_]
_Linear = Callable[[F32], F32]


class WhiteningArrays:
    """Hold matrices A that whiten: x A is uncorrelated with variance 1 on normal windows."""

    def __init__(self, window: int, num_channels: int, weights: Mapping[str, F32]) -> None:
        self._is_factored = is_factored(window, num_channels)
        self._joint, self._rows, self._channels = (weights[name] for name in ("joint", "rows", "channels"))
        self._alone, self._scale = weights["alone"], weights["scale"]
        self._living = self._alone[:, -1, -1] != 0

    @staticmethod
    def shapes(window: int, num_channels: int) -> Shapes:
        """Return the shapes of the matrices by name, in the order of the module."""
        factored, num_cells = is_factored(window, num_channels), window * num_channels
        joint, rows, channels = (0, window, num_channels) if factored else (num_cells, 0, 0)
        return {
            "joint": (joint, joint),
            "rows": (rows, rows),
            "channels": (channels, channels),
            "alone": (num_channels if num_channels > 1 else 0, window, window),
            "scale": (num_channels,),
        }

    def __call__(self, x_BWC: F32, residual_BWC: F32, known_BWC: Mask | None) -> tuple[F32, F32]:
        """Return the statistics of each window and the contribution of each channel to its error.

        Args:
            x_BWC: Windows in the units of the model, float32.
            residual_BWC: Their residuals, float32.
            known_BWC: False in cells without a value, bool; None if all cells have one.

        Returns:
            Statistics, float32 [B, K], and contributions, float32 [B, C].
        """
        masked_BWC = residual_BWC
        if known_BWC is not None:
            masked_BWC = np.where(known_BWC, residual_BWC, np.float32(0.0))
            holed_B = has_long_hole(known_BWC)
            residual_BWC = _least_distant(masked_BWC, known_BWC, self._precision, (1, 2), holed_B)
            x_BWC = self._least_distant_alone(np.where(known_BWC, x_BWC, np.float32(0.0)), known_BWC, holed_B)
        joint_B = np.square(self._whitened(residual_BWC)).mean(axis=1)
        contribution_BC = np.square(masked_BWC / self._scale).mean(axis=1)
        share_BC = None if known_BWC is None else known_BWC.mean(axis=1, dtype=np.float32)
        if share_BC is not None:
            living_BC = share_BC if len(self._alone) == 0 else share_BC[:, self._living]
            joint_B = joint_B / np.maximum(living_BC.mean(axis=1), np.float32(1e-6))
            contribution_BC = contribution_BC / np.maximum(share_BC, 1e-6)
        if len(self._alone) == 0:
            return joint_B[:, None], contribution_BC
        statistics_BK: F32 = np.stack([joint_B, self._log_alone(x_BWC, share_BC)], axis=1)
        return statistics_BK, contribution_BC

    def _log_alone(self, x_BWC: F32, share_BC: F32 | None) -> F32:
        """Return the mean of log(1 + distance) over the channels that have a value, float32 [B]."""
        x_CBW = np.ascontiguousarray(x_BWC.transpose(2, 0, 1))
        alone_BC = np.square(x_CBW @ self._alone).mean(axis=2).T
        if share_BC is None:
            mean_B: F32 = np.log1p(alone_BC).sum(axis=1) / np.float32(self._living.sum())
            return mean_B
        present_BC = (share_BC > 0) & self._living
        log_alone_BC = np.log1p(alone_BC / np.maximum(share_BC, 1e-6)) * present_BC
        num_B = np.maximum(present_BC.sum(axis=1), 1).astype(np.float32)
        found: F32 = log_alone_BC.sum(axis=1) / num_B
        return found

    def _whitened(self, residual_BWC: F32) -> F32:
        """Return the residuals after the joint whitening, [B, D]."""
        if not self._is_factored:
            return residual_BWC.reshape(len(residual_BWC), -1) @ self._joint
        return _factored(residual_BWC, self._rows, self._channels).reshape(len(residual_BWC), -1)

    @cached_property
    def _precision(self) -> _Linear:
        """Return what maps residuals [B, W, C] to the gradient of half their joint distance."""
        if not self._is_factored:
            joint = self._joint @ self._joint.T
            return lambda one_BWC: (one_BWC.reshape(len(one_BWC), -1) @ joint).reshape(one_BWC.shape)
        rows, channels = self._rows @ self._rows.T, self._channels @ self._channels.T
        return lambda one_BWC: _factored(one_BWC, rows, channels)

    @cached_property
    def _precision_alone(self) -> _Linear:
        """Return the same for the rows of each channel, [C, B, W]."""
        alone = self._alone @ np.ascontiguousarray(self._alone.transpose(0, 2, 1))
        return lambda one_CBW: np.ascontiguousarray(one_CBW) @ alone

    def _least_distant_alone(self, x_BWC: F32, known_BWC: Mask, holed_B: Mask) -> F32:
        """Fill the unknown rows of each channel by `_least_distant`, [B, W, C]."""
        if len(self._alone) == 0:
            return x_BWC
        x_CBW = np.ascontiguousarray(x_BWC.transpose(2, 0, 1))
        known_CBW = np.ascontiguousarray(known_BWC.transpose(2, 0, 1))
        holed_CB = np.broadcast_to(holed_B, (len(x_CBW), len(holed_B)))
        found = _least_distant(x_CBW, known_CBW, self._precision_alone, (2,), holed_CB)
        return found.transpose(1, 2, 0)


def has_long_hole(known_BWC: Mask) -> Mask:
    """Return which windows lack a channel for many of their rows, while others have values, bool [B]."""
    gone_BC = (~known_BWC).sum(axis=1)
    holed_B: Mask = (gone_BC >= LONG_HOLE).any(axis=1) & (gone_BC < known_BWC.shape[1]).any(axis=1)
    return holed_B


def _factored(one_BWC: F32, rows_WW: F32, channels_CC: F32) -> F32:
    """Return one^T rows, transposed again, times channels, for each window, float32 [B, W, C]."""
    num, window, num_channels = one_BWC.shape
    turned: F32 = one_BWC.transpose(0, 2, 1).reshape(num * num_channels, window) @ rows_WW
    back = turned.reshape(num, num_channels, window).transpose(0, 2, 1).reshape(num * window, num_channels)
    found: F32 = back @ channels_CC
    return found.reshape(one_BWC.shape)


def _least_distant(x: F32, known: Mask, precision: _Linear, axes: tuple[int, ...], holed: Mask) -> F32:
    """Return `x` with the values in its unknown cells that make its distance least.

    The same steps of conjugate gradients as in `detector.models.whitening.least_distant`.
    """
    unknown = (~known).astype(np.float32)
    slope = -precision(x) * unknown
    direction, size = slope, (slope * slope).sum(axis=axes, keepdims=True)
    if not size.any():
        return x  # nothing is unknown, or only what no known cell says anything of
    more = MORE_STEPS if holed.any() else 0
    for number in range(STEPS + more):
        if number == STEPS:
            goes_on = holed[(..., *(None for _ in axes))].astype(np.float32)
            slope, direction, size = slope * goes_on, direction * goes_on, size * goes_on
        bent = precision(direction) * unknown
        step = size / np.maximum((direction * bent).sum(axis=axes, keepdims=True), TINY)
        x = x + step * direction
        slope = slope - step * bent
        size, before = (slope * slope).sum(axis=axes, keepdims=True), size
        direction = slope + size / np.maximum(before, TINY) * direction
    return x
