"""Give every reading its row, and decide which readings to believe about the time.

Each series has its own interval, its own lines (`detector.rows.phase`) and its own clock. The rules use the
readings of that series alone, so a replay decides the same.

1. Jump    A reading far ahead of the newest is held. Three times in a row ahead confirm it: all are taken, in
           their order. Three later readings on the old clock refute it: it is dropped.
2. Back    Late readings are dropped and counted. From the third in a row on they are kept, and the series is
           late. Sixty in a row, each as new as the one before, start the series again on their clock.
3. Rate    A series that sends so seldom that no window could ever fill gets longer rows: the median of its
           last 16 steps. A series with longer rows that sends faster again gets shorter ones.
4. Lines   Each 32 readings the lines move, if readings come next to a line. With a lateness they stay.

Readings of usual times are taken at once, in columns. Only series in doubt are followed one by one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.rows.clock_rules import ClockCounters, ClockState, Doubt, Follower, Turn
from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of
from detector.rows.usual_readings import Read, UsualReadings

_FOLLOWED = 256
"""Readings of one series that are followed one by one before the others are looked at in columns again."""


class SeriesClocks:
    """Keep interval, lines and newest time of every series, and sort readings into rows. Not thread-safe.

    Args:
        num_channels: Channels of a reading.
        interval_ns: Interval of series for which `know` states no other.
        lateness_ns: How long a row stays open after its end.
        slow_rows: A series whose steps are longer than so many rows cannot be judged on its interval.
            None: the rows are fixed, and every reading is believed.
    """

    def __init__(
        self, num_channels: int, interval_ns: int, lateness_ns: int, slow_rows: int | None = None
    ) -> None:
        self._num_channels = num_channels
        self._lateness_ns = lateness_ns
        self._slow_rows = slow_rows
        self._state = ClockState(interval_ns)
        self._doubts: dict[int, Doubt] = {}
        self._refuted: set[int] = set()
        self.counters = ClockCounters()
        self._usual = UsualReadings(self._state, lateness_ns, slow_rows, self.counters)

    @property
    def intervals(self) -> SeriesArray:
        """Return the interval of each series in nanoseconds, for readers."""
        return self._state.interval

    def arrays(self) -> list[SeriesArray]:
        """Return the arrays of the saved state; the newest time comes first."""
        return self._state.arrays()

    def reserve(self, size: int) -> None:
        """Make room for `size` slots."""
        for array in self.arrays():
            array.reserve(size)

    def know(self, slots: NDArray[np.int32], interval_ns: NDArray[np.int64]) -> None:
        """Set the interval of series that have not sent yet, int64 [n]."""
        self._state.interval.data[slots] = interval_ns
        self._state.base.data[slots] = interval_ns

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)
        for slot in slots.tolist():
            self._doubts.pop(slot, None)
            self._refuted.discard(slot)

    def take_refuted(self) -> list[int]:
        """Return the series whose readings were far ahead and were dropped since the last call, ascending."""
        refuted, self._refuted = sorted(self._refuted), set()
        return refuted

    def doubts(self, slots: NDArray[np.int32]) -> list[Doubt | None]:
        """Return what is in doubt about each series, None where nothing is, for a snapshot."""
        return [self._doubts.get(slot) for slot in slots.tolist()]

    def doubt(self, slot: int, doubt: Doubt) -> None:
        """Continue a series with what was in doubt when it was saved."""
        self._doubts[slot] = doubt

    def late_slots(self) -> NDArray[np.int32]:
        """Return the series that send only late readings, int32, ascending."""
        return np.sort(np.array([slot for slot, one in self._doubts.items() if one.late], np.int32))

    def open_row(self, slot: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the first row that is still open in the series of each slot, int64 [n]."""
        rows: NDArray[np.int64] = self._state.open_row.data[slot]
        return rows

    def newest(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the newest believed time of each of `slots`, int64 [n]; far below 0 where there is none."""
        self.reserve(int(slots.max(initial=-1)) + 1)
        newest: NDArray[np.int64] = self._state.newest.data[slots]
        return newest

    def resume(self, slots: NDArray[np.int32], cells: NDArray[np.uint8]) -> None:
        """Restore series from the bytes of their entries in `arrays`, uint8 [n, bytes]; more may follow."""
        self.reserve(int(slots.max(initial=-1)) + 1)
        at = 0
        for array in self.arrays():
            end = at + array.data.dtype.itemsize
            array.data[slots] = np.ascontiguousarray(cells[:, at:end]).view(array.data.dtype)[:, 0]
            at = end

    def release(self, slots: NDArray[np.int32] | None = None) -> tuple[Read, NDArray[np.int64]]:
        """Take every reading that is held, or those of some series; return them with their rows.

        Their input has ended. Late ones are dropped: their rows are closed.
        """
        taken: list[tuple[int, int, int, bytes]] = []
        for slot in sorted(self._doubts if slots is None else self._doubts.keys() & set(slots.tolist())):
            doubt = self._doubts[slot]
            self.counters.late += len(doubt.late)
            held, doubt.held, doubt.late = doubt.held, [], []
            for time, values in sorted(held, key=lambda one: one[0]):
                self._state.newest.data[slot] = max(int(self._state.newest.data[slot]), time)
                taken.append((slot, time, self._row(slot, time), values))
        return self._as_columns(taken)

    def place(self, read: Read) -> tuple[Read, NDArray[np.int64], dict[int, Turn], Read | None]:
        """Take readings, sorted by slot and within a slot by arrival.

        Returns:
            The readings that are believed, sorted likewise; the row of each, int64 [n]; the series that start
            again, and why; the readings after that of these series, which belong to the next call.
        """
        parts: list[tuple[Read, NDArray[np.int64]]] = []
        turns: dict[int, Turn] = {}
        rest: list[Read] = []
        left: Read | None = read
        while left is not None and len(left):
            tail, accepted, rows = self._usual.take(left, list(self._doubts))
            parts.append((left.take(accepted), rows[accepted]) if not accepted.all() else (left, rows))
            if not tail.any():
                break
            left = self._follow(left.take(tail), parts, turns, rest)
        if len(parts) == 1:
            return (*parts[0], turns, Read.joined(rest) if rest else None)
        joined = Read.joined([part for part, _ in parts])
        slot = np.concatenate([part.slot for part, _ in parts])
        rows = np.concatenate([rows for _, rows in parts])[np.argsort(slot, kind="stable")]
        return joined, rows, turns, Read.joined(rest) if rest else None

    def _follow(
        self,
        read: Read,
        parts: list[tuple[Read, NDArray[np.int64]]],
        turns: dict[int, Turn],
        rest: list[Read],
    ) -> Read | None:
        """Take the first readings of each series one by one; return those that can be taken in columns."""
        starts = starts_of(read.slot)
        ends = starts + lengths_of(starts, len(read))
        left: list[Read] = []
        taken: list[tuple[int, int, int, bytes]] = []
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            slot = int(read.slot[start])
            stop = min(end, start + _FOLLOWED)
            doubt = self._doubts.pop(slot) if slot in self._doubts else Doubt()
            follower = Follower(self._state, slot, doubt, self.counters)
            follower.limit(self._num_channels, self._lateness_ns, self._slow_rows or 0)
            at = start
            while at < stop and follower.turn is None:
                follower.take(int(read.timestamp_ns[at]), read.values[at].tobytes())
                at += 1
            taken += follower.taken
            if follower.refuted:
                self._refuted.add(slot)
            if not follower.doubt.is_settled():
                self._doubts[slot] = follower.doubt
            after = read.take(np.arange(at, end))
            if follower.turn is not None:
                turns[slot] = follower.turn
                again = self._as_columns([(slot, time, 0, values) for time, values in follower.again])[0]
                rest.append(Read.joined([again, after]))
            elif len(after):
                left.append(after)
        parts.append(self._as_columns(taken))
        return Read.joined(left) if left else None

    def _row(self, slot: int, time: int) -> int:
        return int((time - self._state.shift.data[slot]) // self._state.interval.data[slot])

    def _as_columns(self, taken: list[tuple[int, int, int, bytes]]) -> tuple[Read, NDArray[np.int64]]:
        slot, times, rows, values = zip(*taken, strict=True) if taken else ((), (), (), ())
        shape = (len(taken), self._num_channels)
        read = Read(
            np.array(slot, np.int32),
            np.array(times, np.int64),
            np.frombuffer(b"".join(values), np.float64).reshape(shape),
        )
        return read, np.array(rows, np.int64)
