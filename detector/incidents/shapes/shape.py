"""Name the shape of an incident by rules over figures of its rows. Where none fits well, it is unclear."""

from __future__ import annotations

from detector.incidents.shapes.explanation import Shape
from detector.incidents.shapes.features import Figures

Named = tuple[Shape, float]
"""A shape, and how clearly it fits, from 0 to 1."""
UNCLEAR: Named = ("unclear", 0.0)
_STUCK_ROWS, _MOST_REPEATS = 8, 0.2
_SHORT_ROWS, _OVER_ROWS = 4, 2
_BOTH_SIDES, _RHYTHM, _ROUGH, _MEMORY = 0.15, 0.6, 1.5, 0.5
_SLOW_ROWS, _SLOW_MEAN_ROWS = 10, 24
_MANY_ROWS, _SOME_ROWS = 20, 6
_WANDERS, _FOLLOWS = 0.27, 0.5


def shape_of(seen: Figures) -> Named:
    """Return the shape of large departures.

    1. stuck           one value again and again, in a channel that moves else
    2. spike           a few rows, and then it is over; before that it is unclear
    3. follows others  lost correlation: the departures move as another channel does
    4. to both sides   a rhythm, a wandering, or noise
    5. to one side     drift where it rose slowly, lost correlation where it wanders, else a level shift
    """
    if seen.equal >= _STUCK_ROWS and seen.repeats < _MOST_REPEATS:
        return "stuck", _clearly(seen.equal, _STUCK_ROWS)
    if seen.rows <= _SHORT_ROWS:
        return ("spike", _clearly(seen.quiet, 1.0)) if seen.quiet >= _OVER_ROWS else UNCLEAR
    if seen.follows >= _FOLLOWS:
        return "lost correlation", seen.follows
    if min(seen.low, seen.high) >= _BOTH_SIDES:
        return _to_both_sides(seen)
    return _to_one_side(seen)


def shape_of_means(seen: Figures) -> Named:
    """Return the shape of small departures that add up, from figures of running means."""
    if seen.rows < _SLOW_ROWS or min(seen.low, seen.high) >= _BOTH_SIDES:
        return UNCLEAR
    grew = abs(seen.end) / max(abs(seen.start), 1e-9)
    if seen.rose >= _SLOW_MEAN_ROWS and grew >= 1.5:
        return "drift", _clearly(grew, 1.0)
    return "level shift", _clearly(abs(seen.start + seen.end) / 2.0, seen.off)


def _to_both_sides(seen: Figures) -> Named:
    if seen.rhythm >= _RHYTHM:
        return "changed period", seen.rhythm
    if seen.memory >= _MEMORY and seen.rough < 2.0:
        return "lost correlation", seen.memory
    if seen.rough >= _ROUGH or seen.memory < 0.35:
        return "noise", _clearly(seen.rough, 1.0)
    return UNCLEAR


def _to_one_side(seen: Figures) -> Named:
    start, end = abs(seen.start), abs(seen.end)
    wanders = seen.off / max(start, end)
    if seen.rough >= _ROUGH and wanders > 0.5 and seen.memory < 0.4:
        return "noise", _clearly(seen.rough, 1.0)
    if seen.rose >= _SLOW_ROWS and end >= 0.7 * start:
        return "drift", _clearly(seen.rose, _SLOW_ROWS / 2)
    if end >= 2.0 * start or seen.start * seen.end < 0:
        is_slow = seen.rose >= _SOME_ROWS or seen.rows >= _MANY_ROWS
        return ("drift", _clearly(seen.rows, _SLOW_ROWS)) if is_slow else UNCLEAR
    if wanders >= _WANDERS and seen.memory >= _MEMORY and seen.rose >= 3:
        return "lost correlation", seen.memory
    return "level shift", max(0.0, 1.0 - wanders)


def _clearly(value: float, half: float) -> float:
    """Return 0 for 0, 1/2 for `half`, and near 1 for much more."""
    return value / (value + half) if value + half > 0 else 0.0
