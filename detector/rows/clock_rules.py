"""Follow the clock of one series, reading by reading: what is believed, held, dropped, and what starts again.

The rules are listed in `detector.rows.series_clock`, which takes readings of usual times in columns.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from statistics import median
from typing import Literal

import msgspec
import numpy as np

from detector.rows import phase
from detector.rows.series_arrays import SeriesArray

NEVER = np.iinfo(np.int64).min // 2
JUMP_ROWS, JUMP_NS = 10, 60 * 10**9
"""A reading is far ahead if it is ahead by more rows than this, and by longer than this and the lateness."""
CONFIRM = 3
LATE_FROM, RESTART_AFTER = 3, 60
RATE_STEPS = 16
_MOST_HELD = 4096

Turn = Literal["clock went back", "interval changed"]
News = Turn | Literal["wrong clock"]
"""What people are told of the clock of a series; the last one: readings far ahead were dropped."""
Taken = tuple[int, int, int, bytes]
"""Slot, time, row and values of a reading that was believed."""


@dataclass(slots=True)
class ClockCounters:
    """Count what the rules decided. A reading that was dropped is in `late` or in `suspect_dropped`.

    late              readings dropped because their row was closed
    out_of_order      readings older than the newest of their series, but in time
    suspect           readings held back because of their time; they were taken or dropped later
    suspect_dropped   those of them that were dropped because they were far ahead
    clock_restarts    times that a series started again because its clock went back
    interval_changes  times that a series got rows of another length
    """

    late: int = 0
    out_of_order: int = 0
    suspect: int = 0
    suspect_dropped: int = 0
    clock_restarts: int = 0
    interval_changes: int = 0

    def add(self, more: ClockCounters) -> None:
        """Add other counts to these, in place."""
        for one in fields(more):
            setattr(self, one.name, getattr(self, one.name) + getattr(more, one.name))

    def clear(self) -> None:
        """Count from zero again."""
        for one in fields(self):
            setattr(self, one.name, 0)


class ClockState:
    """Hold what is known of the clock of every series, in arrays.

    newest    newest time that was believed
    open_row  first row that is still open
    interval  length of a row; base: the length that training found, or that of the model
    shift     where the lines lie (`detector.rows.phase`)
    bits      parts of the row in which readings came in the last `in_block` readings
    late_run  late readings in a row
    """

    def __init__(self, interval_ns: int) -> None:
        self.newest = SeriesArray((), np.int64, NEVER)
        self.open_row = SeriesArray((), np.int64, NEVER)
        self.interval = SeriesArray((), np.int64, interval_ns)
        self.base = SeriesArray((), np.int64, interval_ns)
        self.shift = SeriesArray((), np.int64, 0)
        self.bits = SeriesArray((), np.uint16, 0)
        self.in_block = SeriesArray((), np.uint8, 0)
        self.late_run = SeriesArray((), np.int32, 0)

    def arrays(self) -> list[SeriesArray]:
        """Return the arrays in the order of the snapshot's cells; the newest time comes first."""
        return [*vars(self).values()]


class Doubt(msgspec.Struct, array_like=True):
    """What is in doubt about one series, besides its entries in `ClockState`.

    held    (time, values as bytes) of readings far ahead, in order of arrival
    ahead   times in a row that confirm each other
    since   readings on the old clock since the first of them
    late    (time, values as bytes) of late readings in a row, from the third on
    starts  times after steps that are too long for the interval
    crowd   readings since the newest of these times
    fast    steps in a row that are short for the interval
    """

    held: list[tuple[int, bytes]] = []
    ahead: list[int] = []
    since: int = 0
    late: list[tuple[int, bytes]] = []
    starts: list[int] = []
    crowd: int = 0
    fast: list[int] = []

    def is_settled(self) -> bool:
        """Return whether nothing is in doubt any more."""
        return not (self.held or self.late or self.starts or self.fast)


