"""Figures of the rows of an incident from which its shape follows. Departures are in units of the usual band.

Letters: n rows, K other channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
USUAL = 0.6
"""A departure up to this share of the band is usual."""
_MUCH, _ONE_SIDED = 0.35, 0.75
_LEAST_ROWS, _LEAST_TOGETHER = 4, 10
_FREQUENCIES = 1.0 / np.arange(2.5, 24.1, 0.5)
"""Cycles a row of the rhythms that are tried."""
_CYCLES = 1.5


@dataclass(frozen=True, slots=True)
class Figures:
    """What can be measured in one channel of an incident.

    rows      rows from the first to the last one that departs much
    quiet     rows after them
    rose      rows from the last usual one to most of the departure
    size      the greatest departure
    low, high   share of the rows that depart clearly to each side
    start, end  of the line through the departures
    off       root mean square distance of the departures from that line
    memory    correlation of neighbours of these distances
    rhythm    share of the variance that one sine explains; 0 where there are too few cycles
    rough     size of the steps from row to row, in units of those before
    equal     the most rows in a row with one and the same value
    repeats   share of the other rows that repeat the value before them
    follows   squared correlation of the departures with another channel, the greatest one, both without their
              lines; 0 with fewer than 10 rows
    """

    rows: int
    quiet: int
    rose: int
    size: float
    low: float
    high: float
    start: float
    end: float
    off: float
    memory: float
    rhythm: float
    rough: float
    equal: int
    repeats: float
    follows: float = 0.0


def figures_of(
    when: NDArray[np.int64], actual: Values, departure: Values, start: int, others: Values
) -> Figures:
    """Return the figures of one channel of an incident.

    Args:
        when: numbers of the rows, int64 [n], ascending; later ones may lie apart.
        actual: float64 [n], without NaN.
        departure: actual minus expected values, in units of the band, float64 [n].
        start: index of the first bad row.
        others: actual values of the other channels, float64 [n, K]; one with NaN in the incident is left out.
    """
    first, last = _bounds(departure, start)
    inside = slice(first, last + 1)
    at = when[inside] - when[first]
    line, left = _line(at, departure[inside])
    run = _in_a_row(when[inside])
    equal, repeats = _repeats(actual)
    return Figures(
        rows=int(at[-1]) + 1,
        quiet=int(when[-1] - when[last]),
        rose=_rose(when, departure, first, last),
        size=float(np.abs(departure[inside]).max()),
        low=float(np.mean(departure[inside] < -USUAL)),
        high=float(np.mean(departure[inside] > USUAL)),
        start=line[0],
        end=line[1],
        off=float(np.sqrt(np.mean(np.square(left)))),
        memory=_memory(left[run]),
        rhythm=_rhythm(departure[inside][run]),
        rough=_roughness(when, actual, first, last),
        equal=equal,
        repeats=repeats,
        follows=_follows(at, left, others[inside]),
    )


def _bounds(departure: Values, start: int) -> tuple[int, int]:
    """Return the first and the last row that depart.

    What follows a fault is left out: it is much smaller, or a swing to the other side.
    """
    size = np.abs(departure)
    loud = start + np.flatnonzero(size[start:] > USUAL)
    if len(loud) == 0:
        return start, start
    least = max(USUAL, _MUCH * float(size[loud].max()))
    great = loud[size[loud] >= least]
    side = np.sign(departure[loud].sum())
    same = departure[great] * side > 0
    if np.mean(departure[loud] * side > 0) >= _ONE_SIDED and same.any():
        great = great[same]
    return int(loud[0]), int(max(great[-1], loud[0]))


def _line(x: NDArray[np.int64], y: Values) -> tuple[tuple[float, float], Values]:
    """Return the ends of the line through the points, and their distances from it."""
    if len(y) < _LEAST_ROWS:
        return (float(y[0]), float(y[-1])), np.zeros(len(y))
    centred = x - x.mean()
    slope = float(centred @ y) / float(centred @ centred)
    fitted = y.mean() + slope * centred
    return (float(fitted[0]), float(fitted[-1])), y - fitted


def _follows(at: NDArray[np.int64], left: Values, others: Values) -> float:
    """Return the greatest squared correlation of what is left of departures with another channel.

    A channel that is coupled as usual departs from what is expected in a way of its own. One that moves by
    itself lacks the movements of the others, which are expected of it.
    """
    total = float(left @ left)
    if len(at) < _LEAST_TOGETHER or total == 0:
        return 0.0
    best = 0.0
    for values in others[:, np.isfinite(others).all(axis=0)].T:
        moves = _line(at, values)[1]
        size = float(moves @ moves)
        if size > 1e-12 * float(values @ values):
            best = max(best, float(moves @ left) ** 2 / (size * total))
    return best


def _memory(left: Values) -> float:
    """Return the correlation of neighbours."""
    total = float(left @ left)
    return float(left[1:] @ left[:-1]) / total if len(left) >= 2 * _LEAST_ROWS and total > 0 else 0.0


def _in_a_row(when: NDArray[np.int64]) -> slice:
    """Return the longest first part without a hole."""
    holes = np.flatnonzero(np.diff(when) != 1)
    return slice(0, int(holes[0]) + 1 if len(holes) else len(when))


def _rose(when: NDArray[np.int64], departure: Values, first: int, last: int) -> int:
    """Return in how many rows the departure rose to half of its greatest size at the beginning."""
    inside = departure[first : last + 1]
    side = 1.0 if np.sum(inside) >= 0 else -1.0
    size = float(np.percentile(side * inside, 75))
    high = np.flatnonzero(side * inside >= 0.75 * size)
    calm = np.flatnonzero(side * departure[:first] < min(USUAL / 2, 0.25 * size))
    begin = int(when[calm[-1]]) if len(calm) else int(when[0])
    return int(when[first + int(high[0])]) - begin if len(high) else 0


def _rhythm(run: Values) -> float:
    """Return the share of the variance that the best sine explains; at least one and a half cycles count."""
    frequencies = _FREQUENCIES[_FREQUENCIES * len(run) >= _CYCLES]
    total = float(np.sum(np.square(run - run.mean()))) if len(run) else 0.0
    if len(run) < 2 * _LEAST_ROWS or total == 0 or len(frequencies) == 0:
        return 0.0
    angle = 2 * np.pi * frequencies[:, None] * np.arange(len(run))
    best = 0.0
    for one in angle:
        basis = np.stack([np.ones(len(run)), np.cos(one), np.sin(one)], axis=1)
        left = run - basis @ np.linalg.lstsq(basis, run, rcond=None)[0]
        best = max(best, 1.0 - float(np.sum(np.square(left))) / total)
    return best


def _roughness(when: NDArray[np.int64], actual: Values, first: int, last: int) -> float:
    """Return how large steps from row to row are within the incident, in units of those before it."""
    steps, near = np.abs(np.diff(actual)), np.diff(when) == 1
    before, inside = steps[:first][near[:first]][:-1], steps[first:last][near[first:last]]
    if len(before) < _LEAST_ROWS or len(inside) < _LEAST_ROWS:
        return 1.0
    usual = float(np.sqrt(np.mean(np.square(before))))
    return float(np.sqrt(np.mean(np.square(inside)))) / usual if usual > 0 else np.inf


def _repeats(values: Values) -> tuple[int, float]:
    """Return the longest run of equal values, and the share of repeated values in all other rows."""
    starts = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
    longest = int(np.diff(np.append(starts, len(values))).max())
    others = len(values) - longest
    return longest, (others - (len(starts) - 1)) / others if others else 0.0
