"""Find modes of operation in a history: a channel that stays on one of several levels, far from the others.

Between two levels the histogram has a wide valley with hardly a row. The machine stays on each level for many
rows, and changes often enough. Loads that move smoothly spend much of their time between their levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.modes import Condition, Mode, Modes
from trainer.data.history import History

_BINS = 128
_WIDE, _EMPTY = 0.2, 0.02
"""Least width of a valley as a share of the range, and most rows in it as a share of all."""
_LEAST_LEVEL = 0.05
_DWELL_ROWS, _LEAST_VISITS = 20, 5
_OTHERS = 0.5
"""At least this share of the series must have been on every level."""
_MOST_LEVELS = 4
_KEPT_ROWS = 200_000
_ENDS = (0.001, 0.999)


@dataclass(frozen=True, slots=True)
class _Valley:
    """A stretch of values, in the units of the channel, with hardly a row in it."""

    low: float
    high: float

    @property
    def edges(self) -> tuple[float, float]:
        """Return the bounds of the levels on both sides: a quarter of the valley belongs to each."""
        quarter = (self.high - self.low) / 4.0
        return self.low + quarter, self.high - quarter


def found_modes(history: History) -> Modes | None:
    """Return the modes of the channel with the widest valley; None where no channel has clear levels."""
    stretches = _newest(history)
    best: tuple[float, str, list[_Valley]] | None = None
    for at, channel in enumerate(history.channels):
        columns = [(series, values[:, at]) for series, values in stretches]
        valleys = _valleys(np.concatenate([values for _, values in columns]))
        if not valleys or not _stays(columns, valleys):
            continue
        span = max(one.high for one in valleys) - min(one.low for one in valleys)
        widest = max(one.high - one.low for one in valleys) / max(span, _range(columns))
        if best is None or widest > best[0]:
            best = widest, channel, valleys
    return None if best is None else Modes(_modes(best[1], best[2]), found=True)


def _newest(history: History) -> list[tuple[str, NDArray[np.float64]]]:
    """Return the newest rows of each segment, about 200,000 in all."""
    share = min(1.0, _KEPT_ROWS / history.num_rows)
    return [
        (one.series, history.read(one.stop - int(np.ceil(one.length * share)), one.stop))
        for one in history.segments
    ]


def _range(columns: list[tuple[str, NDArray[np.float64]]]) -> float:
    """Return the range of a channel without its farthest values."""
    values = np.concatenate([values for _, values in columns])
    low, high = np.quantile(values[~np.isnan(values)], _ENDS)
    return float(high - low)


def _valleys(values: NDArray[np.float64]) -> list[_Valley]:
    """Return the valleys between the levels of a channel, from low to high; none where it has one level."""
    values = values[~np.isnan(values)]
    if len(values) < 2 * _DWELL_ROWS * _LEAST_VISITS:
        return []
    low, high = (float(end) for end in np.quantile(values, _ENDS))
    if not (high > low and np.isfinite(high - low)):
        return []
    counts, edges = np.histogram(np.clip(values, low, high), _BINS, (low, high))
    below = np.concatenate([[0], np.cumsum(counts)]) / len(values)
    found: list[_Valley] = []
    _split(below, edges, 0, _BINS, found)
    return sorted(found[: _MOST_LEVELS - 1], key=lambda one: one.low)


def _split(
    below: NDArray[np.float64], edges: NDArray[np.float64], first: int, last: int, found: list[_Valley]
) -> None:
    """Add the widest valley among the bins first..last, then those on its sides.

    Args:
        below: Share of the rows below each edge, float64 [bins + 1].
        edges: float64 [bins + 1].
        first: The first bin.
        last: The bin behind the last one.
        found: Receives the valleys.
    """
    widest = (0, 0)
    for start in range(first, last):
        if below[start] - below[first] < _LEAST_LEVEL:
            continue
        stop = int(np.searchsorted(below[: last + 1], below[start] + _EMPTY, side="right")) - 1
        while stop > start and below[last] - below[stop] < _LEAST_LEVEL:
            stop -= 1
        if stop - start > widest[1] - widest[0]:
            widest = start, stop
    start, stop = widest
    if stop - start < _WIDE * _BINS:
        return
    found.append(_Valley(float(edges[start]), float(edges[stop])))
    _split(below, edges, first, start, found)
    _split(below, edges, stop, last, found)


def _stays(columns: list[tuple[str, NDArray[np.float64]]], valleys: list[_Valley]) -> bool:
    """Return whether machines stay on each level for many rows, change often, and most know all levels."""
    visits: dict[int, list[int]] = {level: [] for level in range(len(valleys) + 1)}
    known: dict[str, set[int]] = {}
    for series, values in columns:
        level = _levels(values, valleys)
        level = level[level >= 0]
        if len(level) == 0:
            continue
        edges = np.concatenate([[0], np.flatnonzero(np.diff(level)) + 1, [len(level)]])
        known.setdefault(series, set()).update(np.unique(level).tolist())
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            visits[int(level[start])].append(stop - start)
    if any(len(one) < _LEAST_VISITS or np.median(one) < _DWELL_ROWS for one in visits.values()):
        return False
    every = sum(len(levels) == len(visits) for levels in known.values())
    return every >= _OTHERS * len(known)


def _levels(values: NDArray[np.float64], valleys: list[_Valley]) -> NDArray[np.int64]:
    """Return the level of each value, int64 [n]; -1 within a valley or unknown."""
    level = np.zeros(len(values), np.int64)
    for number, valley in enumerate(valleys, 1):
        low, high = valley.edges
        level[values >= high] = number
        level[(values > low) & (values < high)] = -1
    level[np.isnan(values)] = -1
    return level


def _modes(channel: str, valleys: list[_Valley]) -> tuple[Mode, ...]:
    """Return a mode for each level, from low to high."""
    names = (
        ("low", "high") if len(valleys) == 1 else tuple(f"level-{at + 1}" for at in range(len(valleys) + 1))
    )
    lows = [None, *(_rounded(one)[1] for one in valleys)]
    highs = [*(_rounded(one)[0] for one in valleys), None]
    return tuple(
        Mode(name, (Condition(channel, low, high),))
        for name, low, high in zip(names, lows, highs, strict=True)
    )


def _rounded(valley: _Valley) -> tuple[float, float]:
    """Return the bounds of the levels on both sides, with few digits."""
    digits = 2 - int(np.floor(np.log10(valley.high - valley.low)))
    low, high = (round(edge, digits) for edge in valley.edges)
    return low, high
