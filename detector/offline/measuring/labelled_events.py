"""Which labelled events were found: by a score above 1 as the measures count them, and by an incident."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Spec
from detector.incidents.incident import Incident
from detector.offline.measuring.backtest_measures import LabelledSeries
from detector.offline.measuring.measures import runs
from detector.rows.grid import starts_of_rows
from detector.scoring.window_scorer import slow_rows_of


@dataclass(frozen=True, slots=True)
class LabelledEvent:
    """Hold a maximal run of labelled rows of one series.

    start_ns, end_ns  begin of its first row, end of its last row
    delay_rows        rows until the first score above 1; None: there is none, the event was missed
    incident          id of the first incident that overlaps it, or None
    """

    series: str
    start_ns: int
    end_ns: int
    delay_rows: int | None
    incident: str | None


def labelled_events(
    labels: Mapping[str, LabelledSeries],
    unusual_ns: Mapping[str, NDArray[np.int64]],
    incidents: Sequence[Incident],
    spec: Spec,
) -> tuple[LabelledEvent, ...]:
    """Return the events of all series, by time.

    Args:
        labels: rows by series.
        unusual_ns: int64, begin of the rows with a score above 1, in ascending order, by series.
        incidents: those that opened.
        spec: the model's specification: the intervals of the series.
    """
    found = (
        event
        for name, truth in labels.items()
        for event in _of_series(name, truth, unusual_ns.get(name, np.zeros(0, np.int64)), incidents, spec)
    )
    return tuple(sorted(found, key=lambda one: (one.start_ns, one.series)))


def _of_series(
    name: str,
    truth: LabelledSeries,
    unusual_ns: NDArray[np.int64],
    incidents: Sequence[Incident],
    spec: Spec,
) -> Iterator[LabelledEvent]:
    interval = spec.interval_of(name)
    rows = starts_of_rows(truth.timestamp_ns, interval, slow_rows_of(spec.max_gap))
    is_unusual = np.isin(rows, unusual_ns)
    mine = [one for one in incidents if one.series == name]
    for first, last in zip(*(ends.tolist() for ends in runs(truth.label > 0)), strict=True):
        hits = np.flatnonzero(is_unusual[first : last + 1])
        start, end = int(rows[first]), int(rows[last]) + interval
        overlapping = (one.id for one in mine if _overlaps(one, start, end))
        yield LabelledEvent(name, start, end, int(hits[0]) if len(hits) else None, next(overlapping, None))


def _overlaps(incident: Incident, start_ns: int, end_ns: int) -> bool:
    return incident.start_ns < end_ns and (incident.end_ns is None or incident.end_ns >= start_ns)
