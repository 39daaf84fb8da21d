"""Speed of VUS-PR against the implementation of its authors, which loops over thresholds and buffers."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import Measurement, alternate
from detector.offline.measuring.measures import vus_pr

Measure = Callable[[NDArray[np.int64], NDArray[np.float64], int], float]


def measure(quick: bool) -> list[Measurement]:
    """Measure the speed relative to the reference, and the seconds for a series that is too long for it."""
    return [_against_reference(quick), _long_series(quick)]


def _against_reference(quick: bool) -> Measurement:
    num_rows, buffer, num_rounds = (500, 10, 1) if quick else (5_000, 100, 3)
    label, score = _labelled(num_rows)
    reference = _reference()
    difference = abs(reference(label, score, buffer) - vus_pr(label, score, buffer))
    assert difference < 1e-6, f"VUS-PR differs from the reference by {difference}"
    ours, theirs = alternate(
        lambda: _seconds(vus_pr, label, score, buffer),
        lambda: _seconds(reference, label, score, buffer),
        num_rounds,
    )
    detail: dict[str, float | int | str] = {
        "rows": num_rows,
        "buffer": buffer,
        "milliseconds": round(1e3 * ours, 2),
        "reference_milliseconds": round(1e3 * theirs, 1),
    }
    return Measurement("VUS-PR / reference, speed", theirs / ours, "x", detail=detail)


def _long_series(quick: bool) -> Measurement:
    num_rows, buffer = (2_000, 30) if quick else (20_000, 300)
    label, score = _labelled(num_rows)
    seconds = float(np.median([_seconds(vus_pr, label, score, buffer) for _ in range(5)]))
    return Measurement("VUS-PR", seconds, "s", ceiling=1.0, detail={"rows": num_rows, "buffer": buffer})


def _labelled(num_rows: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return labels with an event of 20 rows every 500, and a score that partly separates them."""
    label = (np.arange(num_rows) % 500 >= 480).astype(np.int64)
    return label, np.random.default_rng(7).random(num_rows) + 0.5 * label


def _reference() -> Measure:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from vus.utils.metrics import metricor

    return lambda label, score, buffer: float(metricor().RangeAUC_volume_opt(label, score, buffer, 250)[-1])


def _seconds(measured: Measure, label: NDArray[np.int64], score: NDArray[np.float64], buffer: int) -> float:
    start = time.perf_counter()
    measured(label, score, buffer)
    return time.perf_counter() - start
