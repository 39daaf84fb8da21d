"""The events that labels mark; it loads no model, so that readers of records need none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from detector.offline.measuring.backtest_measures import LabelledSeries


@dataclass(frozen=True, slots=True)
class Event:
    """Hold a run of rows of one series that labels mark.

    series            its name
    start_ns, end_ns  times of the first and the last marked row
    """

    series: str
    start_ns: int
    end_ns: int


def events_of(labels: dict[str, LabelledSeries]) -> tuple[Event, ...]:
    """Return the runs of marked rows of all series, by series and time."""
    found = []
    for name, truth in labels.items():
        edges = np.flatnonzero(np.diff(truth.label != 0, prepend=False, append=False))
        times = truth.timestamp_ns
        pairs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        found += [Event(name, int(times[first]), int(times[after - 1])) for first, after in pairs]
    return tuple(found)
