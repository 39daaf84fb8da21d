"""Many series that turn at once are told as one: incidents folded where people are told of them.

Folding follows the events of incidents; it is no part of the engine, for which series turn at once is a
question about all partitions, and no member sees them all (docs/decisions/0015-folding-where-people-read.md).
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
    """Several series' incidents as one.

    id         of its first incident, so that it stays while others join
    state      firing while one of them is
    severity   the worst of them
    start_ns   of the incident that the others were near to: the first, when it opened
    incidents  as they are now, by start and series; those that are over too
    """

    id: str
    state: Literal["firing", "resolved"]
    severity: Severity
    start_ns: int
    incidents: tuple[Incident, ...]

    @property
    def series(self) -> tuple[str, ...]:
        """Whose incidents they are."""
        return tuple(dict.fromkeys(one.series for one in self.incidents))


@dataclass(frozen=True, slots=True)
class GroupEvent:
    """A change of a fold: opened, joined by others, escalated, resolved."""

    kind: Literal["opened", "joined", "escalated", "resolved"]
    fold: IncidentGroup


def group_all(rules: FoldRules, incidents: Iterable[Incident]) -> tuple[IncidentGroup, ...]:
    """The folds among incidents that are all known, in whatever order they are given."""
    if rules.num_series == 0:
        return ()
    found = (_folded(group) for group in _groups(rules, incidents))
    return tuple(fold for fold in found if len(fold.series) >= rules.num_series)


@dataclass(slots=True)
class Grouping:
    """Folds events as they come. An incident that was told by itself before its fold opened is resolved by
    itself too; whoever joins a fold is told by the fold alone."""

    rules: FoldRules
    _open: dict[str, Incident] = field(default_factory=dict)
    _folds: list[IncidentGroup] = field(default_factory=list)
    _alone: set[str] = field(default_factory=set)

    def take(
        self, events: Sequence[IncidentEvent]
    ) -> tuple[tuple[IncidentEvent, ...], tuple[GroupEvent, ...]]:
        """The next events together; returns those to be told by themselves, and what the folds do."""
        if self.rules.num_series == 0:
            return tuple(events), ()
        for event in events:
            if event.kind == "opened":
                self._open[event.incident.id] = event.incident
        changes = [*self._joined(), *self._opened()]
        single = [event for event in events if self._is_single(event)]
        changes += self._went_on({event.incident.id: event.incident for event in events})
        for event in events:
            if event.kind == "resolved":
                self._open.pop(event.incident.id, None)
                self._alone.discard(event.incident.id)
        return tuple(single), tuple(changes)

    def _joined(self) -> list[GroupEvent]:
        """Open incidents that start near enough to an open fold."""
        changes = []
        for at, fold in enumerate(self._folds):
            near = [one for one in self._loose() if abs(one.start_ns - fold.start_ns) <= self.rules.window_ns]
            if near:
                self._folds[at] = _renewed(fold, [*fold.incidents, *near])
                changes.append(GroupEvent("joined", self._folds[at]))
        return changes

    def _opened(self) -> list[GroupEvent]:
        """Folds among the open incidents that belong to none."""
        new = group_all(self.rules, self._loose())
        self._folds += new
        return [GroupEvent("opened", fold) for fold in new]

    def _loose(self) -> list[Incident]:
        """The open incidents in no fold."""
        folded = {one.id for fold in self._folds for one in fold.incidents}
        return [one for one in self._open.values() if one.id not in folded]

    def _is_single(self, event: IncidentEvent) -> bool:
        """Whether to tell the event by itself: of what is in no fold, or was told before its fold opened."""
        identifier = event.incident.id
        if identifier in self._alone:
            return True
        if any(one.id == identifier for fold in self._folds for one in fold.incidents):
            return False
        if event.kind == "opened":
            self._alone.add(identifier)
        return True

    def _went_on(self, newest: dict[str, Incident]) -> list[GroupEvent]:
        """Folds whose incidents escalated or are over."""
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
    """Incidents by start, each group within the window of its first."""
    groups: list[list[Incident]] = []
    for one in sorted(incidents, key=lambda one: (one.start_ns, one.series, one.id)):
        if groups and one.start_ns - groups[-1][0].start_ns <= rules.window_ns:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _folded(incidents: Sequence[Incident]) -> IncidentGroup:
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
    """The same fold of these incidents."""
    return replace(_folded(incidents), id=fold.id, start_ns=fold.start_ns)
