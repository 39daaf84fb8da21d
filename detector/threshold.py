"""Thresholds from held-out errors: peaks over threshold, to an alarm budget.

A row is an alarm when its error exceeds the threshold; neighbouring alarms are one event. The tail of
the declustered errors is modelled by a generalised Pareto distribution, and the threshold is put where
that model expects as many events as the user tolerates.

Sources: Pickands (1975) and Balkema and de Haan (1974) for the tail; Hosking and Wallis (1987) for the
fit by probability weighted moments; Ferro and Segers (2003) on declustering by runs; Siffer et al.
(KDD 2017) for its use on streams.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact import Threshold

_SECONDS = {"minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800, "month": 2_629_800}
_BUDGET = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*([a-z]+?)s?\s*", re.IGNORECASE)
_SHAPE_BOUNDS = (-0.4, 0.5)
_MIN_PEAKS = 10
_LEVEL_QUANTILES = (0.98, 0.95, 0.9, 0.8)
"""Levels to try: the highest that leaves enough declustered peaks to fit is nearest the limit law."""


def parse_budget(text: str) -> float:
    """Events a second that a budget such as "1/week" allows each series.

    Raises ValueError, with what is allowed, for anything else.

    >>> round(1 / parse_budget("1/day"))
    86400
    """
    match = _BUDGET.fullmatch(text)
    unit = match.group(2).lower() if match else ""
    if match is None or unit not in _SECONDS or float(match.group(1)) <= 0:
        raise ValueError(
            f"alarm budget {text!r} is not NUMBER/UNIT, such as 1/week; units: {', '.join(_SECONDS)}"
        )
    return float(match.group(1)) / _SECONDS[unit]


def rows_per_event(budget: str, interval_ns: int) -> float:
    """Rows of one series in which the budget allows one false alarm event."""
    return 1e9 / (interval_ns * parse_budget(budget))


@dataclass(frozen=True, slots=True)
class Tail:
    """A generalised Pareto tail over `level`; `peak_rate` is declustered peaks a row."""

    level: float
    shape: float
    scale: float
    peak_rate: float
    num_peaks: int

    def quantile(self, events_per_row: float) -> float:
        """The error that is exceeded by so many events a row; at least `level`."""
        survival = min(1.0, events_per_row / self.peak_rate)
        if abs(self.shape) < 1e-6:
            return self.level - self.scale * float(np.log(survival))
        return self.level + self.scale / self.shape * float(survival**-self.shape - 1.0)


def peaks_over_threshold(
    errors: NDArray[np.float64],
    segments: NDArray[np.int64],
    budget: str,
    interval_ns: int,
    run_rows: int,
) -> Threshold:
    """The threshold that meets `budget` on held-out errors.

    errors    float64 [n], rows in time order; NaN (unknown) rows are left out
    segments  int64 [n], rows of one uninterrupted stretch share a number: peaks never join across
    run_rows  rows below the level that end a peak

    The budget is usually rarer than the held-out rows are long, so the tail is extrapolated; the
    threshold is then at least the largest error seen. Static: it cannot follow a drift of the
    errors after calibration. Raises ValueError when no error is finite.
    """
    per_event = rows_per_event(budget, interval_ns)
    finite = np.isfinite(errors)
    errors, segments = errors[finite], segments[finite]
    if len(errors) == 0:
        raise ValueError("no held-out row has an error: nothing to learn a threshold from")
    largest = float(errors.max())
    tail = fit_tail(errors, segments, run_rows)
    floor = largest if len(errors) < per_event else 0.0
    if tail is None:
        value = 1.5 * largest
        return Threshold(_positive(value), "maximum", budget, {"rows": len(errors), "largest": largest})
    value = max(tail.quantile(1.0 / per_event), floor)
    parameters = {
        "rows": float(len(errors)),
        "largest": largest,
        "level": tail.level,
        "shape": tail.shape,
        "scale": tail.scale,
        "peak_rate": tail.peak_rate,
        "peaks": float(tail.num_peaks),
    }
    return Threshold(_positive(value), "peaks_over_threshold", budget, parameters)


def fit_tail(errors: NDArray[np.float64], segments: NDArray[np.int64], run_rows: int) -> Tail | None:
    """The tail of the declustered errors, or None where too few peaks or no spread exist."""
    for quantile in _LEVEL_QUANTILES:
        level = float(np.quantile(errors, quantile))
        peaks = decluster(errors, segments, level, run_rows)
        if len(peaks) >= _MIN_PEAKS:
            shape, scale = _fit_pareto(peaks - level)
            return Tail(level, shape, scale, len(peaks) / len(errors), len(peaks))
    return None


def decluster(
    errors: NDArray[np.float64], segments: NDArray[np.int64], level: float, run_rows: int
) -> NDArray[np.float64]:
    """The largest error of each cluster; clusters are `run_rows` rows or a segment apart."""
    above = np.flatnonzero(errors > level)
    if len(above) == 0:
        return np.empty(0)
    apart = (np.diff(above) > run_rows) | (np.diff(segments[above]) != 0)
    starts = np.flatnonzero(np.concatenate([[True], apart]))
    peaks: NDArray[np.float64] = np.maximum.reduceat(errors[above], starts)
    return peaks


def _fit_pareto(excess: NDArray[np.float64]) -> tuple[float, float]:
    """Shape and scale by probability weighted moments; the shape kept within credible bounds."""
    ordered = np.sort(excess)
    num = len(ordered)
    mean = float(ordered.mean())
    weight = (num - np.arange(1, num + 1)) / (num - 1)
    weighted = float((ordered * weight).mean())
    ratio = mean / max(mean - 2.0 * weighted, 1e-12 * mean)
    shape = float(np.clip(2.0 - ratio, *_SHAPE_BOUNDS))
    return shape, mean * (1.0 - shape)


def _positive(value: float) -> float:
    """Error 0 everywhere (a constant series, perfectly learned) still needs a threshold above 0."""
    return max(value, 1e-9)
