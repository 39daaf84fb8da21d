"""Windows through a member, in padded batches of one fixed size.

The fixed size makes a window's result independent of which windows happen to be scored with it, to the
last bit (natural batch sizes change the last bits of some convolutions). Whole batches are what threads
share, each with one torch thread: no result depends on how many there are, and on a busy machine they wait
for no one, while the threads inside torch's operations spin for one another.

Letters: N windows, B batch, W window, S span, C channels, K statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from detector.models.ensemble import EnsembleMember
from detector.scoring.preprocessing import fill_missing


@dataclass(frozen=True, slots=True)
class WindowStatistics:
    """What a member says of N windows.

    expected    float32 [N, S, C], of their last rows, in the model's units
    statistics  float64 [N, K], distances of the whole windows (see `detector.models.whitening`)
    blame       float32 [N, C], each channel's mean squared residual in units of its normal one
    """

    expected: NDArray[np.float32]
    statistics: NDArray[np.float64]
    blame: NDArray[np.float32]


def pick_device(name: str) -> torch.device:
    """`name` is "cpu", "cuda" or "auto" (CUDA where present)."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


class Threads:
    """So many threads for batches; with one, the caller's."""

    def __init__(self, number: int) -> None:
        self._pool: ThreadPoolExecutor | None = None
        if number > 1:
            self._pool = ThreadPoolExecutor(number, "scoring", torch.set_num_threads, (1,))

    def each(self, work: Callable[[int], None], items: Iterable[int]) -> None:
        """`work` on each item, in any order; raises what it raises."""
        for _ in map(work, items) if self._pool is None else self._pool.map(work, items):
            pass


@dataclass(frozen=True, slots=True)
class Scorer:
    """A member behind its fixed batch size, on one device."""

    member: EnsembleMember
    batch_size: int
    device: torch.device
    threads: Threads

    @classmethod
    def on(cls, member: EnsembleMember, batch_size: int, device: str, threads: Threads) -> Scorer:
        """`device` as for `pick_device`."""
        where = pick_device(device)
        if where.type == "cuda":  # by default convolutions and LSTM round to 10 bits there: scores 5e-4 apart
            torch.backends.cudnn.allow_tf32 = False
        return cls(member.eval().to(where), batch_size, where, threads)

    def assess(
        self, flat: NDArray[np.float32], ends: NDArray[np.intp], window: int, span: int
    ) -> WindowStatistics:
        """Judge the windows of `flat` that end at `ends`.

        flat float32 [rows, C], NaN where missing; ends intp [N].
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

        def judge(at: int) -> None:
            starts = ends[at : at + self.batch_size] - (window - 1)
            x_BWC = np.zeros((self.batch_size, window, num_channels), np.float32)
            x_BWC[: len(starts)] = windows[starts]
            here = slice(at, at + len(starts))
            for column, part in zip(columns, self._forward(x_BWC, span), strict=True):
                column[here] = part[: len(starts)]

        self.threads.each(judge, range(0, len(ends), self.batch_size))
        return found

    def _forward(self, x_BWC: NDArray[np.float32], span: int) -> tuple[NDArray[np.float32], ...]:
        known = ~np.isnan(x_BWC)
        mask = None if known.all() else torch.from_numpy(known).to(self.device)
        filled = torch.from_numpy(fill_missing(x_BWC)).to(self.device)
        with torch.inference_mode():
            return tuple(part.cpu().numpy() for part in self.member(filled, mask, span))
