"""A sample of rows in bounded memory. Rows of one series and time stay together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CELLS = 1 << 22
_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)
_EVERYTHING = 1 << 64


@dataclass(frozen=True, slots=True)
class Rows:
    """Hold rows as columns.

    Attributes:
        number: int64 [n], the series of each row.
        time: int64 [n], nanoseconds.
        step: float64 [n], nanoseconds since the row before, NaN where unknown.
        values: float64 [n, C].
        codes: int64 [n, K], of the columns of text.
    """

    number: NDArray[np.int64]
    time: NDArray[np.int64]
    step: NDArray[np.float64]
    values: NDArray[np.float64]
    codes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Rows:
        """Return some rows: places, or a mask."""
        return Rows(self.number[rows], self.time[rows], self.step[rows], self.values[rows], self.codes[rows])


class Sample:
    """Keep rows until they fill the memory, then fewer and fewer of them, each with the same probability.

    All rows of one series and time are kept, or none. `share` is the share that is kept.
    """

    def __init__(self, num_cells: int = _CELLS) -> None:
        """Keep at most about `num_cells` values."""
        self._num_cells = num_cells
        self._limit = _EVERYTHING
        self._parts: list[tuple[Rows, NDArray[np.uint64]]] = []
        self._held = 0

    @property
    def share(self) -> float:
        """The share of all rows that is kept; 1 while they fit in memory."""
        return self._limit / _EVERYTHING

    def add(self, rows: Rows) -> None:
        """Add rows."""
        mixed = rows.number.astype(np.uint64) * _MULTIPLIERS[0] + rows.time.view(np.uint64)
        mixed ^= mixed >> np.uint64(29)
        mixed = mixed * _MULTIPLIERS[1]
        self._keep(rows, mixed ^ (mixed >> np.uint64(32)))
        width = rows.values.shape[1] + rows.codes.shape[1] + 3
        while self._held * width > self._num_cells:
            self._limit //= 2
            parts, self._parts, self._held = self._parts, [], 0
            for held, priority in parts:
                self._keep(held, priority)

    def rows(self) -> Rows:
        """Return the kept rows, sorted by series and time; at least one row was added."""
        parts = [part for part, _ in self._parts]
        joined = Rows(
            np.concatenate([part.number for part in parts]),
            np.concatenate([part.time for part in parts]),
            np.concatenate([part.step for part in parts]),
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.codes for part in parts]),
        )
        return joined.take(np.lexsort((joined.time, joined.number)))

    def _keep(self, rows: Rows, priority: NDArray[np.uint64]) -> None:
        if self._limit < _EVERYTHING:
            kept = priority < np.uint64(self._limit)
            rows, priority = rows.take(kept), priority[kept]
        self._parts.append((rows, priority))
        self._held += len(rows)
