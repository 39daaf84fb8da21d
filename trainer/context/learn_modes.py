"""Learn from a history how rows settle in each mode, and how long the passages between modes take."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detector.artifact.modes import LEAST_PASSAGES, Modes
from trainer.context.judged_history import HistoryModes

_MARGIN, _BEYOND_LARGEST = 1.5, 1.2
_HIGH, _MANY = 0.95, 20
_MOST_UNLIKE = 4.0
_PASSING_SHARE = 0.1
_MOST_SETTLE = 256
_SETTLE_VISITS = 64
_NEAR = 1.0
_SETTLE_MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class Visit:
    """Hold one stay in a mode: `length` rows from `position`; `left` is the mode before, -1: unknown.

    is_whole  it begins and ends within the segment
    """

    mode: int
    left: int
    position: int
    length: int
    is_whole: bool


def visits_of(decided: HistoryModes) -> list[Visit]:
    """Return the stays in modes, by segment and time."""
    found: list[Visit] = []
    for segment in decided.history.segments:
        mode = decided.of(segment).mode
        edges = np.concatenate([[0], np.flatnonzero(np.diff(mode)) + 1, [len(mode)]])
        for number, (start, stop) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
            left = int(mode[start - 1]) if start else -1
            whole = 0 < number < len(edges) - 2
            found.append(Visit(int(mode[start]), left, segment.position + start, stop - start, whole))
    return found


def learnt(modes: Modes, decided: HistoryModes, settle: dict[str, int]) -> Modes:
    """Return the modes with what the history shows about their changes.

    Args:
        modes: The conditions of the modes.
        decided: The modes of the rows of the history.
        settle: Rows after a change that are not judged, by mode; for other modes they are learnt.

    A long passage is judged in the channels that some mode judges.
    """
    visits, other = visits_of(decided), len(modes.modes)
    total = sum(segment.length for segment in decided.history.segments)
    rows = np.bincount([one.mode % (other + 1) for one in visits], [one.length for one in visits], other + 1)
    between = [one for one in visits if one.mode == other and one.is_whole]
    passing = 0
    if other >= 2 and between and rows[other] <= _PASSING_SHARE * total:
        passing = usual_rows(np.array([one.length for one in between]))
    every = []
    for number, mode in enumerate(modes.all):
        mine = np.array([one.length for one in between if one.left == number], np.int64)
        rows_to_settle = 0 if number == other and passing else settle.get(mode.name)
        if rows_to_settle is None:
            rows_to_settle = _settling(decided, [one for one in visits if one.mode == number])
        every.append(
            replace(
                mode,
                settle_rows=rows_to_settle,
                usual_rows=0 if number == other else _limit_of(mine),
                passages=len(mine),
                share=float(rows[number] / max(total, 1)),
            )
        )
    last = every[-1]
    if passing:
        channels = decided.history.channels
        judged = tuple(name for name in channels if any(mode.judges(name) for mode in modes.modes))
        last = replace(last, judge=judged)
    return replace(modes, modes=tuple(every[:-1]), other=last, passing_rows=passing)


def _limit_of(lengths: NDArray[np.int64]) -> int:
    """Return the rows that passages usually take at most; 0 if they are few, or too unlike each other."""
    if len(lengths) < LEAST_PASSAGES:
        return 0
    usual = usual_rows(lengths)
    return 0 if usual > _MOST_UNLIKE * float(np.median(lengths)) + 3 else usual


def usual_rows(lengths: NDArray[np.int64]) -> int:
    """Return how many rows passages of these lengths, int64 [n], usually take at most.

    It is a high quantile with a margin, and above the largest. Of many passages the two largest may be
    faults.

    >>> usual_rows(np.array([10, 11, 9, 10, 12]))
    19
    """
    ordered = np.sort(lengths)
    largest = ordered[-3] if len(ordered) >= _MANY else ordered[-1]
    high = float(np.quantile(ordered, _HIGH))
    return 1 + int(np.ceil(max(_MARGIN * high, _BEYOND_LARGEST * float(largest))))


def _settling(decided: HistoryModes, visits: list[Visit]) -> int:
    """Return after how many rows the values of a mode are as they usually are in it.

    It looks at the median course of each channel over visits: after that row it stays within one usual
    deviation of where it ends. Without three visits, or with short ones, nothing is known and it is 0.
    """
    entered = [one for one in visits if one.left >= 0 and one.length >= 8]
    if len(entered) < 3:
        return 0
    span = int(min(_MOST_SETTLE, np.median([one.length for one in entered]) // 2))
    long = [one for one in entered if one.length >= 2 * span]
    step = max(1, len(long) // _SETTLE_VISITS)
    history = decided.history
    courses = np.stack([history.read(one.position, one.position + 2 * span) for one in long[::step]])
    with np.errstate(invalid="ignore"):
        course = _median(courses)
    late = courses[:, span:].reshape(-1, courses.shape[2])
    center = _median(late)
    spread = 1.4826 * _median(np.abs(late - center))
    smallest = 1e-9 + 1e-3 * np.abs(_median(np.abs(courses[:, 0] - center)))
    far = np.abs(course[:span] - center) > _NEAR * np.maximum(spread, smallest)
    rows = np.flatnonzero(far.any(axis=1))
    return int(min(np.ceil(_SETTLE_MARGIN * (rows.max(initial=-1) + 1)), span))


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median over the first axis; 0 where nothing is known."""
    known = ~np.isnan(values).all(axis=0)
    found: NDArray[np.float64] = np.nanmedian(np.where(known, values, 0.0), axis=0)
    return found
