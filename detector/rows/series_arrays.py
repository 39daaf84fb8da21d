"""Per-series state as arrays: a series is a slot number, its state one entry of every array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class SeriesIndex:
    """Names of series to small numbers that stay theirs until they are dropped."""

    def __init__(self) -> None:
        self._slot_of: dict[str, int] = {}
        self.names: list[str] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._slot_of)

    @property
    def size(self) -> int:
        """How long an array over all slots must be; free slots included."""
        return len(self.names)

    def of(self, names: Sequence[str]) -> NDArray[np.int32]:
        """The slots of `names`, int32 [len(names)]; unknown names get one."""
        return np.array([self._find(name) for name in names], dtype=np.int32)

    def drop(self, slots: Sequence[int]) -> None:
        """Forget the series in these slots; the slots may serve others."""
        for slot in slots:
            del self._slot_of[self.names[slot]]
            self._free.append(slot)

    def known(self) -> NDArray[np.int32]:
        """The slots in use, int32, ascending."""
        return np.sort(np.fromiter(self._slot_of.values(), np.int32, len(self._slot_of)))

    def _find(self, name: str) -> int:
        slot = self._slot_of.get(name)
        if slot is None:
            if self._free:
                slot = self._free.pop()
                self.names[slot] = name
            else:
                slot = len(self.names)
                self.names.append(name)
            self._slot_of[name] = slot
        return slot


class SeriesArray:
    """One value of a fixed shape and fill for every slot; grows by doubling."""

    def __init__(self, shape: tuple[int, ...], dtype: type[np.generic], fill: float) -> None:
        self._shape = shape
        self._dtype = dtype
        self._fill = fill
        self.data: NDArray[Any] = np.full((0, *shape), fill, dtype)

    def reserve(self, size: int) -> None:
        """Make room for `size` slots."""
        missing = size - len(self.data)
        if missing > 0:
            more = np.full((max(missing, len(self.data)), *self._shape), self._fill, self._dtype)
            self.data = np.concatenate([self.data, more])

    def reset(self, slots: NDArray[np.int32]) -> None:
        """Back to the fill value."""
        self.data[slots[slots < len(self.data)]] = self._fill


def starts_of(*keys: NDArray[np.generic]) -> NDArray[np.intp]:
    """Where runs of equal keys start, in arrays sorted by those keys."""
    num = len(keys[0])
    changed = np.zeros(num, np.bool_)
    changed[:1] = True
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changed)


def lengths_of(starts: NDArray[np.intp], num: int) -> NDArray[np.intp]:
    """How long the runs that begin at `starts` are, in an array of `num` rows."""
    return np.diff(np.append(starts, num))
