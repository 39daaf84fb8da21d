"""Hold the state of all series in arrays: each series has a slot, the index of its entry in every array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class SeriesIndex:
    """Give every series name a slot: a small number that stays the same until the series is dropped.

    >>> index = SeriesIndex()
    >>> index.of(["pump-1", "pump-2", "pump-1"]).tolist()
    [0, 1, 0]
    >>> index.drop([0])
    >>> index.of(["pump-3"]).tolist()  # a free slot is used again
    [0]
    >>> index.names
    ['pump-3', 'pump-2']
    """

    def __init__(self) -> None:
        self._slot_of: dict[str, int] = {}
        self.names: list[str] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._slot_of)

    def __contains__(self, name: object) -> bool:
        return name in self._slot_of

    @property
    def size(self) -> int:
        """Return the length that an array over all slots needs, free slots included."""
        return len(self.names)

    def of(self, names: Sequence[str]) -> NDArray[np.int32]:
        """Return the slots of `names`, int32 [len(names)], and give unknown names a slot."""
        return np.array([self._find(name) for name in names], dtype=np.int32)

    def drop(self, slots: Sequence[int]) -> None:
        """Forget the series in these slots and make the slots free for other series.

        Raises:
            KeyError: A slot is not in use.
        """
        for slot in slots:
            del self._slot_of[self.names[slot]]
            self._free.append(slot)

    def known(self) -> NDArray[np.int32]:
        """Return the slots in use, int32, ascending."""
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
    """Hold one value of a fixed shape for every slot. The array `data` grows by doubling.

    Args:
        shape: Shape of the value of one series; () is a single number.
        dtype: Type of `data`.
        fill: The value of a series that has no state yet.
    """

    def __init__(self, shape: tuple[int, ...], dtype: type[np.generic], fill: float) -> None:
        self._shape = shape
        self._dtype = dtype
        self._fill = fill
        self.data: NDArray[Any] = np.full((0, *shape), fill, dtype)

    def reserve(self, size: int) -> None:
        """Make room for at least `size` slots. New entries have the fill value."""
        missing = size - len(self.data)
        if missing > 0:
            more = np.full((max(missing, len(self.data)), *self._shape), self._fill, self._dtype)
            self.data = np.concatenate([self.data, more])

    def reset(self, slots: NDArray[np.int32]) -> None:
        """Set the entries of these slots to the fill value. Slots without an entry are ignored."""
        self.data[slots[slots < len(self.data)]] = self._fill


def starts_of(*keys: NDArray[np.generic]) -> NDArray[np.intp]:
    """Return where runs of equal keys start, intp [runs].

    Args:
        keys: Arrays of one length. A run ends where any of them changes.

    >>> starts_of(np.array([7, 7, 8, 8, 8])).tolist()
    [0, 2]
    >>> starts_of(np.array([7, 7, 8, 8, 8]), np.array([1, 2, 2, 2, 3])).tolist()
    [0, 1, 2, 4]
    """
    num = len(keys[0])
    changed = np.zeros(num, np.bool_)
    changed[:1] = True
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changed)


def lengths_of(starts: NDArray[np.intp], num: int) -> NDArray[np.intp]:
    """Return the lengths of the runs that begin at `starts`, in an array of `num` entries.

    >>> lengths_of(np.array([0, 2]), 5).tolist()
    [2, 3]
    """
    return np.diff(np.append(starts, num))


def run_lengths(
    mask: NDArray[np.bool_], starts: NDArray[np.intp], carried: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Return the length of the run of true values that ends at each entry, int64 [n]; 0 where it is false.

    Args:
        mask: bool [n], n > 0.
        starts: Where the entries of each series begin, intp [k].
        carried: Length of the run before the first entry of each series, int [k].

    >>> run_lengths(np.array([True, True, False, True]), np.array([0, 3]), np.array([4, 1])).tolist()
    [5, 6, 0, 2]
    """
    index = np.arange(len(mask))
    lengths = lengths_of(starts, len(mask))
    first, before = np.repeat(starts, lengths), np.repeat(carried, lengths)
    broken = np.maximum.accumulate(np.where(mask, -1, index))
    runs = np.where(broken >= first, index - broken, index - first + 1 + before)
    found: NDArray[np.int64] = np.where(mask, runs, 0)
    return found
