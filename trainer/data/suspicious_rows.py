"""Find runs of rows that are unlike the rest of their series: a fault that the history would teach as normal.

A series is cut into blocks. Each block has three figures a channel: its level, its spread, and its tail (the
largest distance from the level). A run is suspicious if a wide gap separates one of its figures from those of
all other blocks. It must also be rare: a few runs, and together a small part of the series. A drift or
a season fills the gap, and a mode that comes back is a pattern; neither is suspicious.

Letters: K blocks, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.history import History, Segment

MOST_SHARE = 0.25
"""The largest part of a series that can be suspicious. More is a change of the plant."""
_MOST_RUNS = 3
_BLOCKS, _LEAST_ROWS, _LEAST_BLOCKS = 64, 16, 20
_LEVEL_GAP = 3.0
_SPREAD_GAP = float(np.log(8.0))
_TAIL_GAP, _TAIL_SPREADS = float(np.log(8.0)), 30.0
_GAP_TO_RANGE = 1.5
_LEAST_SPREAD = 0.01
_KNOWN_SHARE = 0.25
_TO_SIGMA = 1.4826


@dataclass(frozen=True, slots=True)
class Run:
    """Hold a run of suspicious rows of one series.

    Attributes:
        first, stop: Positions of its first row and after its last one.
        channels: Channels that are unlike the rest, by index.
        detail: What is unlike the rest, in words.
    """

    first: int
    stop: int
    channels: tuple[int, ...]
    detail: str


@dataclass(frozen=True, slots=True)
class _Blocks:
    first: NDArray[np.int64]
    stop: NDArray[np.int64]
    level: NDArray[np.float64]
    spread: NDArray[np.float64]
    tail: NDArray[np.float64]


def suspicious_runs(history: History, segments: list[Segment], window: int) -> list[Run]:
    """Return the suspicious runs of one series in the order of time; none if the series is short.

    Args:
        history: Rows of all series.
        segments: The segments of the series.
        window: Rows of the longest window; a block has at least as many.
    """
    num_rows = sum(segment.length for segment in segments)
    size = max(_LEAST_ROWS, min(window, num_rows // _LEAST_BLOCKS), num_rows // _BLOCKS)
    blocks = _blocks(history, segments, size)
    if len(blocks.first) < _LEAST_BLOCKS:
        return []
    figures: dict[str, NDArray[np.bool_]] = {}
    for channel in range(blocks.level.shape[1]):
        for kind, odd_K in _odd_blocks(blocks, channel).items():
            figures.setdefault(kind, np.zeros(blocks.level.shape, np.bool_))[:, channel] = odd_K
    return _runs(blocks, figures)


def _blocks(history: History, segments: list[Segment], size: int) -> _Blocks:
    first: list[int] = []
    stop: list[int] = []
    figures = []
    for segment in segments:
        for start in range(segment.position, segment.stop, size):
            end = min(segment.stop, start + size)
            if end - start < size // 2 and first and stop[-1] == start:
                continue  # the rest of a segment is too short to compare
            first.append(start)
            stop.append(end)
            figures.append(_figures(history.read(start, end)))
    columns = np.array(figures).reshape(len(first), 3, len(history.channels))
    return _Blocks(np.array(first), np.array(stop), columns[:, 0], columns[:, 1], columns[:, 2])


def _figures(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return level, spread and tail of each channel of a block, float64 [3, C]; NaN where few are known."""
    enough = (~np.isnan(values)).mean(axis=0) >= _KNOWN_SHARE
    found = np.full((3, values.shape[1]), np.nan)
    if enough.any():
        known = values[:, enough]
        level = np.nanmedian(known, axis=0)
        with np.errstate(over="ignore"):
            away = np.abs(known - level)
        found[:, enough] = level, _TO_SIGMA * np.nanmedian(away, axis=0), np.nanmax(away, axis=0)
    return found