class Follower:
    """Take readings of one series one by one.

    Args:
        state: The arrays; the entries of `slot` are updated.
        slot: Number of the series.
        doubt: What was in doubt before; it is updated.
        counters: Count what is decided.
    """

    def __init__(self, state: ClockState, slot: int, doubt: Doubt, counters: ClockCounters) -> None:
        self._state, self._slot, self._counters = state, slot, counters
        self.doubt = doubt
        self.taken: list[Taken] = []
        self.refuted = False
        self.turn: Turn | None = None
        self.again: list[tuple[int, bytes]] = []

    def limit(self, num_channels: int, lateness_ns: int, slow_rows: int) -> None:
        """Set the limits; see `detector.rows.series_clock.SeriesClocks`."""
        self._num_channels, self._lateness_ns, self._slow_rows = num_channels, lateness_ns, slow_rows

    def take(self, time: int, values: bytes) -> None:
        """Take the next reading. If the series starts again, `turn` says why, and `again` what to repeat."""
        if time > self._newest + self._jump:
            self._hold(time, values)
        elif self._row(time) < self._first_open():
            self._note_late(time, values)
        else:
            self._go_on(time)
            self._accept_all([(time, values)])

    @property
    def _newest(self) -> int:
        return int(self._state.newest.data[self._slot])

    @property
    def _interval(self) -> int:
        return int(self._state.interval.data[self._slot])

    @property
    def _jump(self) -> int:
        return max(JUMP_ROWS * self._interval, JUMP_NS) + self._lateness_ns

    def _row(self, time: int) -> int:
        return (time - int(self._state.shift.data[self._slot])) // self._interval

    def _first_open(self) -> int:
        return max(int(self._state.open_row.data[self._slot]), self._row(self._newest - self._lateness_ns))

    def _hold(self, time: int, values: bytes) -> None:
        """Hold a reading far ahead; take all that are held once enough of them confirm each other."""
        doubt = self.doubt
        self._counters.suspect += 1
        if len(doubt.held) >= _MOST_HELD:
            self._counters.suspect_dropped += 1
            return
        doubt.held.append((time, values))
        if doubt.ahead and time < doubt.ahead[-1] - self._jump:
            doubt.ahead = []
        if not doubt.ahead or time > doubt.ahead[-1]:
            doubt.ahead.append(time)
        if len(doubt.ahead) >= CONFIRM:
            limit = doubt.ahead[-1] + self._jump
            confirmed = [one for one in doubt.held if one[0] <= limit]
            self._counters.suspect_dropped += len(doubt.held) - len(confirmed)
            doubt.held, doubt.ahead, doubt.since = [], [], 0
            self._accept_all(confirmed)

    def _go_on(self, time: int) -> None:
        """Note a reading on the old clock: enough of them refute the readings that are held."""
        doubt = self.doubt
        if not doubt.held or time <= self._newest:
            return
        doubt.ahead = []
        doubt.since += 1
        if doubt.since >= CONFIRM:
            self._counters.suspect_dropped += len(doubt.held)
            self.refuted = True
            doubt.held, doubt.since = [], 0

    def _note_late(self, time: int, values: bytes) -> None:
        """Count a late reading; start again if so many in a row follow each other."""
        state, late = self._state, self.doubt.late
        state.late_run.data[self._slot] += 1
        if state.late_run.data[self._slot] < LATE_FROM:
            self._counters.late += 1
            return
        if late and (time < late[-1][0] or len(late) >= _MOST_HELD):
            self._drop_late()
        self._counters.suspect += 1
        self.doubt.late.append((time, values))
        if len({one[0] for one in self.doubt.late}) > RESTART_AFTER - LATE_FROM:
            self.again, self.doubt.late = self.doubt.late, []
            self._start_again()

    def _drop_late(self) -> None:
        self._counters.late += len(self.doubt.late)
        self.doubt.late = []

    def _start_again(self) -> None:
        """Forget the clock of the series: the next reading is its first."""
        self._counters.clock_restarts += 1
        self._counters.suspect_dropped += len(self.doubt.held)
        self.doubt = Doubt()
        interval, base = self._interval, int(self._state.base.data[self._slot])
        for array in self._state.arrays():
            array.reset(np.array([self._slot], np.int32))
        self._state.interval.data[self._slot] = interval
        self._state.base.data[self._slot] = base
        self.turn = "clock went back"

    def _accept_all(self, readings: list[tuple[int, bytes]]) -> None:
        """Take readings in their order; those after a change of the interval are repeated."""
        for at, (time, values) in enumerate(readings):
            if self._row(time) < self._first_open():
                self._note_late(time, values)
            elif time > self._newest and self._changes_interval(time):
                self.turn = "interval changed"
                self.again = readings[at:]
            else:
                self._accept(time, values)
            if self.turn is not None:
                break

    def _accept(self, time: int, values: bytes) -> None:
        """Take a reading whose row is open."""
        state, slot, newest = self._state, self._slot, self._newest
        self._drop_late()
        state.late_run.data[slot] = 0
        self._counters.out_of_order += time < newest
        self.taken.append((slot, time, self._row(time), values))
        state.newest.data[slot] = max(newest, time)
        state.open_row.data[slot] = self._first_open()
        if not self._lateness_ns:
            self._note_place(time)

    def _note_place(self, time: int) -> None:
        """Note where in its row a reading came, and move the lines after a block of readings.

        A shift of a whole row becomes a row more or less.
        """
        state, slot, interval = self._state, self._slot, self._interval
        place = (np.array([number]) for number in (time, state.shift.data[slot], interval))
        state.bits.data[slot] |= phase.bits_of(*place)[0]
        state.in_block.data[slot] += 1
        if state.in_block.data[slot] < phase.BLOCK:
            return
        move = int(phase.moves()[state.bits.data[slot]])
        state.bits.data[slot] = state.in_block.data[slot] = 0
        if move:
            shift = phase.moved(int(state.shift.data[slot]), move, interval, self._newest)
            if abs(shift) >= interval:
                shift -= interval if shift > 0 else -interval
            state.shift.data[slot] = shift

    def _changes_interval(self, time: int) -> bool:
        """Note the step to `time`; return whether rows have another length from this reading on."""
        doubt, interval = self.doubt, self._interval
        step = time - self._newest
        if step // interval > self._slow_rows:
            doubt.starts.append(time)
            doubt.crowd = 1
        else:
            doubt.crowd += 1
            if doubt.crowd > self._num_channels:
                doubt.starts = []
        base = int(self._state.base.data[self._slot])
        is_fast = interval > base and step * 3 < interval * 2
        doubt.fast = [*doubt.fast, step] if is_fast else []
        if len(doubt.starts) > RATE_STEPS:
            return self._use(_round(int(median(b - a for a, b in pairwise(doubt.starts))), base))
        if len(doubt.fast) >= RATE_STEPS:
            return self._use(max(base, _round(int(median(doubt.fast)), base)))
        return False

    def _use(self, interval: int) -> bool:
        """Use rows of this length from the next reading on; return whether it is another length."""
        self.doubt.starts, self.doubt.fast, self.doubt.crowd = [], [], 0
        if interval == self._interval:
            return False
        state, slot, newest = self._state, self._slot, self._newest
        self._counters.interval_changes += 1
        inside = newest % interval
        state.interval.data[slot] = interval
        state.shift.data[slot] = inside - interval // 2 - (interval if inside * 8 >= interval * 7 else 0)
        state.open_row.data[slot] = self._row(newest) + 1
        state.bits.data[slot] = state.in_block.data[slot] = 0
        return True


def _round(step: int, base: int) -> int:
    """Return a step, as a multiple of `base` where it is nearly one.

    >>> _round(60_003, 1_000), _round(2_500, 1_000)
    (60000, 2500)
    """
    multiple = round(step / base) * base
    return multiple if abs(step - multiple) * 50 <= step else step
