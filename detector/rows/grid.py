"""Sort readings that arrive in any order into rows of fixed length, and close the rows.

Row k of a series covers [k * interval, (k + 1) * interval) of epoch time. It closes when the newest
timestamp of the series, minus `lateness`, has reached the end of the row. A reading is late if its row
was already closed when it arrived; late readings are dropped. Within a row each channel keeps the value
with the newest timestamp. If timestamps are equal, it keeps the value that arrived last.

Promise: the rows depend on the order of arrival only, not on how the input is cut into batches. Each
batch is nevertheless computed at once, over arrays of all series.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.rows.clock_rules import NEVER, ClockCounters, Doubt, Turn
from detector.rows.held_channels import HeldChannels
from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of
from detector.rows.series_clock import SeriesClocks
from detector.rows.usual_readings import Read

_FLAT_ROWS_AT_ONCE = 1 << 18


@dataclass(frozen=True, slots=True)
class Rows:
    """Hold closed rows with at least one reading each, sorted by slot and row.

    slot    int32 [n], number of the series
    row     int64 [n], number of the row: its start divided by the interval
    values  float64 [n, channels], NaN where no value arrived
    """

    slot: NDArray[np.int32]
    row: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.row)


@dataclass(slots=True)
class GridCounters(ClockCounters):
    """Count readings since the start; see `ClockCounters` for those that the clocks count.

    duplicate     overwrote a value of the same series, timestamp and channel
    overwritten   lost a value to a newer reading of the same row
    """

    duplicate: int = 0
    overwritten: int = 0

    @property
    def dropped(self) -> int:
        """Return how many readings were dropped for their time."""
        return self.late + self.suspect_dropped


@dataclass(frozen=True, slots=True)
class OpenReadings:
    """Hold readings of open rows: row int64 [n], timestamp_ns int64 [n], values float64 [n, channels]."""

    row: NDArray[np.int64]
    timestamp_ns: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Pending:
    """Hold the readings of open rows, unique by (slot, row, timestamp) and sorted by them."""

    slot: NDArray[np.int32]
    row: NDArray[np.int64]
    timestamp_ns: NDArray[np.int64]
    values: NDArray[np.float64]

    def take(self, mask: NDArray[np.bool_]) -> _Pending:
        return _Pending(self.slot[mask], self.row[mask], self.timestamp_ns[mask], self.values[mask])


class Grid:
    """Collect readings into rows and emit the rows that close. Not thread-safe.

    Args:
        num_channels: Number of channels of a reading.
        interval_ns: Length of a row in nanoseconds, above 0.
        lateness_ns: How long a row stays open after its end, in nanoseconds of event time.
        slow_rows: A series whose steps are longer than so many rows gets longer rows. None: the rows are
            those of `interval_ns` for every series, and every reading is believed (for rows that were
            aligned before).
        hold_ns: How long each channel keeps its last value; none: not at all (`held_channels`).

    >>> grid = Grid(num_channels=1, interval_ns=10, lateness_ns=0)
    >>> slot, timestamp_ns = np.zeros(3, np.int32), np.array([3, 7, 12])
    >>> rows = grid.add(slot, timestamp_ns, np.array([[1.0], [2.0], [3.0]]))
    >>> rows.row.tolist(), rows.values.tolist()
    ([0], [[2.0]])
    >>> grid.flush().row.tolist()
    [1]
    """

    def __init__(
        self,
        num_channels: int,
        interval_ns: int,
        lateness_ns: int,
        slow_rows: int | None = None,
        hold_ns: Sequence[int] = (),
    ) -> None:
        self.num_channels = num_channels
        self._clocks = SeriesClocks(num_channels, interval_ns, lateness_ns, slow_rows)
        self._in_force = SeriesArray((), np.int64, interval_ns)
        self._held = HeldChannels(hold_ns or (0,) * num_channels)
        self._pending = _no_readings(num_channels)
        self._rest: Read | None = None
        self._turned: dict[int, Turn] = {}
        self.counters = GridCounters()

    @property
    def intervals(self) -> SeriesArray:
        """Return the length of the rows of each series in nanoseconds, for readers."""
        return self._in_force

    @property
    def clock_bytes(self) -> int:
        """Return the bytes of the clock of one series, with which its saved cells begin."""
        return sum(array.data.dtype.itemsize for array in self._clocks.arrays())

    def know(self, slots: NDArray[np.int32], interval_ns: NDArray[np.int64]) -> None:
        """Set the interval of series before their first reading, int64 [n]."""
        self._clocks.reserve(int(slots.max(initial=-1)) + 1)
        self._clocks.know(slots, interval_ns)
        self._put_in_force(slots)

    def rounds(
        self, slot: NDArray[np.int32], timestamp_ns: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Iterator[tuple[dict[int, Turn], Rows]]:
        """Add readings as `add` does; yield (series that start again before these rows, closed rows).

        The numbers of the rows of a series that starts again have nothing to do with those before.
        """
        turned: dict[int, Turn] = {}
        read: Read | None = Read(slot, timestamp_ns, values)
        while read is not None:
            rows = self.add(read.slot, read.timestamp_ns, read.values)
            yield turned, rows
            turned, read = self._turned, self._rest
            self._put_in_force(slots := np.array(sorted(turned), np.int32))
            self._held.drop(slots)

    def add(
        self, slot: NDArray[np.int32], timestamp_ns: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Rows:
        """Add readings in order of arrival and return the rows that they close.

        If a series starts again, its readings from there on are left out: `rounds` adds them too.

        Args:
            slot: Number of the series of each reading, int32 [n].
            timestamp_ns: Event time of each reading, int64 [n], nanoseconds since the epoch.
            values: One value for each channel, float64 [n, channels]; NaN where a reading has none.
        """
        self._rest, self._turned = None, {}
        if len(slot) == 0:
            return self._emit(_no_readings(self.num_channels))
        self._clocks.reserve(int(slot.max()) + 1)
        self._in_force.reserve(int(slot.max()) + 1)
        order = np.argsort(slot, kind="stable")
        read = Read(slot[order], timestamp_ns[order], values[order])
        read, row, self._turned, self._rest = self._clocks.place(read)
        self._take_counts()
        merged = self._merge(_Pending(read.slot, row, read.timestamp_ns, read.values))
        closed = merged.row < self._clocks.open_row(merged.slot)
        if self._turned:
            closed |= np.isin(merged.slot, list(self._turned))
        self._pending = merged.take(~closed)
        return self._emit(merged.take(closed))

    def flush(self, slots: NDArray[np.int32] | None = None) -> Rows:
        """Take what is held back, close and return every open row, or those of series that have ended."""
        read, row = self._clocks.release(slots)
        self._take_counts()
        pending = self._merge(_Pending(read.slot, row, read.timestamp_ns, read.values))
        closed = np.ones(len(pending.slot), np.bool_) if slots is None else np.isin(pending.slot, slots)
        self._pending = pending.take(~closed)
        return self._emit(pending.take(closed))

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Discard the open rows and the newest timestamp of the series in `slots`."""
        self._pending = self._pending.take(~np.isin(self._pending.slot, slots))
        self._clocks.drop(slots)
        self._in_force.reset(slots)
        self._held.drop(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return the state of every series, except its open rows, for a snapshot."""
        return [*self._clocks.arrays(), *self._held.arrays()]

    def newest(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the newest timestamp of each of `slots`, int64 [n]; far below 0 where there is none."""
        return self._clocks.newest(slots)

    def take_refuted(self) -> list[int]:
        """Return the series whose readings were far ahead and were dropped since the last call, ascending."""
        return self._clocks.take_refuted()

    def late_slots(self) -> NDArray[np.int32]:
        """Return the series that send only late readings, int32, ascending."""
        return self._clocks.late_slots()

    def doubts(self, slots: NDArray[np.int32]) -> list[Doubt | None]:
        """Return what is in doubt about the time of each series, for a snapshot."""
        return self._clocks.doubts(slots)

    def doubt(self, slot: int, doubt: Doubt) -> None:
        """Continue a series with what was in doubt when it was saved."""
        self._clocks.doubt(slot, doubt)

    def open_readings(self, slots: NDArray[np.int32]) -> list[OpenReadings]:
        """Return the readings in open rows of each series, for a snapshot.

        Args:
            slots: Numbers of series, int32, ascending.
        """
        pending = self._pending
        first, last = (np.searchsorted(pending.slot, slots, side) for side in ("left", "right"))
        return [
            OpenReadings(pending.row[a:b], pending.timestamp_ns[a:b], pending.values[a:b])
            for a, b in zip(first.tolist(), last.tolist(), strict=True)
        ]

    def reopen(self, slot: NDArray[np.int32], readings: OpenReadings) -> None:
        """Restore readings of open rows, as `open_readings` returned them, for series that have none.

        Args:
            slot: Number of the series of each reading, int32 [n].
            readings: The n readings.
        """
        self._pending = self._merge(_Pending(slot, readings.row, readings.timestamp_ns, readings.values))

    def resume(self, slots: NDArray[np.int32], cells: NDArray[np.uint8]) -> None:
        """Restore the clocks of series as they were saved: the first cells of each, uint8 [n, bytes]."""
        self._clocks.resume(slots, cells)
        self._put_in_force(slots)

    def _put_in_force(self, slots: NDArray[np.int32]) -> None:
        """Use the interval of these series for the rows that follow; those before have another one."""
        self._in_force.reserve(int(slots.max(initial=-1)) + 1)
        self._in_force.data[slots] = self._clocks.intervals.data[slots]

    def _take_counts(self) -> None:
        """Move what the clocks have counted to the counters."""
        self.counters.add(self._clocks.counters)
        self._clocks.counters.clear()

    def _merge(self, new: _Pending) -> _Pending:
        """Join open and new readings into one for each (slot, timestamp)."""
        old = self._pending
        slot = np.concatenate([old.slot, new.slot])
        row = np.concatenate([old.row, new.row])
        timestamp_ns = np.concatenate([old.timestamp_ns, new.timestamp_ns])
        values = np.concatenate([old.values, new.values])
        order = np.lexsort((timestamp_ns, row, slot))
        slot, row, timestamp_ns, values = slot[order], row[order], timestamp_ns[order], values[order]
        starts = starts_of(slot, row, timestamp_ns)
        if len(starts) < len(slot):
            self.counters.duplicate += _count_overwriting(values, starts)
            values = _last_valid(values, starts)
        return _Pending(slot[starts], row[starts], timestamp_ns[starts], values)

    def _emit(self, readings: _Pending) -> Rows:
        """Join the readings of each row into one row."""
        row = readings.row
        starts = starts_of(readings.slot, row)
        values = readings.values
        if len(starts) < len(row):
            self.counters.overwritten += _count_overwriting(values, starts)
            values = _last_valid(values, starts)
        slot, row = readings.slot[starts], row[starts]
        return Rows(slot, row, self._held.filled(slot, row, values, self._in_force.data[slot]))


def starts_of_rows(timestamp_ns: NDArray[np.int64], interval_ns: int, slow_rows: int) -> NDArray[np.int64]:
    """Return the start of the row to which each reading of one series belongs, as the engine decides it.

    Args:
        timestamp_ns: Times in order of arrival, int64 [n].
        interval_ns: The interval of the series.
        slow_rows: See `Grid`.

    Returns:
        int64 [n]; far below 0 for readings that the engine drops.
    """
    clocks = SeriesClocks(1, interval_ns, 0, slow_rows)
    clocks.reserve(1)
    starts = np.full(len(timestamp_ns), NEVER)
    read: Read | None = Read(
        np.zeros(len(timestamp_ns), np.int32),
        timestamp_ns,
        np.arange(len(timestamp_ns), dtype=np.float64)[:, None],
    )
    while read is not None and len(read):
        interval_ns = int(clocks.intervals.data[0])
        taken, row, _, read = clocks.place(read)
        starts[taken.values[:, 0].astype(np.intp)] = row * interval_ns
    interval_ns = int(clocks.intervals.data[0])
    taken, row = clocks.release()
    starts[taken.values[:, 0].astype(np.intp)] = row * interval_ns
    return starts


def split_rows(rows: Rows, window: int) -> list[Rows]:
    """Split rows into parts of whole series, so that each part needs a bounded amount of memory.

    Args:
        rows: Rows of many series, sorted by slot and row.
        window: Rows of a window: each series of a part needs as many more.

    Returns:
        The parts in order; together they are `rows`. Empty if there are no rows.
    """
    if len(rows) == 0:
        return []
    starts = starts_of(rows.slot)
    ends = starts + lengths_of(starts, len(rows))
    part = (ends + np.arange(1, len(starts) + 1) * window) // _FLAT_ROWS_AT_ONCE
    cuts = ends[:-1][np.diff(part) > 0].tolist()
    bounds = zip([0, *cuts], [*cuts, len(rows)], strict=True)
    return [Rows(rows.slot[a:b], rows.row[a:b], rows.values[a:b]) for a, b in bounds]


def _no_readings(num_channels: int) -> _Pending:
    none = np.empty(0, np.int64)
    return _Pending(np.empty(0, np.int32), none, none, np.empty((0, num_channels)))


def _last_valid(values: NDArray[np.float64], starts: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the last value of each channel that is not NaN in each group, float64 [groups, channels]."""
    index = np.arange(len(values))[:, None]
    last = np.maximum.reduceat(np.where(np.isnan(values), -1, index), starts, axis=0)
    merged: NDArray[np.float64] = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    merged[last < 0] = np.nan
    return merged


def _count_overwriting(values: NDArray[np.float64], starts: NDArray[np.intp]) -> int:
    """Count readings with a value for a channel that an earlier reading of their group already had."""
    valid = ~np.isnan(values)
    seen = np.cumsum(valid, axis=0) - valid
    seen_in_group = seen - np.repeat(seen[starts], lengths_of(starts, len(values)), axis=0)
    return int(np.count_nonzero((valid & (seen_in_group > 0)).any(axis=1)))
