"""What an operator sees of a detector: which events it found, for how long, and how often it called in vain.

The measures compare known events with the incidents that a replay through the engine opened. They need no
score and no row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from detector.incidents.incident import Incident

_WEEK_NS = 7 * 86_400 * 1_000_000_000
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Event:
    """Describe something that happened to a series, between two event times in nanoseconds.

    Attributes:
        series: Name of the series.
        start_ns, end_ns: The first time that belongs to it, and the first that no longer does.
        channel: The guilty channel; None where it is unknown.
        kind: Name of the kind of event.
        size: Its size in spreads of the channel; NaN where it has none.
        active: The parts of its time in which it shows, such as the shifts of its machine; (): all of it.
    """

    series: str
    start_ns: int
    end_ns: int
    channel: str | None = None
    kind: str = ""
    size: float = math.nan
    active: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class EventOutcome:
    """State what an operator saw of one event.

    Attributes:
        kind, size: Those of the event.
        incidents: Incidents that opened during it; 0 although found: one was open before.
        found: Whether an incident was open during the event, or opened within the grace after it.
        open_share: Share of its active time with an incident open.
        seconds: From its start to the first incident; NaN if not found.
        place: Place of the guilty channel among those that the incident names, from 1; 0: not named; None:
            unknown, or not found.
    """

    kind: str
    size: float
    incidents: int
    found: bool
    open_share: float
    seconds: float
    place: int | None


@dataclass(frozen=True, slots=True)
class OperatorMeasures:
    """Hold what operators see. Measures of several series or plants add up.

    Attributes:
        events: One outcome for each event.
        false_incidents: Incidents that opened outside all events of their series and their grace.
        false_by_series: The false incidents of each series.
        series_weeks: Weeks of event time outside events, summed over series.
        false_open_weeks: Of them, the weeks with an incident open that opened outside all events.
    """

    events: tuple[EventOutcome, ...] = ()
    false_incidents: int = 0
    false_by_series: dict[str, int] = field(default_factory=dict)
    series_weeks: float = 0.0
    false_open_weeks: float = 0.0

    def __add__(self, other: OperatorMeasures) -> OperatorMeasures:
        """Return the measures of both together; a series that both have counts as one."""
        false = dict(self.false_by_series)
        for name, num in other.false_by_series.items():
            false[name] = false.get(name, 0) + num
        return OperatorMeasures(
            self.events + other.events,
            self.false_incidents + other.false_incidents,
            false,
            self.series_weeks + other.series_weeks,
            self.false_open_weeks + other.false_open_weeks,
        )

    @property
    def found(self) -> float:
        """Return the share of events that were found; NaN without events."""
        return _mean([one.found for one in self.events])

    @property
    def open_share(self) -> float:
        """Return the mean share of their time in which events had an incident open; NaN without events."""
        return _mean([one.open_share for one in self.events])

    @property
    def incidents_per_event(self) -> float:
        """Return the mean number of incidents that opened during a found event: 1 at best."""
        return _mean([one.incidents for one in self.events if one.found])

    @property
    def false_per_week(self) -> float:
        """Return the false incidents a week and series; NaN without normal time."""
        return self.false_incidents / self.series_weeks if self.series_weeks else math.nan

    @property
    def false_open_share(self) -> float:
        """Return the share of normal time with a false incident open; NaN without normal time."""
        return self.false_open_weeks / self.series_weeks if self.series_weeks else math.nan

    @property
    def median_seconds(self) -> float:
        """Return the median time from the start of an event to its first incident, over those found."""
        known = [one.seconds for one in self.events if one.found]
        return float(np.median(known)) if known else math.nan

    def guilty_within(self, places: int) -> float:
        """Return the share of found events of known channel whose channel is among the first `places`."""
        known = [one.place for one in self.events if one.place is not None]
        return _mean([1 <= place <= places for place in known])

    def by(self, *names: str) -> dict[tuple[object, ...], OperatorMeasures]:
        """Return the events alone, grouped by attributes of their outcomes such as "kind" and "size"."""
        groups: dict[tuple[object, ...], list[EventOutcome]] = {}
        for one in self.events:
            key = tuple(_key(getattr(one, name)) for name in names)
            groups.setdefault(key, []).append(one)
        return {key: OperatorMeasures(tuple(groups[key])) for key in sorted(groups, key=repr)}

    def as_json(self) -> dict[str, object]:
        """Return counts and figures as plain values; `read_measures` reads them. Unknown figures are NaN."""
        return {
            "found": self.found,
            "open_share": self.open_share,
            "incidents_per_event": self.incidents_per_event,
            "false_per_week": self.false_per_week,
            "false_open_share": self.false_open_share,
            "guilty_first": self.guilty_within(1),
            "guilty_in_two": self.guilty_within(2),
            "median_seconds": self.median_seconds,
            "counts": asdict(self),
        }


NO_EVENTS = OperatorMeasures()
"""The measures of no series: the start of a sum."""


def read_measures(found: dict[str, Any]) -> OperatorMeasures:
    """Return the measures that `OperatorMeasures.as_json` wrote; null in JSON reads as NaN."""
    counts = found["counts"]
    events = tuple(
        EventOutcome(**{name: _known(name, value) for name, value in one.items()}) for one in counts["events"]
    )
    return OperatorMeasures(**{**counts, "events": events})


def sum_of(parts: Iterable[OperatorMeasures]) -> OperatorMeasures:
    """Return the measures of all parts together."""
    total = NO_EVENTS
    for part in parts:
        total += part
    return total


def measure_incidents(
    events: Sequence[Event], incidents: Iterable[Incident], spans: dict[str, Span], grace_ns: int = 0
) -> OperatorMeasures:
    """Compare the incidents of a replay with what happened.

    An incident finds an event if it is open at some time from the start of the event to its end plus the
    grace. It is false if it opened neither during an event nor within the grace before or after one.

    Args:
        events: What happened, by series; events of one series may overlap.
        incidents: The last state of each incident.
        spans: First time and end of the time that was judged, in nanoseconds, for each series. Incidents and
            events of other series do not count.
        grace_ns: How inexact starts and ends of events are.
    """
    by_series: dict[str, list[Incident]] = {name: [] for name in spans}
    for incident in sorted(incidents, key=lambda one: one.opened_ns):
        if incident.series in by_series:
            by_series[incident.series].append(incident)
    total = OperatorMeasures()
    for name, span in spans.items():
        mine = [event for event in events if event.series == name]
        total += _of_series(name, mine, by_series[name], span, grace_ns)
    return total


def _of_series(
    name: str, events: Sequence[Event], incidents: Sequence[Incident], span: Span, grace_ns: int
) -> OperatorMeasures:
    near = [(event.start_ns - grace_ns, event.end_ns + grace_ns) for event in events]
    false = [one for one in incidents if not any(start <= one.opened_ns < end for start, end in near)]
    normal = span[1] - span[0] - _covered(near, span)
    shown = [part for one in false for part in _without(_open(one, span), near)]
    return OperatorMeasures(
        tuple(_outcome(event, incidents, span, grace_ns) for event in events),
        len(false),
        {name: len(false)},
        normal / _WEEK_NS,
        _covered(shown, span) / _WEEK_NS,
    )


def _outcome(event: Event, incidents: Sequence[Incident], span: Span, grace_ns: int) -> EventOutcome:
    last = event.end_ns + grace_ns
    touching = [one for one in incidents if one.opened_ns < last and _open(one, span)[1] > event.start_ns]
    opened = [one for one in touching if one.opened_ns >= event.start_ns - grace_ns]
    active = event.active or ((event.start_ns, event.end_ns),)
    seen = sum(_covered([_open(one, span) for one in touching], part) for part in active)
    time = sum(end - start for start, end in active)
    first = next(iter([*opened, *touching]), None)
    seconds = max(0, touching[0].opened_ns - event.start_ns) / 1e9 if touching else math.nan
    return EventOutcome(
        event.kind, event.size, len(opened), first is not None, seen / time, seconds, _place(event, first)
    )


def _place(event: Event, incident: Incident | None) -> int | None:
    if event.channel is None or incident is None:
        return None
    names = [channel.name for channel in incident.channels]
    return names.index(event.channel) + 1 if event.channel in names else 0


def _open(incident: Incident, span: Span) -> Span:
    """Return from when to when an incident was open; it ends with its last row, or with the stream."""
    return incident.opened_ns, span[1] if incident.end_ns is None else max(
        incident.end_ns, incident.opened_ns
    ) + 1


def _covered(spans: Iterable[Span], within: Span) -> int:
    """Return how much of `within` the spans cover together."""
    total, at = 0, within[0]
    for start, end in sorted(spans):
        start, end = max(start, at), min(end, within[1])
        if end > start:
            total, at = total + end - start, end
    return total


def _without(span: Span, others: Iterable[Span]) -> list[Span]:
    """Return the parts of a span that none of the others cover."""
    parts, at = [], span[0]
    for start, end in sorted(others):
        if start > at:
            parts.append((at, min(start, span[1])))
        at = max(at, end)
    parts.append((at, span[1]))
    return [part for part in parts if part[0] < part[1]]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _key(value: object) -> object:
    """Return NaN as None: two unknown sizes are one group."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _known(name: str, value: Any) -> Any:
    return math.nan if value is None and name in ("size", "seconds", "open_share") else value
