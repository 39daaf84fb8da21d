"""Take the readings of usual times in columns: those that need no look at the clock of their series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.rows import phase
from detector.rows.clock_rules import JUMP_NS, LATE_FROM, NEVER, ClockCounters, ClockState
from detector.rows.series_arrays import lengths_of, run_lengths, starts_of


@dataclass(frozen=True, slots=True)
class Read:
    """Hold readings as columns: slot int32 [n], timestamp_ns int64 [n], values float64 [n, C]."""

    slot: NDArray[np.int32]
    timestamp_ns: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.slot)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Read:
        """Return the readings of a mask or an index."""
        return Read(self.slot[rows], self.timestamp_ns[rows], self.values[rows])

    @staticmethod
    def joined(parts: list[Read]) -> Read:
        """Return several parts, at least one, as one, sorted by slot; the order within a slot stays."""
        if len(parts) == 1:
            return parts[0]
        slot = np.concatenate([part.slot for part in parts])
        order = np.argsort(slot, kind="stable")
        times = np.concatenate([part.timestamp_ns for part in parts])
        values = np.concatenate([part.values for part in parts])
        return Read(slot[order], times[order], values[order])


_Block = tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.intp]]
"""Place of each reading in its block, its bit, and where the blocks begin."""


@dataclass(frozen=True, slots=True)
class _Groups:
    """Hold where the readings of each series lie in the columns.

    slot     slot of each reading, int32 [n]; those of a series lie side by side
    starts   where each series begins, intp [k]
    lengths  readings of each series, intp [k]
    """

    slot: NDArray[np.int32]
    starts: NDArray[np.intp]
    lengths: NDArray[np.intp]

    def before(self, mask: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return how many of the readings up to each, itself included, a mask has in its series, intp [n]."""
        count = np.cumsum(mask)
        return count - np.repeat(count[self.starts] - mask[self.starts], self.lengths)


