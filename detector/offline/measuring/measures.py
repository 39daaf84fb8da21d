"""Measures of how well scores separate labelled anomalies from other rows.

Ranking measures (VUS-PR, AUC-PR, AUC-ROC) need no threshold; the others use score > 1. Point-adjusted F1 is
left out on purpose: random scores reach high values of it (docs/evaluation.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NUM_THRESHOLDS = 250
_MAX_LAG, _MAX_ACF_ROWS, _MIN_PERIOD, _MAX_PERIOD, _FALLBACK_PERIOD = 400, 20_000, 3, 300, 125


def runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first and the last index of each maximal run of True, intp [k] each.

    >>> first, last = runs(np.array([True, True, False, True]))
    >>> first.tolist(), last.tolist()
    ([0, 3], [1, 3])
    """
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1


def vus_pr(label: NDArray[np.integer], score: NDArray[np.float64], buffer: int) -> float:
    """Return the volume under the precision-recall surface over buffers of 0 to `buffer` rows around events.

    Equal to the authors' implementation with its 250 thresholds, but all thresholds of a buffer are computed
    at once from counts. Paparrizos et al., "Volume Under the Surface", VLDB 2022.

    Args:
        label: integer [n], 1 anomalous.
        score: float64 [n], higher is more anomalous.
        buffer: most rows, at least 0.

    Returns:
        A number from 0 to 1; NaN where there is no event.

    Raises:
        ValueError: a score is NaN. The caller decides how unknown scores rank.
    """
    _check(label, score)
    first, last = runs(label > 0)
    if len(first) == 0:
        return float("nan")
    level = _levels(score)
    inside = label > 0
    num_inside = float(inside.sum())
    predicted = _cumulated(level, None)
    predicted_inside = _cumulated(level[inside], None)
    near, pair_row, pair_distance = _neighbourhood(inside, first, last, buffer)
    found = {half: _existence(level, first, last, half) for half in range(buffer // 2 + 1)}
    precisions = []
    for width in range(buffer + 1):
        weight = _weights(pair_row, pair_distance, width, len(near))
        partly = _cumulated(level[near], weight)
        hit = predicted_inside + partly
        positives = num_inside + partly / 2.0
        recall = np.minimum(hit / positives, 1.0) * found[width // 2]
        precisions.append(float(np.dot(np.diff(recall, prepend=0.0), hit / predicted)))
    return float(np.mean(precisions))


def auc_pr(label: NDArray[np.integer], score: NDArray[np.float64]) -> float:
    """Return the average precision; NaN without an anomalous row. Arguments are those of `vus_pr`.

    Raises ValueError for a NaN score.

    >>> auc_pr(np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.8, 0.7]))
    0.8333333333333333
    """
    hits, flagged = _ranked(label, score)
    if len(hits) == 0 or hits[-1] == 0:
        return float("nan")
    gained = np.diff(hits, prepend=0.0)
    return float(np.sum(gained * hits / flagged) / hits[-1])


def auc_roc(label: NDArray[np.integer], score: NDArray[np.float64]) -> float:
    """Return the probability that an anomalous row scores above a normal one; ties count half.

    NaN without rows of both kinds. Arguments are those of `vus_pr`. Raises ValueError for a NaN score.
    """
    hits, flagged = _ranked(label, score)
    if len(hits) == 0 or hits[-1] in (0, flagged[-1]):
        return float("nan")
    false = flagged - hits
    return float(np.trapezoid(np.append(0.0, hits), np.append(0.0, false)) / (hits[-1] * false[-1]))


@dataclass(frozen=True, slots=True)
class AlarmCounts:
    """Count what a threshold found on one series. Counts of several series can be added.

    Events are maximal runs of labelled rows, alarms are maximal runs of flagged rows. An alarm is false if it
    touches no labelled row. `delays` are the rows from the start of an event to its first flagged row.
    """

    rows: int
    true_positives: int
    flagged: int
    labelled: int
    events: int
    events_found: int
    false_alarms: int
    delays: tuple[int, ...]

    @property
    def precision(self) -> float:
        """Share of the flagged rows that are labelled; NaN if none is flagged."""
        return _ratio(self.true_positives, self.flagged)

    @property
    def recall(self) -> float:
        """Share of the labelled rows that are flagged; NaN if none is labelled."""
        return _ratio(self.true_positives, self.labelled)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall of rows; NaN without flagged and labelled rows."""
        return _ratio(2 * self.true_positives, self.flagged + self.labelled)

    @property
    def event_recall(self) -> float:
        """Share of the events with at least one flagged row; NaN without events."""
        return _ratio(self.events_found, self.events)

    @property
    def median_delay_rows(self) -> float:
        """Median of `delays` in rows; NaN if no event was found."""
        return float(np.median(self.delays)) if self.delays else float("nan")

    @property
    def false_alarms_per_10k_rows(self) -> float:
        """False alarms per 10,000 rows; NaN without rows."""
        return _ratio(10_000 * self.false_alarms, self.rows)

    def as_json(self) -> dict[str, float | int]:
        """Return the measures that reports list, as plain values; NaN where unknown."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "events": self.events,
            "event_recall": self.event_recall,
            "median_delay_rows": self.median_delay_rows,
            "false_alarms": self.false_alarms,
        }

    def __add__(self, other: AlarmCounts) -> AlarmCounts:
        return AlarmCounts(
            self.rows + other.rows,
            self.true_positives + other.true_positives,
            self.flagged + other.flagged,
            self.labelled + other.labelled,
            self.events + other.events,
            self.events_found + other.events_found,
            self.false_alarms + other.false_alarms,
            self.delays + other.delays,
        )


NO_ALARMS = AlarmCounts(0, 0, 0, 0, 0, 0, 0, ())


def count_alarms(label: NDArray[np.integer], flagged: NDArray[np.bool_]) -> AlarmCounts:
    """Compare flagged rows with labelled rows; label integer [n], flagged bool [n], in the order of time.

    >>> counts = count_alarms(np.array([0, 1, 1, 0, 0]), np.array([False, False, True, False, True]))
    >>> counts.events_found, counts.delays, counts.false_alarms
    (1, (1,), 1)
    """
    truth = label > 0
    delays = []
    event_first, event_last = runs(truth)
    for first, last in zip(event_first.tolist(), event_last.tolist(), strict=True):
        hits = np.flatnonzero(flagged[first : last + 1])
        if len(hits):
            delays.append(int(hits[0]))
    alarm_first, alarm_last = runs(flagged)
    labelled_before = np.append(0, np.cumsum(truth))
    touched = labelled_before[alarm_last + 1] - labelled_before[alarm_first]
    return AlarmCounts(
        rows=len(label),
        true_positives=int((truth & flagged).sum()),
        flagged=int(flagged.sum()),
        labelled=int(truth.sum()),
        events=len(event_first),
        events_found=len(delays),
        false_alarms=int((touched == 0).sum()),
        delays=tuple(delays),
    )


def autocorrelation_period(values: NDArray[np.float64]) -> int:
    """Return the rows of the dominant period: the highest local maximum of the autocorrelation, or 125.

    By this rule the published benchmarks choose their VUS buffer (TSB-UAD, VLDB 2022). It takes the first
    20,000 rows and lags 3 to 400, and discards periods above 300. values float64 [n]; NaN counts as the mean.
    """
    values = values[:_MAX_ACF_ROWS]
    missing = np.isnan(values)
    if missing.all():
        return _FALLBACK_PERIOD
    values = np.where(missing, values[~missing].mean(), values)
    num_lags = min(_MAX_LAG, len(values) - 1)
    if num_lags <= _MIN_PERIOD + 1 or np.ptp(values) == 0:
        return _FALLBACK_PERIOD
    correlation = _autocorrelation(values)[_MIN_PERIOD : num_lags + 1]
    middle = correlation[1:-1]
    peaks = np.flatnonzero((middle > correlation[:-2]) & (middle > correlation[2:])) + 1
    if len(peaks) == 0:
        return _FALLBACK_PERIOD
    best = int(peaks[np.argmax(correlation[peaks])])
    if best < _MIN_PERIOD or best > _MAX_PERIOD:
        return _FALLBACK_PERIOD
    return best + _MIN_PERIOD


def _autocorrelation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = values - values.mean()
    size = 1 << (2 * len(values) - 1).bit_length()
    power = np.abs(np.fft.rfft(centred, size)) ** 2
    covariance = np.fft.irfft(power, size)[: len(values)]
    correlation: NDArray[np.float64] = covariance / covariance[0]
    return correlation


def _check(label: NDArray[np.integer], score: NDArray[np.float64]) -> None:
    if len(label) != len(score):
        raise ValueError(f"{len(label)} labels for {len(score)} scores")
    unknown = np.flatnonzero(np.isnan(score))
    if len(unknown):
        raise ValueError(
            f"{len(unknown)} of {len(score)} scores are NaN, the first at row {unknown[0]}: leave these"
            " rows out, or choose how they rank, as in np.nan_to_num(score)"
        )


def _levels(score: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return for each row the first of the descending thresholds that flags it."""
    descending = -np.sort(-score)
    thresholds = descending[np.linspace(0, len(score) - 1, _NUM_THRESHOLDS).astype(int)]
    return np.searchsorted(-thresholds, -score, side="left")


def _cumulated(level: NDArray[np.intp], weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return the total weight (count) of the rows flagged at each threshold, float64 [thresholds]."""
    total: NDArray[np.float64] = np.cumsum(np.bincount(level, weight, _NUM_THRESHOLDS), dtype=np.float64)
    return total


def _neighbourhood(
    inside: NDArray[np.bool_], first: NDArray[np.intp], last: NDArray[np.intp], buffer: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
    """Find the rows outside all events but within half the buffer of an event.

    Returns these rows [m]; and for each pair of row and event, the index of the row and the distance.
    """
    distance = np.arange(1, buffer // 2 + 1)
    row = np.concatenate([(last[:, None] + distance).ravel(), (first[:, None] - distance).ravel()])
    distance = np.tile(distance, 2 * len(first))
    valid = (row >= 0) & (row < len(inside))
    valid[valid] &= ~inside[row[valid]]
    near, index = np.unique(row[valid], return_inverse=True)
    return near, index, distance[valid]


def _weights(
    row: NDArray[np.intp], distance: NDArray[np.int64], width: int, num_rows: int
) -> NDArray[np.float64]:
    """Return how much each near row counts as anomalous for a buffer of `width`, float64 [num_rows]."""
    if width < 2:
        return np.zeros(num_rows)
    within = distance <= width // 2
    share = np.sqrt(1.0 - distance[within] / width)
    return np.minimum(np.bincount(row[within], share, num_rows), 1.0)


def _existence(
    level: NDArray[np.intp], first: NDArray[np.intp], last: NDArray[np.intp], half: int
) -> NDArray[np.float64]:
    """Return the share of the events, widened by `half` rows and merged, that each threshold flags."""
    apart = last[:-1] + half < first[1:] - half
    starts = np.maximum(np.append(first[0], first[1:][apart]) - half, 0)
    stops = np.minimum(np.append(last[:-1][apart], last[-1]) + half + 1, len(level))
    bounds = np.column_stack([starts, stops]).ravel()
    if bounds[-1] == len(level):
        bounds = bounds[:-1]
    earliest = np.minimum.reduceat(level, bounds)[::2]
    return _cumulated(earliest, None) / len(starts)


def _ranked(
    label: NDArray[np.integer], score: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count labelled rows and all rows at or above each distinct score, from the highest down."""
    _check(label, score)
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1) if len(score) else order
    hits = np.cumsum(label[order] > 0, dtype=np.float64)
    return hits[ends], (ends + 1).astype(np.float64)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
