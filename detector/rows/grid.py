"""Sort readings that arrive in any order into rows of fixed length, and close the rows.

Row k of a series covers [k * interval, (k + 1) * interval) of epoch time. It closes when the newest
timestamp of the series, minus `lateness`, has reached the end of the row. A reading is late if its row
was already closed when it arrived; late readings are dropped. Within a row each channel keeps the value
with the newest timestamp. If timestamps are equal, it keeps the value that arrived last.

Promise: the rows depend on the order of arrival only, not on how the input is cut into batches. Each
batch is nevertheless computed at once, over arrays of all series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of

_NEVER = np.iinfo(np.int64).min // 2
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
class GridCounters:
    """Count readings since the start. Late readings were dropped; the others were kept.

    late          arrived after their row had closed
    duplicate     overwrote a value of the same series, timestamp and channel
    out_of_order  were older than the newest reading of their series, but in time
    """

    late: int = 0
    duplicate: int = 0
    out_of_order: int = 0


@dataclass(frozen=True, slots=True)
class _Pending:
    """Hold the readings of open rows, unique by (slot, timestamp) and sorted by them."""

    slot: NDArray[np.int32]
    timestamp_ns: NDArray[np.int64]
    values: NDArray[np.float64]

    def take(self, mask: NDArray[np.bool_]) -> _Pending:
        return _Pending(self.slot[mask], self.timestamp_ns[mask], self.values[mask])


class Grid:
    """Collect readings into rows and emit the rows that close. Not thread-safe.

    Args:
        num_channels: Number of channels of a reading.
        interval_ns: Length of a row in nanoseconds, above 0.
        lateness_ns: How long a row stays open after its end, in nanoseconds of event time.

    >>> grid = Grid(num_channels=1, interval_ns=10, lateness_ns=0)
    >>> slot, timestamp_ns = np.zeros(3, np.int32), np.array([3, 7, 12])
    >>> rows = grid.add(slot, timestamp_ns, np.array([[1.0], [2.0], [3.0]]))
    >>> rows.row.tolist(), rows.values.tolist()
    ([0], [[2.0]])
    >>> grid.flush().row.tolist()
    [1]
    """

    def __init__(self, num_channels: int, interval_ns: int, lateness_ns: int) -> None:
        self._num_channels = num_channels
        self._interval_ns = interval_ns
        self._lateness_ns = lateness_ns
        self._newest = SeriesArray((), np.int64, _NEVER)
        self._pending = self._no_readings()
        self.counters = GridCounters()

    def add(
        self, slot: NDArray[np.int32], timestamp_ns: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Rows:
        """Add readings in order of arrival and return the rows that they close.

        Args:
            slot: Number of the series of each reading, int32 [n].
            timestamp_ns: Event time of each reading, int64 [n], nanoseconds since the epoch.
            values: One value for each channel, float64 [n, channels]; NaN where a reading has none.
        """
        if len(slot) == 0:
            return self._emit(self._no_readings())
        self._newest.reserve(int(slot.max()) + 1)
        order = np.argsort(slot, kind="stable")
        slot, timestamp_ns, values = slot[order], timestamp_ns[order], values[order]
        kept = self._accept(slot, timestamp_ns)
        if not kept.all():
            slot, timestamp_ns, values = slot[kept], timestamp_ns[kept], values[kept]
        merged = self._merge(_Pending(slot, timestamp_ns, values))
        closed = merged.timestamp_ns // self._interval_ns < self._first_open_row(merged.slot)
        self._pending = merged.take(~closed)
        return self._emit(merged.take(closed))

    def flush(self) -> Rows:
        """Close and return every open row, because the input has ended."""
        pending, self._pending = self._pending, self._no_readings()
        return self._emit(pending)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Discard the open rows and the newest timestamp of the series in `slots`."""
        self._pending = self._pending.take(~np.isin(self._pending.slot, slots))
        self._newest.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return the state of every series, except its open rows, for a snapshot."""
        return [self._newest]

    def newest(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the newest timestamp of each of `slots`, int64 [n]; far below 0 where there is none."""
        self._newest.reserve(int(slots.max(initial=-1)) + 1)
        newest: NDArray[np.int64] = self._newest.data[slots]
        return newest

    def open_readings(self, slots: NDArray[np.int32]) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Return the readings in open rows of each series, for a snapshot.

        Args:
            slots: Numbers of series, int32, ascending.

        Returns:
            For each slot its timestamps, int64 [n], and its values, float64 [n, channels].
        """
        pending = self._pending
        first, last = (np.searchsorted(pending.slot, slots, side) for side in ("left", "right"))
        return [
            (pending.timestamp_ns[a:b], pending.values[a:b])
            for a, b in zip(first.tolist(), last.tolist(), strict=True)
        ]

    def reopen(
        self, slot: NDArray[np.int32], timestamp_ns: NDArray[np.int64], values: NDArray[np.float64]
    ) -> None:
        """Restore readings of open rows, as `open_readings` returned them, for series that have none.

        Args:
            slot: Number of the series of each reading, int32 [n].
            timestamp_ns: Event time of each reading, int64 [n].
            values: float64 [n, channels].
        """
        self._pending = self._merge(_Pending(slot, timestamp_ns, values))

    def resume(self, slots: NDArray[np.int32], newest_ns: NDArray[np.int64]) -> None:
        """Set the newest timestamps that were seen before a restart.

        Args:
            slots: Numbers of series, int32 [n].
            newest_ns: Newest timestamp of each, int64 [n], as `newest` returned it.
        """
        self._newest.reserve(int(slots.max(initial=-1)) + 1)
        self._newest.data[slots] = newest_ns

    def _no_readings(self) -> _Pending:
        return _Pending(np.empty(0, np.int32), np.empty(0, np.int64), np.empty((0, self._num_channels)))

    def _first_open_row(self, slot: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the number of the first row that is still open in the series of each slot."""
        open_from: NDArray[np.int64] = (self._newest.data[slot] - self._lateness_ns) // self._interval_ns
        return open_from

    def _accept(self, slot: NDArray[np.int32], timestamp_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return the mask of readings that are not late, and advance the newest timestamps.

        The readings are sorted by slot, and within a slot by arrival.
        """
        newest = _running_max(slot, timestamp_ns)
        before = np.empty_like(newest)
        before[1:] = newest[:-1]
        before[starts_of(slot)] = _NEVER
        before = np.maximum(before, self._newest.data[slot])
        row = timestamp_ns // self._interval_ns
        kept: NDArray[np.bool_] = row >= (before - self._lateness_ns) // self._interval_ns
        self.counters.late += int(np.count_nonzero(~kept))
        self.counters.out_of_order += int(np.count_nonzero(kept & (timestamp_ns < before)))
        starts = starts_of(slot)
        ends = starts + lengths_of(starts, len(slot)) - 1
        self._newest.data[slot[ends]] = np.maximum(self._newest.data[slot[ends]], newest[ends])
        return kept

    def _merge(self, new: _Pending) -> _Pending:
        """Join open and new readings into one for each (slot, timestamp)."""
        old = self._pending
        slot = np.concatenate([old.slot, new.slot])
        timestamp_ns = np.concatenate([old.timestamp_ns, new.timestamp_ns])
        values = np.concatenate([old.values, new.values])
        order = np.lexsort((timestamp_ns, slot))
        slot, timestamp_ns, values = slot[order], timestamp_ns[order], values[order]
        starts = starts_of(slot, timestamp_ns)
        if len(starts) < len(slot):
            self.counters.duplicate += _count_overwriting(values, starts)
            values = _last_valid(values, starts)
        return _Pending(slot[starts], timestamp_ns[starts], values)

    def _emit(self, readings: _Pending) -> Rows:
        """Join the readings of each row into one row."""
        row = readings.timestamp_ns // self._interval_ns
        starts = starts_of(readings.slot, row)
        values = readings.values
        if len(starts) < len(row):
            values = _last_valid(values, starts)
        return Rows(readings.slot[starts], row[starts], values)


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


def _running_max(slot: NDArray[np.int32], timestamp_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the greatest timestamp so far within each slot, itself included (sorted by slot)."""
    ascending = (timestamp_ns[1:] >= timestamp_ns[:-1]) | (slot[1:] != slot[:-1])
    if ascending.all():
        return timestamp_ns
    # Timestamps are replaced by their ranks, so that segment * span cannot overflow.
    distinct, rank = np.unique(timestamp_ns, return_inverse=True)
    span = len(distinct)
    _, segment = np.unique(slot, return_inverse=True)
    greatest = np.maximum.accumulate(segment * span + rank)
    newest: NDArray[np.int64] = distinct[greatest % span]
    return newest


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
