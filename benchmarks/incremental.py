"""Speed of scoring a stream row by row, without windows.

Both sides are the same causal network. The rival gets one window of 64 rows for each new row, ready in
memory, in batches of the size that the incremental form pads its rows to. Both use one thread.
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
    """Measure the rows per second of many series and of one series, against windows per second.

    Turns are short and many: other load on the machine disturbs few of them, and both sides equally.
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
    """Feed series that have some rows already with further rows."""

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