class UsualReadings:
    """Take the readings of each series up to the first that needs a closer look. Not thread-safe.

    Args:
        state: Interval, lines and newest time of every series, shared with those who look closer.
        lateness_ns: How long a row stays open after its end.
        slow_rows: A series whose steps are longer than so many rows cannot be judged on its interval.
            None: the rows are fixed, and every reading is believed.
        counters: Counts of late readings and of readings out of order.
    """

    def __init__(
        self, state: ClockState, lateness_ns: int, slow_rows: int | None, counters: ClockCounters
    ) -> None:
        self._lateness_ns = lateness_ns
        self._slow_rows = slow_rows
        # With a lateness any order gives the same rows, so no order may decide where lines lie.
        self._moves_lines = slow_rows is not None and lateness_ns == 0
        self._state = state
        self._counters = counters
        self._block: _Block = (np.empty(0, np.int64), np.empty(0, np.uint16), np.empty(0, np.intp))

    def take(
        self, read: Read, doubted: list[int]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
        """Take the readings of each series before the first that needs a closer look.

        Args:
            read: Readings, sorted by slot and within a slot by arrival.
            doubted: Slots of series that all need that look.

        Returns three arrays [n]: whether a reading is left for that look, whether it was believed, its row.
        """
        slot, times = read.slot, read.timestamp_ns
        starts = starts_of(slot)
        groups = _Groups(slot, starts, lengths_of(starts, len(slot)))
        self._begin(slot[starts], times[starts])
        interval, shift = self._state.interval.data[slot], self._state.shift.data[slot]
        newest, before = self._newest_before(slot, times, starts)
        row = (times - shift) // interval
        open_row = (before - self._lateness_ns - shift) // interval
        np.maximum(open_row, self._state.open_row.data[slot], out=open_row)
        late = row < open_row
        tail = np.zeros(len(slot), np.bool_)
        if self._slow_rows is not None:
            odd = self._odd(groups, times - before, interval, late)
            if doubted:
                odd |= np.isin(slot, doubted)
            if self._moves_lines:
                odd |= self._at_lines(groups, phase.bits_of(times, shift, interval), ~late)
            if odd.any():
                tail = groups.before(odd) > 0
                if tail.all():
                    return tail, np.zeros(len(slot), np.bool_), row
        self._keep(groups, tail, late, newest, open_row)
        self._counters.late += int(np.count_nonzero(late & ~tail))
        self._counters.out_of_order += int(np.count_nonzero(~late & ~tail & (times < before)))
        return tail, ~late & ~tail, row

    def _begin(self, present: NDArray[np.int32], first_ns: NDArray[np.int64]) -> None:
        """Place the lines of series whose first reading this is."""
        new = self._state.newest.data[present] == NEVER
        if new.any():
            slots, first_ns = present[new], first_ns[new]
            self._state.newest.data[slots] = first_ns
            interval = self._state.interval.data[slots]
            if self._moves_lines:
                self._state.shift.data[slots] = phase.first_shift(first_ns, interval)
            elif self._slow_rows is not None:
                self._state.shift.data[slots] = phase.default_shift(interval)

    def _newest_before(
        self, slot: NDArray[np.int32], times: NDArray[np.int64], starts: NDArray[np.intp]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the newest time of the series after and before each reading, int64 [n] each."""
        newest = np.maximum(_running_max(slot, times), self._state.newest.data[slot])
        before = np.empty_like(newest)
        before[1:] = newest[:-1]
        before[starts] = self._state.newest.data[slot[starts]]
        return newest, before

    def _odd(
        self,
        groups: _Groups,
        step: NDArray[np.int64],
        interval: NDArray[np.int64],
        late: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Return which readings need a closer look, bool [n]: slow, far ahead, or late again."""
        assert self._slow_rows is not None
        slot = groups.slot
        odd: NDArray[np.bool_] = step // interval > self._slow_rows
        odd |= step > JUMP_NS + self._lateness_ns
        changed = interval != self._state.base.data[slot]
        if changed.any():
            odd |= changed & (step > 0) & (step * 3 < interval * 2)
        if late.any():
            odd |= late & (
                run_lengths(late, groups.starts, self._state.late_run.data[slot[groups.starts]]) >= LATE_FROM
            )
        return odd

    def _at_lines(
        self, groups: _Groups, bits: NDArray[np.uint16], kept: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Return the first readings of blocks at whose end the lines move, and remember the open blocks.

        Blocks at or after an odd reading are left to the closer look, with the state before them.
        """
        slot = groups.slot
        place: NDArray[np.int64] = groups.before(kept) - kept + self._state.in_block.data[slot]
        block = place // phase.BLOCK
        begins = starts_of(slot, block)
        bits = np.where(kept, bits, 0).astype(np.uint16)
        used = np.bitwise_or.reduceat(bits, begins)
        first = block[begins] == 0
        used[first] |= self._state.bits.data[slot[begins[first]]]
        ends = begins + lengths_of(begins, len(slot)) - 1
        full = place[ends] + kept[ends] == (block[ends] + 1) * phase.BLOCK
        due = np.zeros(len(slot), np.bool_)
        due[begins[full & (phase.moves()[used] != 0)]] = True
        self._block = (place, bits, begins)
        return due

    def _keep(
        self,
        groups: _Groups,
        tail: NDArray[np.bool_],
        late: NDArray[np.bool_],
        newest: NDArray[np.int64],
        open_row: NDArray[np.int64],
    ) -> None:
        """Remember the state of each series after its last usual reading."""
        num = groups.lengths - np.add.reduceat(tail.astype(np.intp), groups.starts)
        some = num > 0
        ends = groups.starts[some] + num[some] - 1
        slots = groups.slot[ends]
        self._state.newest.data[slots] = newest[ends]
        closed = (
            newest[ends] - self._lateness_ns - self._state.shift.data[slots]
        ) // self._state.interval.data[slots]
        self._state.open_row.data[slots] = np.maximum(closed, open_row[ends])
        if self._slow_rows is None:
            return
        if late.any() or self._state.late_run.data[slots].any():
            runs = run_lengths(late, groups.starts, self._state.late_run.data[groups.slot[groups.starts]])
            self._state.late_run.data[slots] = runs[ends]
        if self._moves_lines:
            self._keep_block(slots, ends, tail, late)

    def _keep_block(
        self,
        slots: NDArray[np.int32],
        ends: NDArray[np.intp],
        tail: NDArray[np.bool_],
        late: NDArray[np.bool_],
    ) -> None:
        """Remember what the open block of each series has used."""
        place, bits, begins = self._block
        group = begins[np.searchsorted(begins, ends, side="right") - 1]
        kept = (place[ends] + ~late[ends]).astype(np.int64)
        masked = np.where(tail, 0, bits).astype(np.uint16)
        used = np.bitwise_or.reduceat(masked, begins)[np.searchsorted(begins, group)]
        used = np.where(place[group] < phase.BLOCK, used | self._state.bits.data[slots], used)
        is_open = kept % phase.BLOCK != 0
        self._state.bits.data[slots] = np.where(is_open, used, 0)
        self._state.in_block.data[slots] = kept % phase.BLOCK


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
