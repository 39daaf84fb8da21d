"""Shuffled windows of a history, with a bounded part of it in memory.

An epoch reads blocks of rows in random order, a pool of blocks at a time. It takes the windows of the pool in
random order. A capped epoch takes windows of some blocks only. A pool holds the rows of about 100,000
windows: enough to mix series and times in each batch, and still only a few megabytes.

Letters: B batch, W window, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import OwnScale, with_own
from detector.scoring.preprocessing import scale_rows
from trainer.data.history import History, Segment

_BLOCK_WINDOWS = 1 << 14
_POOL_WINDOWS = 8 * _BLOCK_WINDOWS
_CAPPED_SHARE = 0.25
_SPREAD_CELLS = 1 << 24
_READ_WINDOWS = 256


@dataclass(frozen=True, slots=True)
class TrainingWindows:
    """Cut segments into windows, `stride` rows apart, in scaled units; `len` counts the windows.

    Attributes:
        history: Rows of all series.
        segments: Rows to cut.
        center: Common centre of each channel, float64 [C].
        scale: Common scale of each channel, float64 [C].
        window: Rows of a window.
        stride: Rows from one window to the next.
        own_scales: What single series have instead of the common ones.
        living: Channels that move in the history, intp [L]; None: all of them.
    """

    history: History
    segments: tuple[Segment, ...]
    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    window: int
    stride: int = 1
    own_scales: Mapping[str, Sequence[OwnScale]] = field(default_factory=dict)
    living: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return sum(self._count(segment.length) for segment in self.segments)

    def shuffled(
        self, batch_size: int, rng: np.random.Generator, at_most: int
    ) -> Iterator[NDArray[np.float32]]:
        """Yield the batches of one epoch, float32 [B, W, C], NaN where missing.

        Args:
            batch_size: Windows per batch; the last batch of a pool may have fewer.
            rng: Source of the order.
            at_most: Approximate upper limit of windows in the epoch.
        """
        blocks = self._blocks()
        share = min(1.0, at_most / max(1, len(self)))
        block_share = min(1.0, max(share / _CAPPED_SHARE, _POOL_WINDOWS / max(1, len(self))))
        chosen = rng.permutation(len(blocks))[: max(1, round(block_share * len(blocks)))]
        for pool in self._pools([blocks[i] for i in chosen]):
            yield from self._pool_batches(pool, batch_size, rng, min(1.0, share / block_share))

    def spread(self, at_most: int) -> NDArray[np.float32]:
        """Return up to `at_most` windows at equal distances, float32 [N, W, C], NaN where missing.

        Large windows give fewer, so that all of them fit in memory. There must be at least one window.
        """
        num_cells = self.window * len(self.center)
        num = min(at_most, len(self), max(1, _SPREAD_CELLS // num_cells))
        ends = np.cumsum([self._count(segment.length) for segment in self.segments])
        wanted = np.linspace(0, len(self) - 1, num).round().astype(np.int64)
        index = np.searchsorted(ends, wanted, side="right")
        found = np.empty((num, self.window, len(self.center)), np.float32)
        for number in np.unique(index).tolist():
            segment, at = self.segments[number], np.flatnonzero(index == number)
            last = segment.stop - self.window - self._tail(segment)
            starts = last - (ends[number] - 1 - wanted[at]) * self.stride
            for first in range(0, len(at), _READ_WINDOWS):
                part = slice(first, first + _READ_WINDOWS)
                found[at[part]] = self._windows_at(segment, starts[part])
        return found

    def _windows_at(self, segment: Segment, starts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the windows of a segment that begin at these rising positions, float32 [N, W, C].

        Windows that overlap are read and scaled as one stretch.
        """
        first, stop = int(starts[0]), int(starts[-1]) + self.window
        if stop - first <= len(starts) * self.window:
            rows = self._rows(segment.series, first, stop)
            windows = np.lib.stride_tricks.sliding_window_view(rows, self.window, axis=0)
            return windows[starts - first].transpose(0, 2, 1)
        every = [self._rows(segment.series, start, start + self.window) for start in starts.tolist()]
        return np.stack(every)

    def _rows(self, series: str, start: int, stop: int) -> NDArray[np.float32]:
        """Return rows of one series in scaled units, float32 [stop - start, C]."""
        own = self.own_scales.get(series, ())
        center, scale = with_own(self.history.channels, self.center, self.scale, own)
        return scale_rows(self.history.read(start, stop), center, scale)

    def _count(self, length: int) -> int:
        return max(0, (length - self.window) // self.stride + 1)

    def _tail(self, segment: Segment) -> int:
        """Return the rows after the last window of a segment, which are too few for another stride."""
        return (segment.length - self.window) % self.stride

    def _blocks(self) -> list[Segment]:
        """Cut the segments into pieces that overlap, so that every window lies in exactly one."""
        span = max(1, _BLOCK_WINDOWS // self.stride) * self.stride
        found = []
        for segment in self.segments:
            last = segment.position + (self._count(segment.length) - 1) * self.stride
            for start in range(segment.position, last + 1, span):
                stop = min(last, start + span - self.stride) + self.window
                piece = segment.cut(start, stop)
                assert piece is not None
                found.append(piece)
        return found

    def _load(self, block: Segment) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Return the rows of the block, float32 [rows, C], and the first row of each window, intp."""
        rows = self._rows(block.series, block.position, block.stop)
        return rows, np.arange(self._count(block.length)) * self.stride

    def _pools(self, blocks: list[Segment]) -> Iterator[list[Segment]]:
        """Group the blocks into pools of about equally many windows."""
        pool: list[Segment] = []
        num = 0
        for block in blocks:
            pool.append(block)
            num += self._count(block.length)
            if num >= _POOL_WINDOWS:
                yield pool
                pool, num = [], 0
        if pool:
            yield pool

    def _pool_batches(
        self, pool: list[Segment], batch_size: int, rng: np.random.Generator, share: float
    ) -> Iterator[NDArray[np.float32]]:
        rows, starts, offset = [], [], 0
        for block in pool:
            block_rows, block_starts = self._load(block)
            rows.append(block_rows)
            starts.append(block_starts + offset)
            offset += len(block_rows)
        flat = np.concatenate(rows)
        order = rng.permutation(np.concatenate(starts))
        order = order[: max(1, round(share * len(order)))]
        stride = flat.strides
        shape = (len(flat) - self.window + 1, self.window, flat.shape[1])
        windows = np.lib.stride_tricks.as_strided(flat, shape, (stride[0], *stride), writeable=False)
        for at in range(0, len(order), batch_size):
            yield windows[order[at : at + batch_size]]
