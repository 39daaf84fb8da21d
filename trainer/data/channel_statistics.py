"""Statistics of each channel from its rows alone: centre, scale, and a limit for equal consecutive values.

Rows are read in blocks, in order; only totals stay in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.history import History, Segment

_BLOCK_ROWS = 1 << 16
_CONSTANT = 1e-9
_CONSTANT_SCALE_SHARE = 0.1
_FLATLINE_RUNS = 3
_LONGEST_CREDIBLE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Hold center and scale, float64 [C], and flatline_rows, int64 [C], where 0 means: never a flatline.

    `laws` has the law of each channel (`trainer.context.laws`), or nothing: all are plain.
    """

    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    flatline_rows: NDArray[np.int64]
    laws: tuple[str, ...] = ()


def channel_statistics(history: History, segments: tuple[Segment, ...], window: int) -> ChannelStatistics:
    """Return mean and standard deviation per channel, and the run of equal values that counts as a flatline.

    A constant channel gets a tenth of its value as scale (1 at value 0). A later change is then an error of a
    few units, neither zero nor billions.

    A flatline is three times the longest run of the channel, and at least a window. Channels that were
    constant, or whose runs are a large part of the history, have no flatline.

    Args:
        history: Rows of all series.
        segments: Rows to use.
        window: Rows of the longest window.
    """
    num_channels = len(history.channels)
    runs = _Runs(num_channels)
    count, total, square = (np.zeros(num_channels) for _ in range(3))
    reference = _first_values(history, segments)
    for is_first, block in _blocks(history, segments):
        runs.follow(block, is_first)
        centred = block - reference  # keeps the sum of squares exact for large, steady values
        count += (~np.isnan(centred)).sum(axis=0)
        total += np.nansum(centred, axis=0)
        square += np.nansum(centred**2, axis=0)
    mean = total / np.maximum(count, 1)
    deviation = np.sqrt(np.maximum(square / np.maximum(count, 1) - mean**2, 0.0))
    center = reference + mean
    constant = deviation <= _CONSTANT * (np.abs(center) + 1e-300)
    fallback = np.where(center == 0, 1.0, _CONSTANT_SCALE_SHARE * np.abs(center))
    limit = np.maximum(_FLATLINE_RUNS * runs.longest, window)
    credible = ~constant & (runs.longest <= _LONGEST_CREDIBLE_SHARE * np.maximum(count, 1))
    return ChannelStatistics(
        center, np.where(constant, fallback, deviation), np.where(credible, limit, 0).astype(np.int64)
    )


class _Runs:
    """Find the longest run of equal values of each channel; missing values do not interrupt a run."""

    def __init__(self, num_channels: int) -> None:
        self.longest = np.zeros(num_channels, np.int64)
        self._value = np.full(num_channels, np.nan)
        self._run = np.zeros(num_channels, np.int64)

    def follow(self, block: NDArray[np.float64], is_first: bool) -> None:
        """Add the next rows, float64 [n, C]; `is_first`: they do not follow the rows before."""
        if is_first:
            self._value[:] = np.nan
            self._run[:] = 0
        for channel in range(block.shape[1]):
            values = block[:, channel]
            values = values[~np.isnan(values)]
            if len(values):
                self._follow_channel(channel, values)

    def _follow_channel(self, channel: int, values: NDArray[np.float64]) -> None:
        starts = np.flatnonzero(np.concatenate([[values[0] != self._value[channel]], np.diff(values) != 0]))
        bounds = np.concatenate([[0], starts, [len(values)]])
        runs = np.diff(bounds)
        runs[0] += self._run[channel]
        self.longest[channel] = max(self.longest[channel], runs.max())
        self._run[channel] = runs[-1]
        self._value[channel] = values[-1]


def _blocks(history: History, segments: tuple[Segment, ...]) -> Iterator[tuple[bool, NDArray[np.float64]]]:
    for segment in segments:
        for start in range(segment.position, segment.stop, _BLOCK_ROWS):
            yield start == segment.position, history.read(start, min(segment.stop, start + _BLOCK_ROWS))


def _first_values(history: History, segments: tuple[Segment, ...]) -> NDArray[np.float64]:
    """Return the first value of each channel, float64 [C]; 0 for a channel without values."""
    found = np.full(len(history.channels), np.nan)
    for _, block in _blocks(history, segments):
        for channel in np.flatnonzero(np.isnan(found)):
            valid = block[~np.isnan(block[:, channel]), channel]
            if len(valid):
                found[channel] = valid[0]
        if not np.isnan(found).any():
            break
    values: NDArray[np.float64] = np.nan_to_num(found)
    return values
