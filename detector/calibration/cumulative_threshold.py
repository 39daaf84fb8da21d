"""Find where the cumulative evidence of a channel is an alarm, so that it keeps to its share of the budget.

Two estimates are made, and the larger is used. The peaks of a sum that falls back to 0 again and again have
an exponential tail (Siegmund, Sequential Analysis, 1985). Its scale comes from the declustered peaks, and is
enlarged by twice its standard error. A slow residual has few peaks. For it, the rows between false alarms
follow from the long-run variance of the residual, as for a Brownian motion (Siegmund, 1985, equation 2.56).
That variance comes from the means of long blocks, and is enlarged by twice its standard error as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detector.artifact.budget_shares import SCORE
from detector.artifact.reference import LARGE_DEPARTURES, Reference
from detector.artifact.sum_limits import HasSums
from detector.calibration.alarm_budget import rows_per_event
from detector.calibration.peaks_over_threshold import decluster

_LEVELS = (0.98, 0.95, 0.9, 0.8, 0.7, 0.5)
_MIN_PEAKS, _FEWEST_PEAKS = 20, 3
_RUN_ROWS = 64
_LEAST = 20.0
_ABOVE_LARGEST, _LARGE_ABOVE_LARGEST = 1.25, 1.5
_LEAST_LARGE = 6.0
_FEW_ALLOWED = 3.0
"""Where fewer alarms are allowed in the history, the threshold lies above the largest sum that was seen."""
_BLOCKS = (1, 16, 64, 256)
_FEWEST_BLOCKS = 4
_BEYOND = 1.17
"""By so many spreads a sum of independent rows overshoots twice (Siegmund's correction)."""


@dataclass(frozen=True, slots=True)
class SumTail:
    """Hold what the history showed of the sums of one channel, in spreads.

    level     the sum at which the tail begins
    scale     of the exponential tail, with its margin; 0 where too few peaks were seen
    rate      peaks above `level` a row
    least     no threshold lies below it, unless the budget allows some alarms in the history
    variance  long-run variance of the departures, with its margin
    rows      known rows of the history; 0 in older artifacts
    """

    level: float
    scale: float
    rate: float
    least: float
    variance: float
    rows: float = 0.0


def sum_tail(departures: Sequence[NDArray[np.float64]], allowance: float, least: float = _LEAST) -> SumTail:
    """Return the tail of the sums of one channel.

    Args:
        departures: One float64 [n] for each series, in spreads, NaN where unknown.
        allowance: The departure that does not add up.
        least: No threshold lies below it.
    """
    sums = [sums_of(one, allowance) for one in departures]
    joined = np.concatenate(sums)
    segments = np.repeat(np.arange(len(sums)), [len(one) for one in sums])
    if len(joined) == 0:
        return SumTail(0.0, 0.0, 0.0, least, 1.0)
    level, scale, rate = _tail(joined, segments)
    least = max(least, _ABOVE_LARGEST * float(joined.max()))
    return SumTail(level, scale, rate, least, long_run_variance(departures), float(len(joined)))


def of_rows(tail: SumTail, rows: int) -> SumTail:
    """Return the tail of sums of rows, from that of the means of so many rows each."""
    return SumTail(
        level=tail.level * rows,
        scale=tail.scale * rows,
        rate=tail.rate / rows,
        least=tail.least * rows,
        variance=tail.variance * rows,
        rows=tail.rows * rows,
    )


def large_sum_tail(
    departures: Sequence[NDArray[np.float64]], allowance: float, beyond: float = LARGE_DEPARTURES[-1]
) -> SumTail:
    """Return the tail of the sums of the large departures of one channel, whatever their sign.

    Args:
        departures: One float64 [n] for each series, in spreads, NaN where unknown.
        allowance: The departure that does not add up in the other sums.
        beyond: By so much more than that a departure counts, one of `LARGE_DEPARTURES`.
    """
    sums = [_added_up(np.abs(one[~np.isnan(one)]) - allowance - beyond) for one in departures]
    joined = np.concatenate(sums)
    segments = np.repeat(np.arange(len(sums)), [len(one) for one in sums])
    if len(joined) == 0:
        return SumTail(0.0, 0.0, 0.0, _LEAST, 0.0)
    level, scale, rate = _tail(joined, segments)
    least = max(_LEAST_LARGE, _LARGE_ABOVE_LARGEST * float(joined.max()))
    return SumTail(level, scale, rate, least, 0.0, float(len(joined)))


def cumulative_threshold(tail: SumTail, allowance: float, events_a_row: float) -> float:
    """Return the sum, in spreads, that the evidence of one channel exceeds so many times a row.

    It lies above the largest sum that was seen: a quarter, or a half for large departures. Where the budget
    allows three alarms or more in the history, the fitted tail alone decides.
    """
    exceeded = 0.0
    if tail.scale > 0:
        exceeded = tail.level + tail.scale * math.log(max(tail.rate / events_a_row, 1.0))
    slow = diffusion_threshold(tail.variance, allowance, events_a_row) if tail.variance > 0 else 0.0
    least = tail.least
    if tail.scale > 0 and events_a_row * tail.rows >= _FEW_ALLOWED:
        least = _LEAST if tail.variance > 0 else _LEAST_LARGE
    return max(least, exceeded, slow)


def cumulative_thresholds(
    limits: HasSums, budget: str, interval_ns: int, share: float = 1.0 - SCORE
) -> tuple[float, ...]:
    """Return the threshold of each channel that keeps all of them to their share of an alarm budget.

    A channel that is left out has 0. Limits of an older artifact, without tails, keep their thresholds.

    Args:
        limits: With the tails of the sums, and the allowances.
        budget: Of one series, such as "1/week".
        interval_ns: Length of a row in nanoseconds.
        share: Of the budget, for all channels together.
    """
    if not limits.tails:
        return limits.threshold
    channels = zip(zip(*limits.tails, strict=True), limits.allowance, limits.threshold, strict=True)
    events_a_row = share / rows_per_event(budget, interval_ns) / len(limits.allowance)
    return tuple(
        cumulative_threshold(SumTail(*tail), allowance, events_a_row) if threshold > 0 else 0.0
        for tail, allowance, threshold in channels
    )


def calibrated_sums(
    reference: Reference, budget: str, interval_ns: int, share: float = 1.0 - SCORE
) -> Reference:
    """Return the reference with thresholds that keep its sums to their share of an alarm budget.

    Half of the share is for large departures. A channel that is left out has 0 in both. Arguments are those
    of `cumulative_thresholds`.
    """
    events_a_row = share / rows_per_event(budget, interval_ns) / len(reference.allowance)
    sizes = len(LARGE_DEPARTURES)
    channels = zip(
        zip(*reference.large_tails, strict=True),
        reference.allowance * sizes,
        reference.threshold * sizes,
        strict=bool(reference.large_tails),
    )
    large = tuple(
        cumulative_threshold(SumTail(*tail), allowance, events_a_row / 2.0 / sizes) if threshold > 0 else 0.0
        for tail, allowance, threshold in channels
    )
    of_small = share / 2.0 if large else share
    return replace(
        reference,
        threshold=cumulative_thresholds(reference, budget, interval_ns, of_small),
        large_threshold=large or reference.large_threshold,
    )


def long_run_variance(departures: Sequence[NDArray[np.float64]]) -> float:
    """Return an upper estimate of the variance of sums of departures, for each row, at least 1.

    It is the largest over blocks of several lengths: their length times the variance of their means.

    Args:
        departures: One float64 [n] for each series, in spreads, NaN where unknown.
    """
    known = [one[~np.isnan(one)] for one in departures]
    largest = 1.0
    for rows in _BLOCKS:
        means = [one[: len(one) // rows * rows].reshape(-1, rows).mean(axis=1) for one in known]
        joined = np.concatenate(means)
        if len(joined) >= _FEWEST_BLOCKS:
            margin = 1.0 + 2.0 * (2.0 / len(joined)) ** 0.5
            largest = max(largest, margin * rows * float(np.square(joined).mean()))
    return largest


def diffusion_threshold(variance: float, allowance: float, events_a_row: float) -> float:
    """Return the sum, in spreads, that a Brownian motion exceeds so many times a row, on either side.

    Args:
        variance: Of the motion, for each row.
        allowance: Its drift downwards, for each row.
        events_a_row: Of both sides together.

    >>> round(diffusion_threshold(1.0, 0.25, 1e-5), 1)
    19.1
    """
    unit = variance / (2.0 * allowance)
    return unit * math.log1p(2.0 / events_a_row * 2.0 * allowance**2 / variance) - _BEYOND


def sums_of(departure: NDArray[np.float64], allowance: float) -> NDArray[np.float64]:
    """Return the larger of the two sums after every known row, float64; the sums have no upper limit.

    >>> sums_of(np.array([1.0, 1.0, np.nan, -2.0]), 0.25).tolist()
    [0.75, 1.5, 1.75]
    """
    known = departure[~np.isnan(departure)]
    both = np.zeros((2, len(known)))
    for number, steps in enumerate((known - allowance, -known - allowance)):
        both[number] = _added_up(steps)
    larger: NDArray[np.float64] = both.max(axis=0)
    return larger


def _added_up(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum after every step, float64 [n]; it never falls below 0."""
    total = np.cumsum(steps)
    sums: NDArray[np.float64] = total - np.minimum(np.minimum.accumulate(total), 0.0)
    return sums


def _tail(sums: NDArray[np.float64], segments: NDArray[np.int64]) -> tuple[float, float, float]:
    """Return level, scale and peaks a row of the exponential tail; the scale is 0 with too few peaks."""
    peaks, level = np.empty(0), 0.0
    for quantile in _LEVELS:
        level = float(np.quantile(sums, quantile))
        peaks = decluster(sums, segments, level, _RUN_ROWS)
        if len(peaks) >= _MIN_PEAKS:
            break
    if len(peaks) < _FEWEST_PEAKS:
        return level, 0.0, 0.0
    scale = float((peaks - level).mean()) * (1.0 + 2.0 * len(peaks) ** -0.5)
    return level, scale, len(peaks) / len(sums)
