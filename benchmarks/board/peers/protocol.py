"""What the scripts of all peers share. They run in environments of their own, without Streamgauge.

    python SCRIPT METHOD INPUT.npz OUTPUT.npz

Input: `train` float32 [n, C] and `rows` float32 [m, C], scaled by the training rows and without NaN;
`window`, a length that suits the data.

Output: `ends` float64 [m], the number of the window that ends at each row, NaN where there is none; `reach`,
the rows of a window; `fit_seconds` and `score_seconds`; `leak`, by how much a score changes when later rows
are taken away, in spreads of the scores.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

Score = Callable[[np.ndarray], np.ndarray]
Fit = Callable[[np.ndarray, int], tuple[Score, int]]


def main(methods: dict[str, Fit]) -> None:
    """Fit the method that the command line names, score all rows, and measure what later rows change."""
    method, source, target = sys.argv[1:]
    data = np.load(source)
    started = time.perf_counter()
    score, reach = methods[method](data["train"], int(data["window"]))
    fitted = time.perf_counter()
    ends = np.asarray(score(data["rows"]), np.float64)
    scored = time.perf_counter()
    np.savez(
        target,
        ends=ends,
        reach=reach,
        fit_seconds=fitted - started,
        score_seconds=scored - fitted,
        leak=_leak(score, data["rows"], ends, reach),
    )


def _leak(score: Score, rows: np.ndarray, ends: np.ndarray, reach: int) -> float:
    """Return the greatest change of a score without the last two fifths of the rows, in spreads."""
    cut = max(len(rows) * 3 // 5, min(len(rows), 2 * reach))
    before = np.asarray(score(rows[:cut]), np.float64)
    known = ~np.isnan(before)
    if not known.any():
        return 0.0
    spread = float(np.nanstd(ends)) or 1.0
    return float(np.abs(before[known] - ends[:cut][known]).max()) / spread


def at_ends(values: np.ndarray, window: int, num: int) -> np.ndarray:
    """Return one value a window at the window's last row, float64 [num]; NaN before the first."""
    ends = np.full(num, np.nan)
    ends[window - 1 :] = values
    return ends


def windows(rows: np.ndarray, window: int) -> np.ndarray:
    """Return all windows, flat, float32 [num - window + 1, window * C]."""
    views = np.lib.stride_tricks.sliding_window_view(rows, window, axis=0)
    return np.ascontiguousarray(views.transpose(0, 2, 1)).reshape(len(views), -1)
