"""Write incidents to the log: one line for each change of an incident or of a group of incidents."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from detector import logs
from detector.delivery.messages import iso
from detector.incidents.decision import Applied
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
    more: dict[str, object] = {}
    if event.kind == "lasting":
        more["remedy"] = f"decide: streamgauge accept (or reject) {incident.id} --config FILE"
    if incident.unjudged is not None and event.kind == "unjudged":
        more["since"], more["why"] = iso(incident.unjudged.since_ns), incident.unjudged.why
    if event.kind in ("accepted", "rejected") and incident.decision is not None:
        more = _decided(incident.decision)
    logs.event(
        f"incident {event.kind}",
        _level(event.kind),
        series=incident.series,
        id=incident.id,
        severity=incident.severity,
        reason=incident.reason,
        start=iso(incident.start_ns),
        peak_score="unknown" if incident.known_peak is None else round(incident.known_peak, 2),
        channels=",".join(channel.name for channel in incident.channels),
        **more,
    )


def log_decisions(decisions: Iterable[Applied]) -> None:
    """Log one line for each mute, for its end, and for each decision that changed nothing.

    Decisions that are older than their series have one line a series.
    """
    older: dict[str, int] = {}
    for applied in decisions:
        decision = applied.decision
        told: dict[str, Any] = {"series": decision.series, "who": decision.who, "why": decision.why}
        if applied.reason == "older than the series":
            older[decision.series] = older.get(decision.series, 0) + 1
        elif applied.outcome == "ignored":
            told["incident"] = decision.incident
            logs.event(f"{decision.action} ignored: {applied.reason}", logging.WARNING, **told)
        elif decision.action == "mute" and decision.until_ns is not None:
            if decision.until_ns <= applied.at_ns:
                logs.event("mute of series ended", **told)
            else:
                logs.event("series muted", until=iso(decision.until_ns), **told)
    for series, num in older.items():
        logs.event("decisions ignored: older than the series", series=series, decisions=num)


def _decided(applied: Applied) -> dict[str, object]:
    """Return who decided, why, and which levels were learnt."""
    learnt = ", ".join(f"{one.name}: {one.old:.4g} to {one.new:.4g}" for one in applied.learnt)
    return {"who": applied.decision.who, "why": applied.decision.why, "by": applied.by, "learnt": learnt}


def log_group(event: GroupEvent) -> None:
    """Log one line for a change of a group, with the names of its first 20 series."""
    fold = event.fold
    logs.event(
        f"incidents of several series {event.kind}",
        _level(event.kind),
        id=fold.id,
        first=fold.first.series,
        series=",".join(fold.series_by_onset[:_MOST_LOGGED]),
        num_series=len(fold.series),
        severity=fold.severity,
    )


def _level(kind: str) -> int:
    return logging.INFO if kind in ("resolved", "accepted", "rejected", "judged") else logging.WARNING
