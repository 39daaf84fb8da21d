"""The history by time of day: mean and variance of each channel in each slot of each day.

Letters: N days of all series, S slots a day, C channels.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from detector.artifact.season import Calendar
from detector.artifact.spec import Spec
from detector.scoring.context.profile import WeekClock
from detector.scoring.preprocessing import scale_rows
from trainer.data.history import History, by_series

_READ_ROWS = 1 << 14
_LIMIT = 1_000.0
"""Values count up to so many units of the model: a level far out that recurs is a level, and the medians
over days bear what does not recur."""
_MOST_CELLS, _LEAST_DAYS = 10_000_000, 28
"""So many days x slots x channels are fitted, about 1 GB at the peak; but four weeks at least."""


@dataclass(frozen=True, slots=True)
class SlotMeans:
    """Hold the history by slots.

    Attributes:
        series: The names of those whose days are here.
        number: int64 [N], which series each day is of.
        day: int64 [N], days since 1970-01-01 in local time.
        weekday: int64 [N], what each day counts as; -1 on muted days.
        mean: float64 [N, S, C], in the units of the model; NaN where no value came.
        variance: float64 [N, S, C], of the rows of the slot.
        others: The level of each series whose days are not here, float64 [C].
    """

    series: tuple[str, ...]
    number: NDArray[np.int64]
    day: NDArray[np.int64]
    weekday: NDArray[np.int64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    others: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def rows_of(
    spec: Spec, history: History, chosen: Collection[str] | None = None
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float32]]]:
    """Yield series, starts of rows in nanoseconds, int64 [n], and rows in the units of the model, [n, C].

    The rows of a series follow each other; all series have their turn, or those that are `chosen`.
    """
    for series, segments in by_series(history.segments).items():
        if chosen is not None and series not in chosen:
            continue
        center, scale = spec.scales_of(series)
        interval_ns = history.intervals.get(series, history.interval_ns)
        for segment in segments:
            for start in range(segment.position, segment.stop, _READ_ROWS):
                stop = min(segment.stop, start + _READ_ROWS)
                row = segment.row + np.arange(start, stop) - segment.position
                yield series, row * interval_ns, scale_rows(history.read(start, stop), center, scale)


def slot_means(spec: Spec, history: History, calendar: Calendar, slot_seconds: int) -> SlotMeans:
    """Return the history by slots: of all series, or of evenly chosen ones where all would take much memory.

    Args:
        spec: The description of the model; its scales are used.
        history: The cleaned rows.
        calendar: The zone and special days.
        slot_seconds: Length of a slot.
    """
    clock, slots = WeekClock(calendar, slot_seconds), 86_400 // slot_seconds
    most = max(_LEAST_DAYS, _MOST_CELLS // (slots * len(spec.channels)))
    spans = _spans(history, clock, most)
    chosen = _evenly(spans, most)
    found: dict[str, tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = {}
    others: dict[str, NDArray[np.float64]] = {}
    for series, blocks in groupby(rows_of(spec, history), key=lambda one: one[0]):
        sums = _Sums(spans[series], slots, len(spec.channels))
        for _, start_ns, scaled in blocks:
            sums.add(*clock.slots(start_ns), scaled)
        mean, variance = sums.mean_and_variance()
        has_rows = ~np.isnan(mean).all(axis=(1, 2))
        if series in chosen:
            found[series] = (sums.days[has_rows], mean[has_rows], variance[has_rows])
        else:
            others[series] = level_of(mean[has_rows])
    day, mean, variance = (np.concatenate(one) for one in zip(*found.values(), strict=True))
    number = np.repeat(np.arange(len(found)), [len(days) for days, _, _ in found.values()])
    return SlotMeans(tuple(found), number, day, clock.weekdays(day), mean, variance, others)


def level_of(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the level of a series, its median over all slots, float64 [C]; 0 where no value came.

    Args:
        mean: The slots of its days, float64 [days, S, C].
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # channels without any value
        level: NDArray[np.float64] = np.nan_to_num(np.nanmedian(mean, axis=(0, 1))).astype(np.float64)
    return level


def _spans(history: History, clock: WeekClock, most: int) -> dict[str, tuple[int, int]]:
    """Return the first and last local day of each series, at most so many of the newest days."""
    spans = {}
    for series, segments in by_series(history.segments).items():
        interval_ns = history.intervals.get(series, history.interval_ns)
        edges = [row for one in segments for row in (one.row, one.row + one.length - 1)]
        first, last = clock.slots(np.array([min(edges), max(edges)]) * interval_ns)[0].tolist()
        spans[series] = (max(first, last - most + 1), last)
    return spans


def _evenly(spans: dict[str, tuple[int, int]], most: int) -> frozenset[str]:
    """Return evenly chosen series that span at most so many days together, or one of them."""
    names, num = list(spans), len(spans)
    while True:
        chosen = [names[place * len(names) // num] for place in range(num)]
        if num <= 1 or sum(spans[one][1] - spans[one][0] + 1 for one in chosen) <= most:
            return frozenset(chosen)
        num = min(num - 1, num * 19 // 20)


class _Sums:
    """Add up the rows of one series by day and slot; earlier days than the span do not count."""

    def __init__(self, span: tuple[int, int], slots: int, num_channels: int) -> None:
        self.days = np.arange(span[0], span[1] + 1)
        self.num_days, self._slots = len(self.days), slots
        self._sums = np.zeros((3, self.num_days * slots, num_channels))

    def add(self, day: NDArray[np.int64], slot: NDArray[np.int64], scaled: NDArray[np.float32]) -> None:
        """Add rows at these days and slots, int64 [n] each, float32 [n, C]."""
        if day.min() < self.days[0]:
            kept = day >= self.days[0]
            day, slot, scaled = day[kept], slot[kept], scaled[kept]
        place, known = (day - self.days[0]) * self._slots + slot, ~np.isnan(scaled)
        values = np.clip(np.where(known, scaled, 0.0), -_LIMIT, _LIMIT).astype(np.float64)
        for channel in range(scaled.shape[1]):
            for at, weights in enumerate((known, values, np.square(values))):
                self._sums[at, :, channel] += np.bincount(
                    place, weights[:, channel].astype(np.float64), self._sums.shape[1]
                )

    def mean_and_variance(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return both of each day, slot and channel, float64 [days, S, C]; NaN where no value came."""
        num, total, squares = self._sums.reshape(3, self.num_days, self._slots, -1)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / num
            variance = np.maximum(squares / num - np.square(mean), 0.0) * num / np.maximum(num - 1, 1)
        return mean, variance
