"""Thresholds from held-out errors: peaks over threshold, to an alarm budget.

A row is an alarm when its error exceeds the threshold; neighbouring alarms are one event. The tail of
the declustered errors is modelled by a generalised Pareto distribution, and the threshold is put where
that model expects as many events as the user tolerates.

Sources: Pickands (1975) and Balkema and de Haan (1974) for the tail; Hosking and Wallis (1987) for the
fit by probability weighted moments; Ferro and Segers (2003) on declustering by runs; Siffer et al.
(KDD 2017) for its use on streams.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Adaptation, Threshold
from detector.calibration.alarm_budget import rows_per_event

_SHAPE_BOUNDS = (-0.4, 0.5)
_MIN_PEAKS = 10
_RUN_ROWS = 8  # as many as end an alarm
_HIGH = 0.9
_ALARMS_PER_FALSE_ONE = 2.0
"""An adapting threshold cannot tell true alarms from false ones: it is let alarm more often than the budget
says, by this factor, so that the false ones keep to it (docs/decisions/0009)."""
_MOST_SHARPNESS = 8.0
_RISE, _FORGIVENESS, _LEARN_AFTER = 1.35, 1.65, 256
_LEVEL_QUANTILES = (0.98, 0.95, 0.9, 0.8)
"""Levels to try: the highest that leaves enough declustered peaks to fit is nearest the limit law."""


@dataclass(frozen=True, slots=True)
class ParetoTail:
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
    adaptive: bool,
) -> Threshold:
    """The threshold that meets `budget` on held-out errors.

    errors    float64 [n], rows in time order; NaN (unknown) rows are left out
    segments  int64 [n], rows of one uninterrupted stretch share a number: peaks never join across
    adaptive  the stream goes on from this threshold by feedback (`detector.scoring.adaptive_threshold`)

    The budget is usually rarer than the held-out rows are long, so the tail is extrapolated; a threshold
    that stays is then at least the largest error seen, while one that adapts may start below it. Errors that
    grew within the held-out rows will go on growing: the threshold is raised by as much. Raises ValueError
    when no error is finite.
    """
    per_event = rows_per_event(budget, interval_ns)
    finite = np.isfinite(errors)
    errors, segments = errors[finite], segments[finite]
    if len(errors) == 0:
        raise ValueError("no held-out row has an error: nothing to learn a threshold from")
    largest = float(errors.max())
    growth = drift(errors)
    alarms_a_row = (_ALARMS_PER_FALSE_ONE if adaptive else 1.0) / per_event
    tail = fit_tail(errors, segments, _RUN_ROWS)
    parameters = {"rows": float(len(errors)), "largest": largest, "drift": growth}
    if tail is None:
        method, value = "maximum", (1.0 if adaptive else 1.5) * largest
    else:
        method, value = "peaks_over_threshold", tail.quantile(alarms_a_row)
        if not adaptive and len(errors) < per_event:
            value = max(value, largest)
        parameters |= {
            "level": tail.level,
            "shape": tail.shape,
            "scale": tail.scale,
            "peak_rate": tail.peak_rate,
            "peaks": float(tail.num_peaks),
        }
    value = max(value * growth, 1e-9)  # an error of 0 everywhere still needs a threshold above it
    adaptation = _adaptation(errors, value, alarms_a_row) if adaptive else None
    sharpness = sharpness_of(errors, value)
    return Threshold(value, method, budget, parameters, adaptation=adaptation, sharpness=sharpness)


def sharpness_of(errors: NDArray[np.float64], threshold: float) -> float:
    """The exponent, 1 to 8, after which the median error lies at half the threshold or below.

    Errors of long windows are means of many squares and hardly vary: without it a usual row may lie at 0.9
    of the threshold, and no score would tell an alarm that is over.
    """
    ratio = threshold / max(float(np.median(errors)), 1e-12)
    return float(np.clip(np.log(2.0) / np.log(max(ratio, 1.001)), 1.0, _MOST_SHARPNESS))


def drift(errors: NDArray[np.float64]) -> float:
    """The factor, 1 to 2, by which the high errors of the later half exceed those of the earlier one."""
    half = len(errors) // 2
    if half < _MIN_PEAKS:
        return 1.0
    earlier, later = np.quantile(errors[:half], _HIGH), np.quantile(errors[half:], _HIGH)
    return float(np.clip(later / max(earlier, 1e-12), 1.0, 2.0))


def _adaptation(errors: NDArray[np.float64], value: float, alarms_a_row: float) -> Adaptation:
    lowest = min(1.0, float(np.quantile(errors, _HIGH)) / value)
    return Adaptation(max(lowest, 1e-6), _RISE, _FORGIVENESS, alarms_a_row, _LEARN_AFTER)


def fit_tail(errors: NDArray[np.float64], segments: NDArray[np.int64], run_rows: int) -> ParetoTail | None:
    """The tail of the declustered errors, or None where too few peaks or no spread exist."""
    for quantile in _LEVEL_QUANTILES:
        level = float(np.quantile(errors, quantile))
        peaks = decluster(errors, segments, level, run_rows)
        if len(peaks) >= _MIN_PEAKS:
            shape, scale = _fit_pareto(peaks - level)
            return ParetoTail(level, shape, scale, len(peaks) / len(errors), len(peaks))
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
