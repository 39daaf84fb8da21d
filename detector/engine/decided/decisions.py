"""Decisions of people as a part of the engine's input: when they take effect, and what they change.

    1. give      the decisions of a topic or a file are kept by series
    2. take in   before live rows of the series, a decision becomes part of the state of the series
    3. apply     it takes effect at the first row that starts at or after its time, before that row is judged

Every decision has a number, its offset in the topic. The state of a series has the greatest number taken in,
so that no restart and no replay takes a decision in twice. What was taken in is saved with the same batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from detector.engine.decided.acceptance import accept
from detector.engine.parts import Parts
from detector.engine.rounds import Rounds
from detector.incidents.decision import OPINIONS, Applied, Decision
from detector.incidents.incident import LEVEL_REASONS, MODEL_REASONS, IncidentEvent
from detector.rows.grid import Rows


@dataclass(slots=True)
class Decisions:
    """The decisions that the engine was given, and what was applied of them in this step.

    Not thread-safe.

    source   stands for the topic or file that they come from
    given    by series, with their numbers in ascending order
    newest   the greatest number given
    fresh    series with decisions that may not have been taken in
    is_new   whether known series may be among `fresh`, and not only those whose first reading is to come
    waiting  series with decisions that wait for their row
    applied  what took effect or was ignored since the last `take_applied`
    """

    source: int = 0
    given: dict[str, list[tuple[int, Decision]]] = field(default_factory=dict)
    newest: int = -1
    fresh: set[str] = field(default_factory=set)
    is_new: bool = False
    waiting: set[str] = field(default_factory=set)
    applied: list[Applied] = field(default_factory=list)

    def give(self, decisions: Sequence[tuple[int, Decision]], source: int) -> None:
        """Keep more decisions, each with its number; those that were given before are left out.

        Opinions are left out too: whether an incident was real changes no row.
        """
        if source != self.source:
            self.source, self.newest = source, -1
            self.given.clear()
        for number, decision in decisions:
            if number > self.newest:
                self.newest = number
                if decision.action in OPINIONS:
                    continue
                self.given.setdefault(decision.series, []).append((number, decision))
                self.fresh.add(decision.series)
                self.is_new = True

    def meet(self, parts: Parts, names: Sequence[str]) -> None:
        """Look again at series that were restored, or moved to other parts of an engine."""
        tracks = [parts.incidents.track(name) for name in names]
        self.fresh.update(name for name in names if name in self.given)
        self.is_new = True
        pending = zip(names, tracks, strict=True)
        self.waiting.update(name for name, track in pending if track is not None and track.pending)

    def take_in(self, parts: Parts, names: Sequence[str]) -> None:
        """Make the decisions about known series part of their states, which become urgent to save.

        Mutes that are over and were taken in by an earlier step are not kept: that step is committed.

        Args:
            parts: the parts of the engine.
            names: the series that send readings in this step.
        """
        some = self.fresh if self.is_new else self.fresh.intersection(names)
        self.is_new = False
        for name in sorted(one for one in some if one in parts.series):
            self.fresh.discard(name)
            slot = int(parts.series.of([name])[0])
            source, number = parts.decided.data[slot].tolist()
            taken = number if source == self.source else -1
            given = self.given.get(name, [])
            newest_ns = _newest_ns(parts, slot)
            given[:] = [(at, one) for at, one in given if at > taken or not _is_over(one, newest_ns)]
            new = [(at, one) for at, one in given if at > taken]
            if new:
                parts.decided.data[slot] = self.source, new[-1][0]
                parts.incidents.track_of(name).pending += [one for _, one in new]
                self.waiting.add(name)
                parts.saved.mark_urgent([slot])

    def judge(self, parts: Parts, rounds: Rounds, rows: Rows) -> None:
        """Judge closed rows; each decision takes effect before the first row to which it applies."""
        for first, some in self.split(parts, rows):
            for at in first:
                self.apply(parts, rounds, int(some.slot[at]), int(some.row[at]))
            if len(some):
                rounds.judge(some)

    def split(self, parts: Parts, rows: Rows) -> Iterator[tuple[list[int], Rows]]:
        """Cut rows where decisions take effect; yield (indices of rows that a decision precedes, rows).

        The indices are places in the rows that come with them.
        """
        due = self._due(parts, rows) if self.waiting and len(rows) else []
        if not due:
            yield [], rows
            return
        part = np.zeros(len(rows), np.int64)
        for at in due:
            same = rows.slot == rows.slot[at]
            part[np.flatnonzero(same & (rows.row >= rows.row[at]))] += 1
        for number in range(int(part.max()) + 1):
            chosen = np.flatnonzero(part == number)
            first = [int(np.searchsorted(chosen, at)) for at in due if part[at] == number]
            yield first, Rows(rows.slot[chosen], rows.row[chosen], rows.values[chosen])

    def apply(self, parts: Parts, rounds: Rounds, slot: int, row: int) -> None:
        """Let the decisions take effect that are due at a row of a series, in the order of their numbers."""
        name, at_ns = parts.series.names[slot], row * int(parts.grid.intervals.data[slot])
        track = parts.incidents.track_of(name)
        due = [one for one in track.pending if one.at_ns <= at_ns]
        track.pending = [one for one in track.pending if one.at_ns > at_ns]
        if not track.pending:
            self.waiting.discard(name)
        for decision in due:
            applied, events = _applied(parts, rounds, decision, at_ns)
            rounds.report(events)
            self.applied.append(applied)
        parts.saved.mark_urgent([slot])

    def take_applied(self) -> tuple[Applied, ...]:
        """Return what took effect or was ignored since the last call."""
        applied, self.applied = tuple(self.applied), []
        return applied

    def drop(self, names: Sequence[str]) -> None:
        """Forget the states of these series; what was given about them is kept."""
        self.waiting.difference_update(names)
        self.fresh.update(name for name in names if name in self.given)

    def _due(self, parts: Parts, rows: Rows) -> list[int]:
        """Return the places of the rows before which something takes effect, ascending."""
        due = set()
        for name in self.waiting:
            if name not in parts.series:
                continue
            slot = int(parts.series.of([name])[0])
            mine = np.flatnonzero(rows.slot == slot)
            track = parts.incidents.track(name)
            if len(mine) == 0 or track is None:
                continue
            start_ns = rows.row[mine] * parts.grid.intervals.data[slot]
            places = np.searchsorted(start_ns, [one.at_ns for one in track.pending])
            due.update(mine[places[places < len(mine)]].tolist())
        return sorted(due)


def _applied(
    parts: Parts, rounds: Rounds, decision: Decision, at_ns: int
) -> tuple[Applied, tuple[IncidentEvent, ...]]:
    """Let one decision take effect before the row at `at_ns`; return what became of it, and the events."""
    slot = int(parts.series.of([decision.series])[0])
    decision = replace(decision, at_ns=at_ns)  # as a replay gets it
    events: tuple[IncidentEvent, ...] = ()
    if decision.action == "mute":
        applied = _mute(parts, slot, Applied(decision, at_ns))
    else:
        if decision.action == "accept":
            rounds.finish_waiting(np.array([slot], np.int32))
        applied, events = _about_incident(parts, slot, Applied(decision, at_ns))
    if applied.outcome == "ignored" and _newest_ns(parts, slot) < 0:
        applied = replace(applied, reason="older than the series")
    return applied, events


def _mute(parts: Parts, slot: int, applied: Applied) -> Applied:
    """Mute a series. One that is over by now ends the mute in force; without such a mute it is ignored."""
    at_ns, until_ns = applied.at_ns, applied.decision.until_ns
    mutes = parts.incidents.mutes
    until_ns = at_ns if until_ns is None else until_ns
    if until_ns <= at_ns and not mutes.at(np.array([slot], np.int32), np.array([at_ns]))[0]:
        return replace(applied, outcome="ignored", reason="expired")
    mutes.set(slot, at_ns, until_ns)
    return applied


def _about_incident(parts: Parts, slot: int, applied: Applied) -> tuple[Applied, tuple[IncidentEvent, ...]]:
    """Accept or reject the open incident of a series."""
    decision = applied.decision
    track = parts.incidents.track_of(decision.series)
    incident = track.incident
    if incident is None or incident.id != decision.incident or incident.reason not in MODEL_REASONS:
        return replace(applied, outcome="ignored", reason="its incident is not open"), ()
    if decision.action == "accept" and incident.reason not in LEVEL_REASONS:
        return replace(applied, outcome="ignored", reason="no level changed"), ()
    if decision.action == "accept":
        return accept(parts, slot, applied)
    if incident.is_rejected:
        return replace(applied, outcome="ignored", reason="it was rejected before"), ()
    track.incident = replace(incident, decision=applied)
    return applied, (IncidentEvent("rejected", applied.at_ns, track.incident),)


def _newest_ns(parts: Parts, slot: int) -> int:
    """Return the start of the newest row of a series, nanoseconds; below 0 where there is none."""
    newest = int(parts.window_scorer.newest(np.array([slot], np.int32))[0])
    return -1 if newest < 0 else newest * int(parts.grid.intervals.data[slot])


def _is_over(decision: Decision, newest_ns: int) -> bool:
    return decision.action == "mute" and decision.until_ns is not None and decision.until_ns <= newest_ns
