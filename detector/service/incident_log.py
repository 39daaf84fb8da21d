"""Write incidents to the log: one line for each change of an incident or of a group of incidents."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from detector import logs
from detector.incidents.grouping import GroupEvent, Grouping
from detector.incidents.incident import IncidentEvent
from detector.incidents.rules import FoldRules

_MOST_LOGGED = 20


class IncidentLog:
    """Log the changes of incidents; incidents of many series at once are logged as one group."""

    def __init__(self, rules: FoldRules) -> None:
        self._grouping = Grouping(rules)

    def log(self, events: Iterable[IncidentEvent], rules: FoldRules) -> None:
        """Log these events, grouped by `rules`, which may change at any time."""
        self._grouping.rules = rules
        single, groups = self._grouping.take(tuple(events))
        for group in groups:
            log_group(group)
        for event in single:
            log_incident(event)


def log_incident(event: IncidentEvent) -> None:
    """Log one line for a change of an incident."""
    incident = event.incident
    logs.event(
        f"incident {event.kind}",
        _level(event.kind),
        series=incident.series,
        id=incident.id,
        severity=incident.severity,
        reason=incident.reason,
        peak_score="unknown" if incident.known_peak is None else round(incident.known_peak, 2),
        channels=",".join(channel.name for channel in incident.channels),
    )


def log_group(event: GroupEvent) -> None:
    """Log one line for a change of a group, with the names of its first 20 series."""
    fold = event.fold
    logs.event(
        f"incidents of several series {event.kind}",
        _level(event.kind),
        id=fold.id,
        series=",".join(fold.series[:_MOST_LOGGED]),
        num_series=len(fold.series),
        severity=fold.severity,
    )


def _level(kind: str) -> int:
    return logging.INFO if kind == "resolved" else logging.WARNING
