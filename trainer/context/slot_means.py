"""The history by time of day: mean and variance of each channel in each slot of each day.

Letters: N days of all series, S slots a day, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
_MOST_DAYS = 20_000


@dataclass(frozen=True, slots=True)
class SlotMeans:
    """Hold the history by slots.

    Attributes:
        series: The names.
        number: int64 [N], which series each day is of.
        day: int64 [N], days since 1970-01-01 in local time.
        weekday: int64 [N], what each day counts as; -1 on muted days.
        mean: float64 [N, S, C], in the units of the model; NaN where no value came.
        variance: float64 [N, S, C], of the rows of the slot.
    """

    series: tuple[str, ...]
    number: NDArray[np.int64]
    day: NDArray[np.int64]
    weekday: NDArray[np.int64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


def rows_of(spec: Spec, history: History) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float32]]]:
    """Yield series, starts of rows in nanoseconds, int64 [n], and rows in the units of the model, [n, C]."""
    for series, segments in by_series(history.segments).items():
        center, scale = spec.scales_of(series)
        interval_ns = history.intervals.get(series, history.interval_ns)
        for segment in segments:
            for start in range(segment.position, segment.stop, _READ_ROWS):
                stop = min(segment.stop, start + _READ_ROWS)
                row = segment.row + np.arange(start, stop) - segment.position
                yield series, row * interval_ns, scale_rows(history.read(start, stop), center, scale)


def slot_means(spec: Spec, history: History, calendar: Calendar, slot_seconds: int) -> SlotMeans | None:
    """Return the history by slots; None where it spans more than 20,000 days of all series.

    Args:
        spec: The description of the model; its scales are used.
        history: The cleaned rows.
        calendar: The zone and special days.
        slot_seconds: Length of a slot.
    """
    clock, found = WeekClock(calendar, slot_seconds), dict[str, _Sums]()
    slots = 86_400 // slot_seconds
    spans = _spans(history, clock)
    if sum(last - first + 1 for first, last in spans.values()) > _MOST_DAYS:
        return None
    for series, start_ns, scaled in rows_of(spec, history):
        if series not in found:
            found[series] = _Sums(spans[series], slots, scaled.shape[1])
        found[series].add(*clock.slots(start_ns), scaled)
    number = np.repeat(np.arange(len(found)), [one.num_days for one in found.values()])
    day = np.concatenate([one.days for one in found.values()])
    both = [one.mean_and_variance() for one in found.values()]
    mean, variance = (np.concatenate([one[at] for one in both]) for at in (0, 1))
    has_rows = ~np.isnan(mean).all(axis=(1, 2))
    number, day, mean, variance = number[has_rows], day[has_rows], mean[has_rows], variance[has_rows]
    return SlotMeans(tuple(found), number, day, clock.weekdays(day), mean, variance)


def _spans(history: History, clock: WeekClock) -> dict[str, tuple[int, int]]:
    """Return the first and last local day of each series."""
    spans = {}
    for series, segments in by_series(history.segments).items():
        interval_ns = history.intervals.get(series, history.interval_ns)
        edges = [row for one in segments for row in (one.row, one.row + one.length - 1)]
        days = clock.slots(np.array([min(edges), max(edges)]) * interval_ns)[0]
        spans[series] = (int(days[0]), int(days[1]))
    return spans


class _Sums:
    """Add up the rows of one series by day and slot."""

    def __init__(self, span: tuple[int, int], slots: int, num_channels: int) -> None:
        self.days = np.arange(span[0], span[1] + 1)
        self.num_days, self._slots = len(self.days), slots
        self._sums = np.zeros((3, self.num_days * slots, num_channels))

    def add(self, day: NDArray[np.int64], slot: NDArray[np.int64], scaled: NDArray[np.float32]) -> None:
        """Add rows at these days and slots, int64 [n] each, float32 [n, C]."""
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
