"""What it saves to score a stream row by row, without windows.

Both sides are the same causal network. The rival gets windows of 64 rows that lie ready in memory, one for
each new row, in batches of the size that the incremental form pads its rows to; both use one thread.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.artifacts import CHANNELS, WINDOW
from benchmarks.measurement import Measurement, alternate
from detector.models import families as models
from detector.models.incremental_conv import Incremental
from trainer.config import ScoringOptions


def measure(quick: bool) -> list[Measurement]:
    """Rows a second of many series, a row each at a time, and of one; against windows a second.

    Turns are short and many: a neighbour on the machine then disturbs few of them, and both sides alike.
    """
    num_batches, num_rounds = (2, 1) if quick else (4, 41)
    torch.set_num_threads(1)
    torch.manual_seed(7)
    module = models.build("conv", {"causal": True}, WINDOW, len(CHANNELS)).eval()
    size = ScoringOptions().batch_size
    measurements = []
    for name, series in (("many series", np.arange(size)), ("one series", np.zeros(size, np.intp))):
        stream = _Stream(module, series)
        rows, windows = alternate(
            lambda stream=stream: stream.rows_per_second(8 * num_batches),  # type: ignore[misc]
            lambda: _windows_per_second(module, size, num_batches),
            num_rounds,
        )
        detail = {"rows_per_second": round(rows), "windows_per_second": round(windows), "batch": size}
        title = f"row by row / window by window, {name}"
        measurements.append(Measurement(title, rows / windows, "x", detail=detail))
    return measurements


class _Stream:
    """Series with some rows behind them, and more of the same."""

    def __init__(self, module: torch.nn.Module, series: NDArray[np.intp]) -> None:
        self._incremental = Incremental(module, len(series), batch_size=len(series))
        self._series = series
        random = np.random.default_rng(7)
        self._x_NC = random.normal(size=(len(series), len(CHANNELS))).astype(np.float32)
        self.rows_per_second(2)

    def rows_per_second(self, num_batches: int) -> float:
        start = time.perf_counter()
        for _ in range(num_batches):
            self._incremental.extend(self._series, self._x_NC)
        return num_batches * len(self._series) / (time.perf_counter() - start)


def _windows_per_second(module: torch.nn.Module, size: int, num_batches: int) -> float:
    x_BWC = torch.randn(size, WINDOW, len(CHANNELS), generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        start = time.perf_counter()
        for _ in range(num_batches):
            module(x_BWC)
        return num_batches * size / (time.perf_counter() - start)
