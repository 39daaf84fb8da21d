"""Choose the rows whose errors show what recurs, where five weeks have more rows than may be scored.

Rows of a second are 3 million in five weeks. All are read, and their range in each slot of each day is kept.
Where a slot of the day or week has a wide range in most of its occurrences, something may recur. The newest
occurrences of these slots, and of their neighbours, are chosen. The rest are evenly chosen slots: they show
what is usual at all times.

Letters: K runs, C channels, S slots a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from detector.scoring.context.profile import WeekClock
from trainer.data.history import History, Segment

_BLOCK = 1 << 14
_HIGH, _LEAST_SHARE, _LEAST = 0.9, 0.6, 4
_DAYS, _WEEKS = 12, 5
"""So many newest occurrences of a slot are chosen: days, and of what recurs by week also so many weeks."""
_FOR_RECURRING = 0.6
"""Share of the rows for slots in which something may recur."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Hold rows of one slot of one day each.

    Attributes:
        segments: K of them, in the order of time.
        day: int64 [K], local day.
        slot: int64 [K], of the day.
    """

    segments: tuple[Segment, ...]
    day: NDArray[np.int64]
    slot: NDArray[np.int64]


def runs_of(history: History, segments: tuple[Segment, ...], clock: WeekClock) -> Runs:
    """Return the rows of segments of one series by slots."""
    found: list[Segment] = []
    keys: list[tuple[int, int]] = []
    for segment in segments:
        interval_ns = history.intervals.get(segment.series, history.interval_ns)
        begins = True
        for start in range(0, segment.length, _BLOCK):
            row = segment.row + np.arange(start, min(segment.length, start + _BLOCK))
            day, slot = clock.slots(row * interval_ns)
            changes = np.flatnonzero(np.diff(day) | np.diff(slot)) + 1
            for first, last in pairwise([0, *changes.tolist(), len(row)]):
                at, key = segment.position + start, (int(day[first]), int(slot[first]))
                part = segment.cut(at + first, at + last)
                if not begins and key == keys[-1]:
                    part = segment.cut(found.pop().position, at + last)
                    keys.pop()
                if part is not None:
                    found.append(part)
                    keys.append(key)
                begins = False
    days, slots = np.array(keys, np.int64).reshape(-1, 2).T
    return Runs(tuple(found), days, slots)


def chosen_runs(
    history: History, segments: tuple[Segment, ...], clock: WeekClock, most: int
) -> tuple[tuple[Segment, ...], frozenset[tuple[int, int]]]:
    """Return at most about so many rows, whole slots each, and the days and slots of the evenly chosen ones.

    Args:
        history: The rows.
        segments: Of one series.
        clock: Places times in slots.
        most: So many rows are chosen.
    """
    runs = runs_of(history, segments, clock)
    longest = max(one.length for one in runs.segments)
    room = max(1, most // longest)
    first = _recurring(runs, _widths(history, runs), clock.weekdays(runs.day))[: int(_FOR_RECURRING * room)]
    left = max(1, room - len(first))
    num = len(runs.segments)
    even = np.unique(np.arange(left) * num // left)
    at = np.union1d(first, even)
    keys = zip(runs.day[even].tolist(), runs.slot[even].tolist(), strict=True)
    return tuple(runs.segments[one] for one in at.tolist()), frozenset(keys)


def _widths(history: History, runs: Runs) -> NDArray[np.float64]:
    """Return the widest range of a channel in each run, in units of its usual range, float64 [K]."""
    width = np.zeros((len(runs.segments), len(history.channels)))
    for at, one in enumerate(runs.segments):
        values = history.read(one.position, one.stop)
        known = ~np.isnan(values)
        highest = np.where(known, values, -np.inf).max(axis=0)
        lowest = np.where(known, values, np.inf).min(axis=0)
        width[at] = np.where(known.any(axis=0), highest - lowest, 0.0)
    usual = np.median(width, axis=0)
    widest: NDArray[np.float64] = (width / np.where(usual > 0, usual, np.inf)).max(axis=1)
    return widest


def _recurring(runs: Runs, width: NDArray[np.float64], weekday: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return runs of slots that are wide in most of their occurrences, widest first, intp [k]."""
    high = width > np.quantile(width, _HIGH)
    order: dict[int, float] = {}
    slots = int(runs.slot.max()) + 1
    for number, kept in ((runs.slot, _DAYS), (slots + weekday * slots + runs.slot, _WEEKS)):
        for one in np.unique(number[weekday >= 0]).tolist():
            mine = np.flatnonzero(number == one)
            if len(mine) < _LEAST or high[mine].mean() < _LEAST_SHARE:
                continue
            size = float(np.median(width[mine]))
            # What recurs by week must not look as if it came every day: other days are chosen too.
            every_day = np.flatnonzero(runs.slot == runs.slot[mine[0]])
            for at in np.union1d(mine[-kept:], every_day[-_DAYS:]).tolist():
                for near in range(max(0, at - 1), min(len(width), at + 2)):
                    order[near] = max(order.get(near, 0.0), size)
    return np.array(sorted(order, key=lambda at: -order[at]), np.intp)
