"""Say how windows are whitened and how their holes are filled, in numbers that every executor shares."""

from __future__ import annotations

MOST_JOINT_CELLS, MOST_JOINT_ROWS = 1_024, 32
STEPS, MORE_STEPS = 6, 24
"""Steps of conjugate gradients for the unknown cells of a window, and more of them for long holes."""
LONG_HOLE = 6
"""Rows of a window without a channel from which a few steps or rounds of filling are too crude."""
TINY = 1e-12
FILLING_ROUNDS, FILLING_STEP = 8, 1.5
"""Rounds of the filling of long holes by reconstructions, and how much further than these each goes."""


def is_factored(window: int, num_channels: int) -> bool:
    """Return whether the joint covariance is the product of one over rows and one over channels."""
    num_cells = window * num_channels
    return num_channels > 1 and (num_cells > MOST_JOINT_CELLS or window > MOST_JOINT_ROWS)
