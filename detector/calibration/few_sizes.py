"""How small the next of a few sizes may be, where they are taken for log-normal.

So few of them predict the next one by Student's t (Whitmore, Prediction limits for a univariate normal
observation, 1986).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_STEPS = 60


def lowest_expected(sizes: NDArray[np.float64], chance: float) -> float:
    """Return the size that the next one is below with this chance.

    Args:
        sizes: At least two, above 0, float64 [n].
        chance: Between 0 and .5.
    """
    logs = np.log(sizes)
    num = len(logs)
    away = t_quantile(chance, num - 1) * math.sqrt(1.0 + 1.0 / num)
    return math.exp(float(logs.mean()) + away * float(logs.std(ddof=1)))


def t_quantile(chance: float, freedom: int) -> float:
    """Return a lower quantile of Student's t, by bisection of its distribution.

    >>> round(t_quantile(0.025, 3), 3)
    -3.182
    """
    low, high = 0.0, math.pi / 2.0
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _beyond(middle, freedom) > chance else (low, middle)
    return -math.tan(low) * math.sqrt(freedom)


def _beyond(angle: float, freedom: int) -> float:
    """Return the chance of a t beyond tan(angle) * sqrt(freedom) (Abramowitz, Stegun, 26.7.3 and 26.7.4)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = freedom % 2
    term = cosine if is_odd else 1.0
    total = 0.0
    for at in range(freedom // 2):
        total += term
        step = 2 * at + (2 if is_odd else 1)
        term *= step / (step + 1) * cosine**2
    inside = 2.0 / math.pi * (angle + sine * total) if is_odd else sine * total
    return (1.0 - inside) / 2.0
