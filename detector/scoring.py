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

from detector.member import MemberModule

LIMIT = 1e4
"""Scaled values are clipped here: a wild value stays wild, but float32 arithmetic stays finite."""


def scale_rows(
    values: NDArray[np.float64], center: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Physical units to the model's: float64 [n, C] -> float32 [n, C]; NaN stays NaN."""
    scaled: NDArray[np.float32] = np.clip((values - center) / scale, -LIMIT, LIMIT).astype(np.float32)
    return scaled


def fill_missing(x_BWC: NDArray[np.float32]) -> NDArray[np.float32]:
    """Windows that a module can read: NaN is interpolated between the channel's neighbours in the window,
    takes the only neighbour at an end, and 0 where the channel has no value.

    What was filled is never judged: residuals at those cells are masked by the caller.
    """
    missing = np.isnan(x_BWC)
    if not missing.any():
        return x_BWC
    filled = x_BWC.copy()
    holed = np.flatnonzero(missing.any(axis=(1, 2)))
    filled[holed] = _interpolated(x_BWC[holed], missing[holed])
    return filled


def _interpolated(x_BWC: NDArray[np.float32], missing: NDArray[np.bool_]) -> NDArray[np.float32]:
    window = x_BWC.shape[1]
    index = np.arange(window)[None, :, None]
    before = np.maximum.accumulate(np.where(missing, -1, index), axis=1)
    after = np.minimum.accumulate(np.where(missing, window, index)[:, ::-1], axis=1)[:, ::-1]
    left = np.where(before < 0, after, before)
    right = np.where(after >= window, before, after)
    has_any = (left >= 0) & (left < window) & (right >= 0)
    low, high = (np.take_along_axis(x_BWC, np.clip(at, 0, window - 1), axis=1) for at in (left, right))
    share = (index - left) / np.maximum(right - left, 1)
    between = low + (high - low) * np.clip(share, 0.0, 1.0).astype(np.float32)
    result: NDArray[np.float32] = np.where(has_any, np.where(missing, between, x_BWC), np.float32(0.0))
    return result


@dataclass(frozen=True, slots=True)
class Assessed:
    """What a member says of N windows.

    expected    float32 [N, S, C], of their last rows, in the model's units
    statistics  float64 [N, K], distances of the whole windows (see `detector.whitening`)
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

    member: MemberModule
    batch_size: int
    device: torch.device
    threads: Threads

    @classmethod
    def on(cls, member: MemberModule, batch_size: int, device: str, threads: Threads) -> Scorer:
        """`device` as for `pick_device`."""
        where = pick_device(device)
        if where.type == "cuda":  # by default convolutions and LSTM round to 10 bits there: scores 5e-4 apart
            torch.backends.cudnn.allow_tf32 = False
        return cls(member.eval().to(where), batch_size, where, threads)

    def assess(self, flat: NDArray[np.float32], ends: NDArray[np.intp], window: int, span: int) -> Assessed:
        """Judge the windows of `flat` that end at `ends`.

        flat float32 [rows, C], NaN where missing; ends intp [N].
        """
        rows, width = flat.strides
        num_channels = flat.shape[1]
        shape = (len(flat) - window + 1, window, num_channels)
        windows = np.lib.stride_tricks.as_strided(flat, shape, (rows, rows, width), writeable=False)
        num_statistics = 1 if num_channels == 1 else 2
        found = Assessed(
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
