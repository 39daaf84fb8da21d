"""Where the lines of a series' grid lie, so that its readings fall between them and not on them.

A series has the interval I. Its row k begins at k * I + shift, ends I later, and is named k * I. A shift
starts at -I/8: readings on whole intervals, early or late by some milliseconds, keep the row of their time.
The lines move only for readings that come where a line is.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

BINS = 16
"""A row is cut into so many equal parts; the parts in which readings came are the bits of a uint16."""
BLOCK = 32
"""So many readings show where the readings of a series come."""
_FREE = 4
"""Lines move only into a stretch of at least so many free parts, so that irregular readings move nothing."""
_EDGE = 1 | 1 << (BINS - 1)


def default_shift(interval_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the shift of series that have not sent yet, int64, the shape of `interval_ns`."""
    return -(interval_ns // 8)


def first_shift(time_ns: NDArray[np.int64], interval_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the shift of series by their first readings: the default, unless these come at its lines.

    Args:
        time_ns: The first reading of each series, int64 [n].
        interval_ns: The interval of each series, int64 [n].

    >>> ten = np.array([10_000, 10_000])
    >>> first_shift(np.array([50_003, 58_700]), ten).tolist()  # at 3 and at 8,700 of 10,000
    [-1250, 3700]
    """
    shift = default_shift(interval_ns)
    inside = (time_ns - shift) % interval_ns
    distance = np.minimum(inside, interval_ns - inside)
    middle = inside - interval_ns // 2 + shift
    # Before the line a reading belongs to the row that begins there, after it to the row that ended there.
    middle = np.where(middle < -(interval_ns // 8) * 5, middle + interval_ns, middle)
    chosen: NDArray[np.int64] = np.where(distance * BINS < interval_ns, middle, shift)
    return chosen


def bits_of(
    time_ns: NDArray[np.int64], shift_ns: NDArray[np.int64], interval_ns: NDArray[np.int64]
) -> NDArray[np.uint16]:
    """Return the bit of the part of its row in which each reading comes, uint16 [n]."""
    inside = (time_ns - shift_ns) % interval_ns
    # Divided first where the product could overflow; intervals are far above BINS nanoseconds there.
    part = np.where(
        interval_ns < 1 << 58, inside * BINS // interval_ns, inside // np.maximum(interval_ns // BINS, 1)
    )
    bits: NDArray[np.uint16] = np.left_shift(np.uint16(1), np.minimum(part, BINS - 1).astype(np.uint16))
    return bits


@functools.cache
def moves() -> NDArray[np.int8]:
    """Return for each set of parts with readings by how many parts the lines move, int8 [65,536].

    The lines move into the middle of the longest free stretch, if readings come next to a line now.
    0: the lines stay.
    """
    used = np.arange(1 << BINS)[:, None] >> np.arange(2 * BINS) % BINS & 1
    free = np.zeros(used.shape, np.int64)
    for at in range(2 * BINS):
        before = free[:, at - 1] if at else np.zeros(len(used), np.int64)
        free[:, at] = np.where(used[:, at], 0, before + 1)
    length = np.minimum(free.max(axis=1), BINS)
    end = free.argmax(axis=1)
    move = (end + 1 - length // 2) % BINS
    is_due = (length >= _FREE) & (length < BINS) & ((np.arange(1 << BINS) & _EDGE) != 0)
    return np.where(is_due, move, 0).astype(np.int8)


def moved(shift: int, move: int, interval: int, newest: int) -> int:
    """Return the shift after the lines moved by `move` parts; the row of the time `newest` keeps its number.

    >>> moved(-1250, 8, 10_000, newest=8_800)  # this reading came next to a line
    -6250
    """
    later = shift + move * interval // BINS
    if (newest - later) // interval == (newest - shift) // interval:
        return later
    return later - interval