def _odd_blocks(blocks: _Blocks, channel: int) -> dict[str, NDArray[np.bool_]]:
    """Return for each figure which blocks are unlike the others in it, bool [K]."""
    level, spread, tail = (figure[:, channel] for figure in (blocks.level, blocks.spread, blocks.tail))
    if np.isfinite(level).sum() < _LEAST_BLOCKS:
        return {}
    middle = float(np.nanmedian(level))
    across = _TO_SIGMA * float(np.nanmedian(np.abs(level - middle)))
    unit = float(np.hypot(np.nanmedian(spread), across))
    if unit <= 1e-9 * abs(middle) or unit == 0.0:
        return {"level": _at_the_end(level, middle)}
    with np.errstate(over="ignore"):
        log_spread = np.log(np.maximum(spread / unit, _LEAST_SPREAD))
        log_tail = np.log(np.maximum(tail / unit, 1.0))
    return {
        "level": _rare(_above_gap(level / unit, _LEVEL_GAP)) | _rare(_above_gap(-level / unit, _LEVEL_GAP)),
        "spread": _rare(_above_gap(log_spread, _SPREAD_GAP)) | _rare(_above_gap(-log_spread, _SPREAD_GAP)),
        "tail": _rare(_above_gap(log_tail, _TAIL_GAP) & (tail >= _TAIL_SPREADS * unit)),
    }


def _above_gap(figure_K: NDArray[np.float64], gap: float) -> NDArray[np.bool_]:
    """Return which blocks lie above the lowest wide gap in the upper part of their figures, bool [K].

    A gap is wide if it is at least `gap`, and wider than the range of the figures below it.
    """
    known = np.sort(figure_K[np.isfinite(figure_K)])
    start = int(np.ceil(len(known) * (1.0 - MOST_SHARE))) - 1
    width, below = np.diff(known[start:]), known[start:-1] - known[0]
    wide = np.flatnonzero(width >= np.maximum(gap, _GAP_TO_RANGE * below))
    if len(wide) == 0:
        return np.zeros(len(figure_K), np.bool_)
    above: NDArray[np.bool_] = figure_K > known[start + wide[0]]
    return above


def _rare(odd_K: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the odd blocks if they form a few runs, else none: what comes back often is a pattern."""
    starts = np.flatnonzero(np.diff(np.concatenate([[False], odd_K]).astype(np.int8)) == 1)
    return odd_K if len(starts) <= _MOST_RUNS else np.zeros(len(odd_K), np.bool_)


def _at_the_end(level_K: NDArray[np.float64], middle: float) -> NDArray[np.bool_]:
    """Return the blocks at the end of a channel, constant until then, that have another level, bool [K].

    Elsewhere a rare other value of such a channel is taken as its pattern, such as a valve that opens.
    """
    other = np.isfinite(level_K) & (level_K != middle)
    last = np.cumprod(other[::-1])[::-1].astype(np.bool_)
    alone = last.any() and not (other & ~last).any() and last.mean() <= MOST_SHARE
    return last if alone else np.zeros(len(level_K), np.bool_)


def _runs(blocks: _Blocks, figures: dict[str, NDArray[np.bool_]]) -> list[Run]:
    """Join odd blocks to runs, each a block longer at both ends: an edge may hold rows of the run."""
    odd_KC = np.zeros(blocks.level.shape, np.bool_)
    for found in figures.values():
        odd_KC |= found
    odd_K = np.asarray(odd_KC.any(axis=1), np.bool_)
    wide = odd_K.copy()
    wide[:-1] |= odd_K[1:]
    wide[1:] |= odd_K[:-1]
    if wide.mean() > MOST_SHARE:
        return []
    edges = np.diff(np.concatenate([[False], wide, [False]]).astype(np.int8))
    runs = []
    for start, stop in zip(
        np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True
    ):
        channels = tuple(np.flatnonzero(odd_KC[start:stop].any(axis=0)).tolist())
        kinds = [kind for kind, found in figures.items() if found[start:stop].any()]
        runs.append(Run(int(blocks.first[start]), int(blocks.stop[stop - 1]), channels, ", ".join(kinds)))
    return runs
