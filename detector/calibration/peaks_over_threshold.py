"""Calibrate a threshold on held-out errors, so that it meets an alarm budget (peaks over threshold).

A row is an alarm if its error exceeds the threshold; neighbouring alarms are one event. A generalised
Pareto distribution models the tail of the declustered errors. The threshold is set where that model expects
as many events as the budget allows.

Sources: Pickands (1975) and Balkema and de Haan (1974) for the tail; Hosking and Wallis (1987) for the
fit by probability weighted moments; Ferro and Segers (2003) on declustering by runs; Siffer et al.
(KDD 2017) for its use on streams.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.budget_shares import SCORE
from detector.artifact.spec import PageLimit, Threshold
from detector.calibration.alarm_budget import rows_per_event

_SHAPE_BOUNDS = (-0.4, 0.5)
_MIN_PEAKS = 10
_RUN_ROWS = 8  # an alarm ends after as many normal rows
_HIGH = 0.9
_GROWTH = 0.1
"""Without a tail, the largest error grows by this share for each e times more rows than the held-out ones."""
_FEW_PEAKS = 1.5  # a static threshold lies so far above the largest error if no tail could be fitted
_FEW_QUANTILES = tuple(np.linspace(0.99, 0.8, 20).tolist())
_NORMAL_95 = 1.6449
_MOST_SHARPNESS = 8.0
_LEVEL_QUANTILES = (0.98, 0.95, 0.9, 0.8)
"""Levels to try, in this order: the limit law holds best at the highest that leaves enough peaks to fit."""


@dataclass(frozen=True, slots=True)
class ParetoTail:
    """Model the errors above `level` by a generalised Pareto distribution.

    level      the error at which the tail begins
    shape      of the distribution; 0 is the exponential one
    scale      of the distribution, in units of the error
    peak_rate  declustered peaks above `level` a row
    num_peaks  number of peaks that were fitted
    """

    level: float
    shape: float
    scale: float
    peak_rate: float
    num_peaks: int

    def quantile(self, events_per_row: float) -> float:
        """Return the error that so many events a row exceed; at least `level`."""
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
    """Return the threshold that meets an alarm budget on held-out errors.

    A budget usually allows less than one alarm in the held-out rows, so the tail is extrapolated. With a page
    level as a net, the threshold is the best estimate for half of the budget. The other half is for
    cumulative evidence. Where no tail could be fitted, it lies above the largest error by what more rows
    would add. Without a page level, nothing mends a low threshold. It is then the upper bound of the
    estimate, and at least the largest error where the held-out rows are few. If errors grew within the
    held-out rows, it is raised by the same factor.

    Args:
        errors: Errors of the held-out rows in the order of time, float64 [n]; NaN is left out.
        segments: Number of the uninterrupted segment of each row, int64 [n]. Events never span segments.
        budget: Alarm budget of one series, such as "1/week".
        interval_ns: Length of a row in nanoseconds.
        adaptive: Whether a page level limits the alarms of each series (`detector.scoring.page_level`).

    Raises:
        ValueError: No error is finite, or the budget cannot be read.
    """
    per_event = rows_per_event(budget, interval_ns)
    finite = np.isfinite(errors)
    errors, segments = errors[finite], segments[finite]
    if len(errors) == 0:
        raise ValueError("no held-out row has an error, so no threshold can be calibrated")
    growth = drift(errors)
    estimate = estimated_quantile(errors, segments, SCORE / per_event)
    # An error of 0 everywhere still needs a threshold above it.
    value = max(_lifted(estimate, errors, per_event, adaptive, growth), 1e-9)
    method = "maximum" if estimate.tail is None else "peaks_over_threshold"
    limit = PageLimit(SCORE / per_event) if adaptive else None
    parameters = _parameters(estimate.tail, errors, growth)
    return Threshold(value, method, budget, parameters, limit=limit, sharpness=sharpness_of(errors, value))


def _lifted(
    estimate: Estimate, errors: NDArray[np.float64], per_event: float, adaptive: bool, growth: float
) -> float:
    """Return the threshold for an estimate: as it is where a page level is the net, else on the safe side."""
    if not adaptive:
        least = float(errors.max()) if len(errors) < per_event else 0.0
        return max(estimate.upper, least) * growth
    if estimate.tail is None:
        return estimate.value * (1.0 + _GROWTH * math.log(max(1.0, per_event / len(errors))))
    return estimate.value


def _parameters(tail: ParetoTail | None, errors: NDArray[np.float64], growth: float) -> dict[str, float]:
    """Return what the threshold was computed from, as the artifact keeps it."""
    parameters = {"rows": float(len(errors)), "largest": float(errors.max()), "drift": growth}
    if tail is None:
        return parameters
    return parameters | {
        "level": tail.level,
        "shape": tail.shape,
        "scale": tail.scale,
        "peak_rate": tail.peak_rate,
        "peaks": float(tail.num_peaks),
    }


@dataclass(frozen=True, slots=True)
class Estimate:
    """Hold the value that so many events a row exceed.

    value  the best estimate
    upper  its upper bound at 95 % confidence, as far as the scale of the tail is uncertain
    tail   the fitted tail; None where there were too few peaks
    """

    value: float
    upper: float
    tail: ParetoTail | None


def estimated_quantile(
    values: NDArray[np.float64], segments: NDArray[np.int64], events_a_row: float
) -> Estimate:
    """Return the value that as many events a row exceed as are allowed, for any kind of evidence.

    Args:
        values: Finite values of held-out rows in the order of time, float64 [n], n > 0.
        segments: Number of the uninterrupted segment of each row, int64 [n].
        events_a_row: Events a row that are allowed, such as a share of `1 / rows_per_event`.
    """
    tail = fit_tail(values, segments, _RUN_ROWS)
    if tail is None:
        value = _of_few_peaks(values, segments, int(len(values) * events_a_row))
        return Estimate(value, _FEW_PEAKS * float(values.max()), None)
    value = tail.quantile(events_a_row)
    return Estimate(value, tail.level + _upper_factor(tail.num_peaks) * (value - tail.level), tail)


def _of_few_peaks(values: NDArray[np.float64], segments: NDArray[np.int64], allowed: int) -> float:
    """Return the lowest value above which at most `allowed` events lie; at least the 0.8 quantile."""
    best = float(values.max())
    for quantile in _FEW_QUANTILES:
        value = float(np.quantile(values, quantile))
        if len(decluster(values, segments, value, _RUN_ROWS)) > allowed:
            break
        best = value
    return best


def _upper_factor(num_peaks: int) -> float:
    """Return by which factor the scale of a tail of so many peaks may be larger, at 95 % confidence.

    Twice the sum of exponential excesses over their scale is chi-squared with 2 `num_peaks` degrees of
    freedom. Its quantile is that of Wilson and Hilferty (PNAS 1931).

    >>> [round(_upper_factor(num), 2) for num in (10, 50, 1000)]
    [1.84, 1.28, 1.05]
    """
    degrees = 2.0 * num_peaks
    spread = 2.0 / (9.0 * degrees)
    return float((1.0 - spread - _NORMAL_95 * np.sqrt(spread)) ** -3)


def sharpness_of(errors: NDArray[np.float64], threshold: float) -> float:
    """Return the exponent, 1 to 8, with which the median row scores 1/2 or less.

    Errors of long windows are means of many squares and vary little. Without the exponent a usual row could
    score 0.9, and no score would show that an alarm has ended.

    Args:
        errors: Finite errors of held-out rows, float64 [n], n > 0.
        threshold: The error at which the score is 1.

    >>> sharpness_of(np.array([0.9, 1.0, 1.1]), threshold=2.0)
    1.0
    >>> round(sharpness_of(np.array([0.9, 1.0, 1.1]), threshold=1.2), 2)
    3.8
    """
    ratio = threshold / max(float(np.median(errors)), 1e-12)
    return float(np.clip(np.log(2.0) / np.log(max(ratio, 1.001)), 1.0, _MOST_SHARPNESS))


def drift(errors: NDArray[np.float64]) -> float:
    """Return the factor, 1 to 2, by which high errors of the later half exceed those of the earlier half.

    High is the 0.9 quantile. Fewer than 20 errors are too few to compare, and the factor is 1.

    >>> drift(np.repeat([1.0, 1.5], 50))
    1.5
    """
    half = len(errors) // 2
    if half < _MIN_PEAKS:
        return 1.0
    earlier, later = np.quantile(errors[:half], _HIGH), np.quantile(errors[half:], _HIGH)
    return float(np.clip(later / max(earlier, 1e-12), 1.0, 2.0))


def fit_tail(errors: NDArray[np.float64], segments: NDArray[np.int64], run_rows: int) -> ParetoTail | None:
    """Return the tail of the declustered errors, or None if there are too few peaks to fit.

    Args:
        errors: Finite errors in the order of time, float64 [n], n > 0.
        segments: Number of the uninterrupted segment of each row, int64 [n].
        run_rows: Normal rows after which an event ends.
    """
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
    """Return the largest error of each cluster of errors above `level`, float64 [clusters].

    Args:
        errors: Finite errors in the order of time, float64 [n].
        segments: Number of the uninterrupted segment of each row, int64 [n].
        level: Errors above it belong to a cluster.
        run_rows: Errors more than so many rows apart, or in different segments, are different clusters.

    >>> decluster(np.array([0.0, 5.0, 6.0, 0.0, 0.0, 7.0]), np.zeros(6, np.int64), level=1.0, run_rows=2)
    array([6., 7.])
    """
    above = np.flatnonzero(errors > level)
    if len(above) == 0:
        return np.empty(0)
    apart = (np.diff(above) > run_rows) | (np.diff(segments[above]) != 0)
    starts = np.flatnonzero(np.concatenate([[True], apart]))
    peaks: NDArray[np.float64] = np.maximum.reduceat(errors[above], starts)
    return peaks


def _fit_pareto(excess: NDArray[np.float64]) -> tuple[float, float]:
    """Return shape and scale by probability weighted moments; the shape is kept within credible bounds."""
    ordered = np.sort(excess)
    num = len(ordered)
    mean = float(ordered.mean())
    weight = (num - np.arange(1, num + 1)) / (num - 1)
    weighted = float((ordered * weight).mean())
    ratio = mean / max(mean - 2.0 * weighted, 1e-12 * mean)
    shape = float(np.clip(2.0 - ratio, *_SHAPE_BOUNDS))
    return shape, mean * (1.0 - shape)
