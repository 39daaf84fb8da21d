"""Mask the cells of a history that are no measurement, before anything learns from them.

    1. values outside a stated range
    2. sentinels, such as -9999: codes of devices and formats, and far values that repeat
    3. values that are too far from all others (`trainer.data.impossible_cells`)

Masked cells become NaN in the scratch file. Scaling, windows, validation and calibration see holes there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detector.rows.sensor_checks import out_of_range
from trainer.data.history import History, Segment, by_series
from trainer.data.impossible_cells import (
    CODES,
    Distances,
    code_of,
    cut_of,
    distance,
    impossible_codes,
    most_impossible,
)
from trainer.data.left_out import LeftOut, Reason
from trainer.data.stretches import Stretches

_BLOCK_ROWS = 1 << 16
_SAMPLE_ROWS = 1 << 16
_MOST_SENTINELS, _MOST_FAR_VALUES = 8, 100_000


@dataclass(slots=True)
class Masked:
    """Hold what was masked.

    Attributes:
        left_out: One entry for each series, channel and reason.
        sentinels: For each channel by index: values that stand for no value, with their number of cells.
        positions: Positions of the rows with a masked cell, each int64 [n].
    """

    left_out: list[LeftOut] = field(default_factory=list)
    sentinels: dict[int, Counter[float]] = field(default_factory=dict)
    positions: list[NDArray[np.int64]] = field(default_factory=list)

    def mask(self, history: History, start: int, cells: NDArray[np.bool_]) -> None:
        """Mask cells of the rows from position `start` on, bool [n, C]."""
        history.mask(start, cells)
        self.positions.append(start + np.flatnonzero(cells.any(axis=1)))

    def sentinels_of(self, channel: int) -> tuple[float, ...]:
        """Return the most frequent sentinels of a channel, sorted. A 0 is never one."""
        common = self.sentinels.get(channel, Counter()).most_common(_MOST_SENTINELS)
        return tuple(sorted(value for value, _ in common))


def mask_impossible(
    history: History, valid_range: Mapping[str, tuple[float, float]], normal: Stretches
) -> Masked:
    """Mask the impossible cells of a history in its scratch file.

    Args:
        history: Rows of all series.
        valid_range: Possible values [min, max] by channel.
        normal: Times whose far values are measurements. Sentinels and ranges count there too.

    Raises:
        TrainerError: The scratch file cannot be written.
    """
    masked = Masked()
    nothing = (np.nan, np.nan)
    bounds = np.array([valid_range.get(name, nothing) for name in history.channels], np.float64)
    series = by_series(history.segments)
    known = np.zeros(len(history.channels), np.int64)
    for name, segments in series.items():
        known += _mask_ranges(history, name, segments, bounds, masked)
    for name, segments in series.items():
        distances = _distances(history, segments)
        cuts, codes = _cuts(distances, known)
        if np.isfinite(cuts).any() or any(map(len, codes)):
            _mask_far(history, name, segments, _Rule(distances.median, cuts, codes, normal), masked)
    return masked


@dataclass(frozen=True, slots=True)
class _Rule:
    """Hold what is impossible in one series: distances from the median, codes by index, and where not."""

    median: NDArray[np.float64]
    cuts: NDArray[np.float64]
    codes: list[NDArray[np.intp]]
    normal: Stretches

    def far(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = distance(values, self.median) >= self.cuts
        return found

    def coded(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        found = np.zeros(values.shape, np.bool_)
        for channel, codes in enumerate(self.codes):
            if len(codes):
                found[:, channel] = np.isin(code_of(values[:, channel]), codes)
        return found


class _Tally:
    """Count the masked cells of one series, channel by channel, with the first and last time and a value."""

    def __init__(self, history: History, series: str, reason: Reason) -> None:
        self._history, self._series, self._reason = history, series, reason
        self._found: dict[int, tuple[int, int, int, float]] = {}

    def add(self, mask: NDArray[np.bool_], values: NDArray[np.float64], first_row: int) -> None:
        for channel in np.flatnonzero(mask.any(axis=0)).tolist():
            rows = np.flatnonzero(mask[:, channel])
            count, first, _, value = self._found.get(
                channel, (0, first_row + int(rows[0]), 0, float(values[rows[0], channel]))
            )
            self._found[channel] = (count + len(rows), first, first_row + int(rows[-1]), value)

    def entries(self) -> Iterator[LeftOut]:
        interval_ns, names = self._history.interval_ns, self._history.channels
        for channel, (count, first, last, value) in self._found.items():
            times = first * interval_ns, last * interval_ns
            detail = f"such as {value:.6g}"
            yield LeftOut(self._reason, self._series, (names[channel],), *times, count, detail)


def _blocks(history: History, segments: list[Segment]) -> Iterator[tuple[Segment, NDArray[np.float64]]]:
    for segment in segments:
        for start in range(segment.position, segment.stop, _BLOCK_ROWS):
            block = segment.cut(start, start + _BLOCK_ROWS)
            assert block is not None
            yield block, history.read(block.position, block.stop)


def _mask_ranges(
    history: History, name: str, segments: list[Segment], bounds: NDArray[np.float64], masked: Masked
) -> NDArray[np.int64]:
    """Mask values outside their range; return the number of the other known values, int64 [C]."""
    tally = _Tally(history, name, "out_of_range")
    known = np.zeros(len(history.channels), np.int64)
    for block, values in _blocks(history, segments):
        outside = out_of_range(values, bounds[:, 0], bounds[:, 1])
        known += (~np.isnan(values) & ~outside).sum(axis=0)
        if outside.any():
            tally.add(outside, values, block.row)
            masked.mask(history, block.position, outside)
    masked.left_out += tally.entries()
    return known


def _distances(history: History, segments: list[Segment]) -> Distances:
    """Return the distances of the values from their median, which is that of rows at equal steps."""
    step = -(-sum(segment.length for segment in segments) // _SAMPLE_ROWS)
    sample = np.concatenate([values[::step] for _, values in _blocks(history, segments)])
    empty = np.isnan(sample).all(axis=0)
    sample[:, empty] = 0.0
    distances = Distances.around(np.nanmedian(sample, axis=0))
    for _, values in _blocks(history, segments):
        distances.add(values)
    return distances


def _cuts(
    distances: Distances, known: NDArray[np.int64]
) -> tuple[NDArray[np.float64], list[NDArray[np.intp]]]:
    """Return for each channel the distance of impossible values, float64 [C], and its impossible codes."""
    cuts = np.full(len(known), np.inf)
    codes = []
    for channel in range(len(known)):
        counts = distances.counts[channel]
        most = most_impossible(int(counts.sum()), int(known[channel]))
        cuts[channel] = cut_of(counts, float(distances.median[channel]), most)
        codes.append(impossible_codes(distances, channel, float(cuts[channel])))
    return cuts, codes


def _mask_far(history: History, name: str, segments: list[Segment], rule: _Rule, masked: Masked) -> None:
    """Mask sentinels and far values of one series. Far values that repeat are sentinels too."""
    sentinel, impossible = _Tally(history, name, "sentinel"), _Tally(history, name, "impossible")
    far_values: list[list[float]] = [[] for _ in history.channels]
    for block, values in _blocks(history, segments):
        coded, far = rule.coded(values), rule.far(values)
        inside = rule.normal.contain(name, block.row + np.arange(block.length), history.interval_ns)
        far &= ~coded & ~inside[:, None]
        if not (coded.any() or far.any()):
            continue
        for channel in range(values.shape[1]):
            codes = CODES[code_of(values[coded[:, channel], channel])]
            masked.sentinels.setdefault(channel, Counter()).update(codes.tolist())
            room = _MOST_FAR_VALUES - len(far_values[channel])
            far_values[channel] += values[far[:, channel], channel][:room].tolist()
        sentinel.add(coded, values, block.row)
        impossible.add(far, values, block.row)
        masked.mask(history, block.position, coded | far)
    for channel, found in enumerate(far_values):
        repeated = {value: num for value, num in Counter(found).items() if num > 1 and value}
        masked.sentinels.setdefault(channel, Counter()).update(repeated)
    masked.left_out += [*sentinel.entries(), *impossible.entries()]
