"""Keep the newest rows of a series while all are read."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray


class NewestRows:
    """Keep the newest so many rows of a series.

    Args:
        most: So many.
    """

    def __init__(self, most: int) -> None:
        self._most, self._num = most, 0
        self._parts: deque[NDArray[np.float64]] = deque()

    def add(self, part: NDArray[np.float64]) -> None:
        """Add the next rows, [n, C], and forget parts that are no longer among the newest."""
        self._parts.append(part)
        self._num += len(part)
        while self._num - len(self._parts[0]) >= self._most:
            self._num -= len(self._parts.popleft())

    def rows(self) -> NDArray[np.float64]:
        """Return the newest rows, float64 [n, C]."""
        return np.concatenate(self._parts)[-self._most :]
