"""Grouping: many series that alarm at once become one notification.

Groups are formed from incident events, outside of the engine. Which series alarm at once is a question about
all partitions, and no process of the group reads them all
(docs/decisions/0015-folding-where-people-read.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from detector.incidents.incident import Incident, IncidentEvent, Severity
from detector.incidents.rules import FoldRules


@dataclass(frozen=True, slots=True)
class IncidentGroup:
    """The incidents of several series as one.

    id         derived from the first incident, so that it stays the same while others join
    state      firing while one of the incidents is
    severity   the worst of the incidents' severities
    start_ns   start of the first incident when the group opened; the others began near to it
    incidents  in their newest state, by start and series; resolved ones too
    """

    id: str
    state: Literal["firing", "resolved"]
    severity: Severity
    start_ns: int
    incidents: tuple[Incident, ...]

    @property
    def series(self) -> tuple[str, ...]:
        """The series of the incidents, each once."""
        return tuple(dict.fromkeys(one.series for one in self.incidents))

    @property
    def first(self) -> Incident:
        """The incident that likely came first: the earliest start, and of equal ones the highest peak."""
        return self._by_onset[0]

    @property
    def series_by_onset(self) -> tuple[str, ...]:
        """The series of the incidents, each once, the likely first one at the beginning."""
        return tuple(dict.fromkeys(one.series for one in self._by_onset))

    @property
    def _by_onset(self) -> list[Incident]:
        return sorted(self.incidents, key=lambda one: (one.start_ns, -(one.known_peak or 0.0), one.series))


@dataclass(frozen=True, slots=True)
class GroupEvent:
    """A change of a group: it opened, others joined it, it escalated, or it resolved."""

    kind: Literal["opened", "joined", "escalated", "resolved"]
    fold: IncidentGroup


_ALWAYS_SINGLE = ("lasting", "accepted", "rejected", "unjudged", "judged")
"""What people decide about one incident, and what they are asked to decide."""


def group_all(rules: FoldRules, incidents: Iterable[Incident]) -> tuple[IncidentGroup, ...]:
    """Return the groups among incidents that are all known already, given in any order."""
    if rules.num_series == 0:
        return ()
    found = (_folded(group) for group in _groups(rules, incidents))
    return tuple(fold for fold in found if len(fold.series) >= rules.num_series)


@dataclass(slots=True)
class Grouping:
    """Groups incident events as they arrive.

    An incident whose opening was emitted before its group opened is also resolved by an event of its own. An
    incident that joins an open group appears in the events of the group only.
    """

    rules: FoldRules
    _open: dict[str, Incident] = field(default_factory=dict)
    _folds: list[IncidentGroup] = field(default_factory=list)
    _alone: set[str] = field(default_factory=set)

    def take(
        self, events: Sequence[IncidentEvent]
    ) -> tuple[tuple[IncidentEvent, ...], tuple[GroupEvent, ...]]:
        """Take the next events; return those to emit one by one, and the events of groups."""
        if self.rules.num_series == 0:
            return tuple(events), ()
        for event in events:
            if event.kind == "opened":
                self._open[event.incident.id] = event.incident
        changes = [*self._joined(), *self._opened()]
        single = [event for event in events if event.kind in _ALWAYS_SINGLE or self._is_single(event)]
        changes += self._went_on({event.incident.id: event.incident for event in events})
        for event in events:
            if event.kind == "resolved":
                self._open.pop(event.incident.id, None)
                self._alone.discard(event.incident.id)
        return tuple(single), tuple(changes)

    def _joined(self) -> list[GroupEvent]:
        """Let open incidents that start near an open group join it; return the events."""
        changes = []
        for at, fold in enumerate(self._folds):
            near = [one for one in self._loose() if abs(one.start_ns - fold.start_ns) <= self.rules.window_ns]
            if near:
                self._folds[at] = _renewed(fold, [*fold.incidents, *near])
                changes.append(GroupEvent("joined", self._folds[at]))
        return changes

    def _opened(self) -> list[GroupEvent]:
        """Open groups among the incidents that belong to none; return the events."""
        new = group_all(self.rules, self._loose())
        self._folds += new
        return [GroupEvent("opened", fold) for fold in new]

    def _loose(self) -> list[Incident]:
        """Return the open incidents that belong to no group."""
        folded = {one.id for fold in self._folds for one in fold.incidents}
        return [one for one in self._open.values() if one.id not in folded]

    def _is_single(self, event: IncidentEvent) -> bool:
        """Return whether to emit the event by itself: its incident has no group, or opened before it."""
        identifier = event.incident.id
        if identifier in self._alone:
            return True
        if any(one.id == identifier for fold in self._folds for one in fold.incidents):
            return False
        if event.kind == "opened":
            self._alone.add(identifier)
        return True

    def _went_on(self, newest: dict[str, Incident]) -> list[GroupEvent]:
        """Update the groups of these incidents; return the escalations and resolutions of groups."""
        changes = []
        for at, fold in enumerate(self._folds):
            if not any(one.id in newest for one in fold.incidents):
                continue
            now = _renewed(fold, [newest.get(one.id, one) for one in fold.incidents])
            self._folds[at] = now
            if now.severity != fold.severity:
                changes.append(GroupEvent("escalated", now))
            if now.state == "resolved":
                changes.append(GroupEvent("resolved", now))
        self._folds = [fold for fold in self._folds if fold.state == "firing"]
        return changes


def _groups(rules: FoldRules, incidents: Iterable[Incident]) -> list[list[Incident]]:
    """Split incidents by start; each part lies within the window of its first incident."""
    groups: list[list[Incident]] = []
    for one in sorted(incidents, key=lambda one: (one.start_ns, one.series, one.id)):
        if groups and one.start_ns - groups[-1][0].start_ns <= rules.window_ns:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _folded(incidents: Sequence[Incident]) -> IncidentGroup:
    """Return a new group of these incidents."""
    ordered = tuple(sorted(incidents, key=lambda one: (one.start_ns, one.series, one.id)))
    first = ordered[0]
    identifier = hashlib.sha256(f"fold\0{first.id}".encode()).hexdigest()[:16]
    firing = any(one.state == "firing" for one in ordered)
    worst = any(one.severity == "critical" for one in ordered)
    return IncidentGroup(
        identifier,
        "firing" if firing else "resolved",
        "critical" if worst else "warning",
        first.start_ns,
        ordered,
    )


def _renewed(fold: IncidentGroup, incidents: Sequence[Incident]) -> IncidentGroup:
    """Return the group with these incidents instead; id and start stay."""
    return replace(_folded(incidents), id=fold.id, start_ns=fold.start_ns)
