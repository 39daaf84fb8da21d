"""The means of blocks of time of every series, from rows in the units of the model.

All sums are whole numbers, so they do not depend on how the rows are cut into calls.

Letters: n rows, C channels, g groups of rows (of one series and block), S series.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray, SeriesIndex, starts_of

_FIXED = float(1 << 20)
_LIMIT, _IMPOSSIBLE = 16.0, 64.0
"""Values are clipped at the first, and those beyond the second, as sentinels are, are no values."""
_NO_BLOCK = -(1 << 62)


class Block(NamedTuple):
    """Hold a block of a series: the mean of each channel, float64 [C], and how many values it is of."""

    mean: NDArray[np.float64]
    num: NDArray[np.int64]


class Blocks:
    """Add up the rows of each series by blocks of epoch time. Not thread-safe.

    Args:
        block_ns: Length of a block in nanoseconds.
        num_channels: C.
    """

    def __init__(self, block_ns: int, num_channels: int) -> None:
        self._block_ns = block_ns
        self._index = SeriesIndex()
        self._block = SeriesArray((), np.int64, _NO_BLOCK)
        self._total, self._count = (SeriesArray((num_channels,), np.int64, 0) for _ in range(2))
        self.ended: dict[str, dict[int, Block]] = {}
        self._grown: set[str] = set()

    def add(
        self,
        names: Sequence[str],
        series: NDArray[np.int32],
        timestamp_ns: NDArray[np.int64],
        scaled: NDArray[np.float64],
    ) -> None:
        """Add the next rows; blocks that ended go to `ended`, by series and number.

        Args:
            names: The distinct series of these rows.
            series: int32 [n], index into `names`; rows are sorted by series and time.
            timestamp_ns: int64 [n], start of each row.
            scaled: float64 [n, C], in the units of the model, NaN where unknown.
        """
        if len(series) == 0:
            return
        slot, block = self._index.of(names)[series], timestamp_ns // self._block_ns
        for array in (self._block, self._total, self._count):
            array.reserve(self._index.size)
        first = starts_of(slot, block)
        whose, number = slot[first], block[first]
        known = np.abs(np.nan_to_num(scaled, nan=np.inf)) <= _IMPOSSIBLE
        inside = np.clip(np.where(known, scaled, 0.0), -_LIMIT, _LIMIT)
        sums = np.add.reduceat(np.rint(inside * _FIXED).astype(np.int64), first)
        counts = np.add.reduceat(known.astype(np.int64), first)
        begins = np.concatenate([[True], whose[1:] != whose[:-1]])
        ends = np.concatenate([begins[1:], [True]])
        kept = self._block.data[whose]
        on = begins & (kept == number)
        sums[on] += self._total.data[whose[on]]
        counts[on] += self._count.data[whose[on]]
        for at in np.flatnonzero(begins & (kept != number) & (kept != _NO_BLOCK)).tolist():
            place = whose[at]
            self._end(place, int(kept[at]), self._total.data[place], self._count.data[place])
        for at in np.flatnonzero(~ends).tolist():
            self._end(whose[at], int(number[at]), sums[at], counts[at])
        self._block.data[whose[ends]] = number[ends]
        self._total.data[whose[ends]], self._count.data[whose[ends]] = sums[ends], counts[ends]

    def finish(self) -> None:
        """End the blocks that have begun: no more rows come."""
        for slot in self._index.known().tolist():
            self._end(slot, int(self._block.data[slot]), self._total.data[slot], self._count.data[slot])
        self._block.reset(self._index.known())

    @property
    def names(self) -> list[str]:
        """The known series."""
        return [self._index.names[slot] for slot in self._index.known().tolist()]

    def begun(self) -> NDArray[np.int64]:
        """Return the number of the block that has begun, of every known series, int64 [S]."""
        begun: NDArray[np.int64] = self._block.data[self._index.known()]
        return begun

    def drop(self, names: Collection[str]) -> None:
        """Forget these series, as far as they are known."""
        gone = [name for name in names if name in self._index]
        slots = self._index.of(gone)
        for array in (self._block, self._total, self._count):
            array.reset(slots)
        self._index.drop(slots.tolist())
        for name in gone:
            self.ended.pop(name, None)

    def trim(self, num_blocks: int) -> None:
        """Forget ended blocks of each series that are more than `num_blocks` before its newest one."""
        for name in self._grown:
            own = self.ended.get(name, {})
            if len(own) > num_blocks:
                oldest = max(own) - num_blocks
                self.ended[name] = {number: one for number, one in own.items() if number >= oldest}
        self._grown.clear()

    def _end(self, slot: int, number: int, total: NDArray[np.int64], count: NDArray[np.int64]) -> None:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / (count * _FIXED)
        name = self._index.names[slot]
        self.ended.setdefault(name, {})[number] = Block(mean, count.copy())
        self._grown.add(name)
