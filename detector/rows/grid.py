"""Readings of any order become closed rows of every series' grid.

Row k of a series covers [k * interval, (k + 1) * interval) of epoch time. It closes when the newest
reading of the series, less `lateness`, has reached the row's end; a reading whose row was closed when
it arrived is late and dropped. Within a row the value with the newest timestamp wins for each channel,
and of equal timestamps the one that arrived last.

Everything is decided reading by reading in order of arrival, so how the input is cut into batches
never matters; yet all of it is computed for a whole batch at once, over arrays of all series.
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
    """Closed rows that hold at least one reading, sorted by slot and row.

    slot    int32 [n], the series' number
    row     int64 [n], the row's number: its start divided by the interval
    values  float64 [n, channels], NaN where none came
    """

    slot: NDArray[np.int32]
    row: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.row)


@dataclass(slots=True)
class GridCounters:
    """Readings by what became of them; `late` ones were dropped, the others kept."""

    late: int = 0
    duplicate: int = 0
    out_of_order: int = 0


@dataclass(frozen=True, slots=True)
class _Pending:
    """Readings of rows still open, unique by (slot, timestamp) and sorted by them."""

    slot: NDArray[np.int32]
    timestamp_ns: NDArray[np.int64]
    values: NDArray[np.float64]

    def take(self, rows: NDArray[np.bool_]) -> _Pending:
        return _Pending(self.slot[rows], self.timestamp_ns[rows], self.values[rows])


class Grid:
    """The open rows of all series. Not thread-safe; a pure function of what it was given."""

    def __init__(self, num_channels: int, interval_ns: int, lateness_ns: int) -> None:
        self._num_channels = num_channels
        self._interval_ns = interval_ns
        self._lateness_ns = lateness_ns
        self._newest = SeriesArray((), np.int64, _NEVER)
        self._pending = self._nothing()
        self.counters = GridCounters()

    def add(
        self, slot: NDArray[np.int32], timestamp_ns: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Rows:
        """Take readings in order of arrival; return the rows that they closed.

        slot int32 [n], timestamp_ns int64 [n], values float64 [n, channels].
        """
        if len(slot) == 0:
            return self._emit(self._nothing())
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
        """Close every open row: the input has ended."""
        pending, self._pending = self._pending, self._nothing()
        return self._emit(pending)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget the open rows and the watermark of some series."""
        self._pending = self._pending.take(~np.isin(self._pending.slot, slots))
        self._newest.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """What is remembered of a series beside its open rows."""
        return [self._newest]

    def newest(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """The newest timestamp seen of each of `slots`, far below 0 where there is none; int64 [n]."""
        self._newest.reserve(int(slots.max(initial=-1)) + 1)
        newest: NDArray[np.int64] = self._newest.data[slots]
        return newest

    def open_readings(self, slots: NDArray[np.int32]) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """The readings of open rows of each of `slots` (ascending): timestamps [n], values [n, C]."""
        pending = self._pending
        first, last = (np.searchsorted(pending.slot, slots, side) for side in ("left", "right"))
        return [
            (pending.timestamp_ns[a:b], pending.values[a:b])
            for a, b in zip(first.tolist(), last.tolist(), strict=True)
        ]

    def reopen(
        self, slot: NDArray[np.int32], timestamp_ns: NDArray[np.int64], values: NDArray[np.float64]
    ) -> None:
        """Put back readings of open rows, of series that have none."""
        self._pending = self._merge(_Pending(slot, timestamp_ns, values))

    def resume(self, slots: NDArray[np.int32], newest_ns: NDArray[np.int64]) -> None:
        """Go on behind the newest timestamps, int64 [len(slots)], that others have seen."""
        self._newest.reserve(int(slots.max(initial=-1)) + 1)
        self._newest.data[slots] = newest_ns

    def _nothing(self) -> _Pending:
        return _Pending(np.empty(0, np.int32), np.empty(0, np.int64), np.empty((0, self._num_channels)))

    def _first_open_row(self, slot: NDArray[np.int32]) -> NDArray[np.int64]:
        open_from: NDArray[np.int64] = (self._newest.data[slot] - self._lateness_ns) // self._interval_ns
        return open_from

    def _accept(self, slot: NDArray[np.int32], timestamp_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Mask of the readings, sorted by slot, that are not late; moves the watermarks on."""
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
        """Open readings and new ones together, one for each (slot, timestamp)."""
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
        row = readings.timestamp_ns // self._interval_ns
        starts = starts_of(readings.slot, row)
        values = readings.values
        if len(starts) < len(row):
            values = _last_valid(values, starts)
        return Rows(readings.slot[starts], row[starts], values)


def split_rows(rows: Rows, window: int) -> list[Rows]:
    """Rows in parts of whole series; each part and its windows' history stay within a bound."""
    if len(rows) == 0:
        return []
    starts = starts_of(rows.slot)
    ends = starts + lengths_of(starts, len(rows))
    part = (ends + np.arange(1, len(starts) + 1) * window) // _FLAT_ROWS_AT_ONCE
    cuts = ends[:-1][np.diff(part) > 0].tolist()
    bounds = zip([0, *cuts], [*cuts, len(rows)], strict=True)
    return [Rows(rows.slot[a:b], rows.row[a:b], rows.values[a:b]) for a, b in bounds]


def _running_max(slot: NDArray[np.int32], timestamp_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """The greatest timestamp so far of each reading's slot, itself included (sorted by slot)."""
    ascending = (timestamp_ns[1:] >= timestamp_ns[:-1]) | (slot[1:] != slot[:-1])
    if ascending.all():
        return timestamp_ns
    # Ranks keep slot * span far from overflow, whatever the timestamps are.
    distinct, rank = np.unique(timestamp_ns, return_inverse=True)
    span = len(distinct)
    _, segment = np.unique(slot, return_inverse=True)
    greatest = np.maximum.accumulate(segment * span + rank)
    newest: NDArray[np.int64] = distinct[greatest % span]
    return newest


def _last_valid(values: NDArray[np.float64], starts: NDArray[np.intp]) -> NDArray[np.float64]:
    """For each group of rows the last value a channel that is not NaN; float64 [groups, channels]."""
    index = np.arange(len(values))[:, None]
    last = np.maximum.reduceat(np.where(np.isnan(values), -1, index), starts, axis=0)
    merged: NDArray[np.float64] = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    merged[last < 0] = np.nan
    return merged


def _count_overwriting(values: NDArray[np.float64], starts: NDArray[np.intp]) -> int:
    """Readings that bring a value for a channel which an earlier one of their group had given."""
    valid = ~np.isnan(values)
    seen = np.cumsum(valid, axis=0) - valid
    seen_in_group = seen - np.repeat(seen[starts], lengths_of(starts, len(values)), axis=0)
    return int(np.count_nonzero((valid & (seen_in_group > 0)).any(axis=1)))
