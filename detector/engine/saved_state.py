"""What of every series a saved state holds already, and what must be saved soon."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from detector.engine.values import Changed
from detector.rows.series_arrays import SeriesArray

_SAVED = -1


class SavedState:
    """Tracks for every series how far its saved state reaches.

    A series is *changed* if readings came since it was saved. It is *urgent* if its state holds something
    that no reading will bring again, for example an incident event that was emitted.
    """

    def __init__(self) -> None:
        self._partition = SeriesArray((), np.int32, -1)
        self._since = SeriesArray((), np.int64, _SAVED)
        self._urgent = SeriesArray((), np.bool_, False)
        self._end = SeriesArray((), np.int64, 0)
        self._left: dict[int, set[int]] = {}

    def note_readings(
        self, slot: NDArray[np.int32], partition: NDArray[np.int32], offset: NDArray[np.int64]
    ) -> None:
        """Record the partition of each series, and the first reading that its saved state lacks.

        A series that comes from another partition than before becomes urgent to save there.

        Args:
            slot: the series of each reading in order of arrival, int32 [n].
            partition: the input partition of each reading, int32 [n].
            offset: the position of each reading in its partition, int64 [n].
        """
        before = self._partition.data[slot]
        moves = (before >= 0) & (before != partition)
        moved = slot[moves]
        for one, number in zip(moved.tolist(), before[moves].tolist(), strict=True):
            self._left.setdefault(one, set()).add(number)
        # Its saved state lies in the other partition, and offsets of that one mean nothing here.
        self._since.data[moved], self._urgent.data[moved] = _SAVED, True
        self._partition.data[slot] = partition
        is_here = self._partition.data[slot] == partition
        self._end.data[moved] = 0
        np.maximum.at(self._end.data, slot[is_here], offset[is_here] + 1)
        first = np.flatnonzero(is_here & (self._since.data[slot] == _SAVED))[::-1]
        self._since.data[slot[first]] = offset[first]

    def mark_urgent(self, slots: NDArray[np.int32] | Sequence[int]) -> None:
        """Have these series saved with the next batch."""
        self._urgent.data[np.asarray(slots, np.int32)] = True

    def mark_saved(self, slots: NDArray[np.int32]) -> None:
        """Record that the state of these series has been saved as it is now."""
        self._since.data[slots] = _SAVED
        self._urgent.data[slots] = False

    def assign(self, slots: NDArray[np.int32], partition: int) -> None:
        """Record the input partition of restored series."""
        self._partition.data[slots] = partition

    def changed(self, slots: NDArray[np.int32]) -> Changed:
        """Return those of `slots`, int32 [n], whose saved state is older than their state."""
        is_changed = self._urgent.data[slots] | (self._since.data[slots] != _SAVED)
        slot = slots[is_changed]
        return Changed(slot, self._partition.data[slot], self._since.data[slot], self._urgent.data[slot])

    def partitions(self, slots: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the input partition of each of `slots`, int32 [n]; -1 where none is known."""
        partitions: NDArray[np.int32] = self._partition.data[slots]
        return partitions

    def in_partitions(self, slots: NDArray[np.int32], partitions: Collection[int]) -> NDArray[np.int32]:
        """Return those of `slots` that are read from one of `partitions`."""
        return slots[np.isin(self._partition.data[slots], list(partitions))]

    def since(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the offset of the first reading that each saved state lacks, int64 [n]; -1 where none."""
        since: NDArray[np.int64] = self._since.data[slots]
        return since

    def end(self, slot: int) -> int:
        """Return the offset behind the last reading of a series in its partition; 0 where none is known."""
        return int(self._end.data[slot])

    def places(self, slot: int) -> tuple[int, ...]:
        """Return the partition of a series, and then those that it has left."""
        here = int(self._partition.data[slot])
        return (here, *sorted(self._left.get(slot, set()) - {here}))

    def resume(self, slots: NDArray[np.int32], since: NDArray[np.int64]) -> None:
        """Continue with saved states that lack the readings from `since` on, int64 [n]."""
        self._since.data[slots] = since

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps."""
        return [self._partition, self._since, self._urgent, self._end]

    def saved_arrays(self) -> list[SeriesArray]:
        """Return those arrays that are part of a saved state, in the order of its cells."""
        return [self._end]

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)
        for slot in slots.tolist():
            self._left.pop(slot, None)
