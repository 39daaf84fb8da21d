"""The course of an open incident: its rows and those before it, in bounded memory.

The first rows are kept whole, and the later ones at a distance that doubles whenever they become too many.
Which rows are kept depends on their number alone, so that neither batches nor restarts matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.incidents.shapes.recent_rows import Stretch

FIRST_ROWS, LATER_ROWS = 32, 64


@dataclass(slots=True)
class Course:
    """What is kept of the rows of an open incident, as bytes. It is part of the snapshot.

    first   the rows until the incident opened, and the `FIRST_ROWS` after it: times and cells
    later   every `stride`-th row from the opening on, at most `LATER_ROWS`
    num     known rows since the opening; the row of the opening is number 0
    looked  `num` at which the explanation was made last
    """

    first: tuple[bytes, bytes]
    later: tuple[bytes, bytes]
    stride: int = 1
    num: int = 0
    looked: int = 0


def course_from(before: Stretch) -> Course:
    """Return the course of an incident that opens at the last of these rows."""
    return Course(_packed(before), _packed(before.take(slice(-1, None))))


def go_on(course: Course, rows: Stretch) -> None:
    """Add the next known rows of the incident to its course."""
    if len(rows) == 0:
        return
    number = course.num + 1 + np.arange(len(rows))
    if course.num < FIRST_ROWS:
        course.first = _added(course.first, rows.take(np.flatnonzero(number <= FIRST_ROWS)))
    course.num += len(rows)
    while course.num // course.stride >= LATER_ROWS:
        course.stride *= 2
        course.later = _thinned(course.later, rows)
    course.later = _added(course.later, rows.take(np.flatnonzero(number % course.stride == 0)))


def rows_of(course: Course, newest: Stretch) -> Stretch:
    """Return all rows of a course that are kept, with the newest rows of its series."""
    width = newest.cells.shape[2]
    kept = (_unpacked(course.first, width), _unpacked(course.later, width))
    return Stretch.joined(*kept, newest)


def _packed(rows: Stretch) -> tuple[bytes, bytes]:
    return rows.when.tobytes(), np.ascontiguousarray(rows.cells).tobytes()


def _unpacked(packed: tuple[bytes, bytes], width: int) -> Stretch:
    cells = np.frombuffer(packed[1], np.float32).reshape(-1, 2, width)
    return Stretch(np.frombuffer(packed[0], np.int64), cells)


def _added(packed: tuple[bytes, bytes], rows: Stretch) -> tuple[bytes, bytes]:
    more = _packed(rows)
    return packed[0] + more[0], packed[1] + more[1]


def _thinned(packed: tuple[bytes, bytes], rows: Stretch) -> tuple[bytes, bytes]:
    """Return every second of the rows that are kept."""
    kept = _unpacked(packed, rows.cells.shape[2])
    return _packed(kept.take(slice(None, None, 2)))
