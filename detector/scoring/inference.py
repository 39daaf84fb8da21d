"""Windows through a member of the ensemble, in padded batches of one fixed size.

Because the size is fixed, the other windows of a batch do not change a window's result in any bit. (Natural
batch sizes change the last bits of some convolutions.)

Threads share whole batches, and compute each alone, so that no result depends on their number. The
threads inside operations of torch or NumPy would wait for each other actively, which is slow on a busy
machine.

Letters: N windows, B batch, W window, S span, C channels, K statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.models.execution.network import NetworkMember, Outputs, Runner
from detector.models.execution.threads import use_one_thread
from detector.scoring.preprocessing import fill_missing


@dataclass(frozen=True, slots=True)
class WindowStatistics:
    """The outputs of one member of the ensemble for N windows.

    expected    float32 [N, S, C], the values that the member expects in the last rows, in the model's units
    statistics  float64 [N, K], distances of the whole windows (see `detector.models.whitening`)
    blame       float32 [N, C], each channel's mean squared residual in units of its normal one
    """

    expected: NDArray[np.float32]
    statistics: NDArray[np.float64]
    blame: NDArray[np.float32]


class Threads:
    """Runs work on `number` threads; with one, on the thread of the caller."""

    def __init__(self, number: int) -> None:
        self._pool: ThreadPoolExecutor | None = None
        if number > 1:
            self._pool = ThreadPoolExecutor(number, "scoring", use_one_thread)

    def each(self, work: Callable[[int], None], items: Iterable[int]) -> None:
        """Call `work` with each item, in any order. Raises what `work` raises."""
        for _ in map(work, items) if self._pool is None else self._pool.map(work, items):
            pass


@dataclass(frozen=True, slots=True)
class Scorer:
    """Runs a member of the ensemble on one device, with a fixed batch size."""

    run: Runner
    batch_size: int
    threads: Threads

    @classmethod
    def on(cls, member: NetworkMember, batch_size: int, device: str, threads: Threads) -> Scorer:
        """Make `member` ready for inference on `device`: "cpu", "cuda" or "auto"."""
        return cls(member.on(device), batch_size, threads)

    def score(
        self,
        flat: NDArray[np.float32],
        ends: NDArray[np.intp],
        window: int,
        span: int,
        last: NDArray[np.float32] | None = None,
    ) -> WindowStatistics:
        """Return the outputs for the windows of `flat` that end at `ends`.

        Args:
            flat: rows in the model's units, float32 [rows, C], NaN where missing.
            ends: the last row of each window, intp [N].
            window: rows of a window.
            span: for how many of the last rows the expected values are wanted.
            last: what the last row of each window is instead, float32 [N, C]; None: as it is in `flat`.
        """
        rows, width = flat.strides
        num_channels = flat.shape[1]
        shape = (len(flat) - window + 1, window, num_channels)
        windows = np.lib.stride_tricks.as_strided(flat, shape, (rows, rows, width), writeable=False)
        num_statistics = 1 if num_channels == 1 else 2
        found = WindowStatistics(
            np.empty((len(ends), span, num_channels), np.float32),
            np.empty((len(ends), num_statistics)),
            np.empty((len(ends), num_channels), np.float32),
        )
        columns: tuple[NDArray[np.floating], ...] = (found.expected, found.statistics, found.blame)
        is_whole = not (np.isnan(flat).any() or (last is not None and np.isnan(last).any()))

        def score_batch(at: int) -> None:
            starts = ends[at : at + self.batch_size] - (window - 1)
            x_BWC = np.zeros((self.batch_size, window, num_channels), np.float32)
            x_BWC[: len(starts)] = windows[starts]
            if last is not None:
                x_BWC[: len(starts), -1] = last[at : at + len(starts)]
            here = slice(at, at + len(starts))
            outputs = self.run(x_BWC, None, span) if is_whole else self._filled(x_BWC, span)
            for column, part in zip(columns, outputs, strict=True):
                column[here] = part[: len(starts)]

        self.threads.each(score_batch, range(0, len(ends), self.batch_size))
        return found

    def _filled(self, x_BWC: NDArray[np.float32], span: int) -> Outputs:
        """Fill missing cells and run one batch; missing cells do not count in its distances."""
        known = ~np.isnan(x_BWC)
        return self.run(fill_missing(x_BWC), None if known.all() else known, span)


def scored_by_both(
    scorer: Scorer,
    rows: tuple[NDArray[np.float32], NDArray[np.float32]],
    ends: NDArray[np.intp],
    departs: NDArray[np.bool_],
    window: int,
    span: int,
) -> WindowStatistics:
    """Return the outputs for windows with rows that were cleaned.

    A row is judged by its own values after a clean past. One that departs is judged by the rows as they came
    too, and the larger distances count. So small departures of many rows still add up within a window.

    Args:
        scorer: the member of the ensemble.
        rows: clean, and as they came, float32 [rows, C] each; the same object where nothing was cleaned.
        ends: the last row of each window, intp [N].
        departs: whether that row departs, bool [N].
        window: rows of a window.
        span: for how many of the last rows the expected values are wanted.
    """
    clean, raw = rows
    if raw is clean:
        return scorer.score(clean, ends, window, span)
    found = scorer.score(clean, ends, window, span, raw[ends])
    both = np.flatnonzero(departs)
    came = scorer.score(raw, ends[both], window, 0)
    is_worse = came.statistics[:, :1] > found.statistics[both, :1]
    found.blame[both] = np.where(is_worse, came.blame, found.blame[both])
    found.statistics[both] = np.maximum(came.statistics, found.statistics[both])
    return found
