"""Accept the level of an open incident as normal: by the decision of a person, or by `on_lasting = "learn"`.

The level of each channel to blame moves by how far it departs from what the other channels say. Where that is
not known, it moves by the mean of the incident's rows minus the usual level before it.
The model then sees the new level where it saw the old one. So the old level is what is unusual from now on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detector.engine.parts import Parts
from detector.incidents.decision import Applied, Decision, Learnt
from detector.incidents.incident import Incident, IncidentEvent
from detector.incidents.lasting import blamed, due_policy, level_of
from detector.rows.series_arrays import SeriesArray

_LONG_ROWS = 96
"""From so many rows on, the last rows say by the other channels how far a level has moved."""


def accept(parts: Parts, slot: int, applied: Applied) -> tuple[Applied, tuple[IncidentEvent, ...]]:
    """Move the levels of a series whose incident is open, and end the incident.

    Args:
        parts: the parts of the engine; no row of the series is waiting.
        slot: the series.
        applied: the decision, at the row from which the new level is the normal one.

    Returns:
        The decision with what was learnt, and the events: `accepted`, then `resolved`. Where no level would
        move, the decision is ignored, and the incident stays open: the model lacks the channels, or
        their departure is unknown.
    """
    name = parts.series.names[slot]
    track = parts.incidents.track_of(name)
    incident, known = track.incident, parts.artifact.spec.channel_names
    assert incident is not None
    named = applied.decision.channels or blamed(incident)
    old = parts.levels.of(slot)
    interval_ns = int(parts.grid.intervals.data[slot])
    departure = level_of(track, len(known)) - old
    if applied.at_ns - incident.start_ns >= _LONG_ROWS * interval_ns:
        departed = parts.row_scorer.evidences.departed(slot)
        departure = np.where(np.isfinite(departed), departed, departure)
    by = np.where(np.isin(known, named) & np.isfinite(departure), departure, 0.0)
    learnt = tuple(
        Learnt(known[at], float(old[at]), float(old[at] + by[at])) for at in np.flatnonzero(by).tolist()
    )
    if not learnt:
        return replace(applied, outcome="ignored", reason="no level changed"), ()
    parts.window_scorer.accept(slot, by, incident.start_ns // interval_ns)
    parts.row_scorer.evidences.accept(slot)
    applied = replace(applied, learnt=learnt)
    decided = replace(incident, decision=applied)
    over = replace(decided, state="resolved", end_ns=track.last_loud_ns, ending="accepted")
    track.incident = track.stretch = track.since_ns = track.course = None
    track.recent.clear()
    at_ns = applied.at_ns
    return applied, (IncidentEvent("accepted", at_ns, decided), IncidentEvent("resolved", at_ns, over))


class Learning:
    """Accepts lasting incidents by itself where the rules say `on_lasting = "learn"`.

    It is a `Feedback`: it acts between two parts of a series.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def acting(self, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which of these series have an open incident that may be learnt, bool [n]."""
        parts = self._parts
        if not parts.incidents.rules.may_learn:
            return np.zeros(len(slots), np.bool_)
        tracks = [parts.incidents.track(parts.series.names[slot]) for slot in slots.tolist()]
        return np.array([track is not None and track.incident is not None for track in tracks], np.bool_)

    def wakes(self, event: IncidentEvent) -> bool:
        """Return whether an incident opened that may be learnt."""
        return event.kind == "opened" and self._parts.incidents.rules.may_learn

    def act(
        self, slots: NDArray[np.int32], finish_waiting: Callable[[NDArray[np.int32]], None]
    ) -> tuple[IncidentEvent, ...]:
        """Accept the incidents that are due; the row to come is the first of the new level."""
        parts, events = self._parts, list[IncidentEvent]()
        next_ns = (parts.window_scorer.newest(slots) + 1) * parts.grid.intervals.data[slots]
        for slot, at_ns in zip(slots.tolist(), next_ns.tolist(), strict=True):
            if self._due(slot, at_ns) is None:
                continue
            finish_waiting(np.array([slot], np.int32))
            incident = self._due(slot, at_ns)  # the waiting rows may have ended it
            if incident is None:
                continue
            applied, found = accept(parts, slot, Applied(_policy(incident, at_ns), at_ns, by="policy"))
            events += found if applied.outcome == "applied" else [self._offered(incident, at_ns)]
        return tuple(events)

    def _due(self, slot: int, at_ns: int) -> Incident | None:
        """Return the open incident of a series if it is to be learnt at `at_ns`."""
        incident = self._parts.incidents.track_of(self._parts.series.names[slot]).incident
        if incident is None or due_policy(self._parts.incidents.rules, incident, at_ns) != "learn":
            return None
        return incident

    def _offered(self, incident: Incident, at_ns: int) -> IncidentEvent:
        """Offer an incident that cannot be learnt to a person, once."""
        track = self._parts.incidents.track_of(incident.series)
        track.incident = replace(incident, lasting_ns=at_ns)
        return IncidentEvent("lasting", at_ns, track.incident)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Do nothing: it keeps nothing of a series."""

    def arrays(self) -> list[SeriesArray]:
        """Return no arrays: it keeps nothing of a series."""
        return []


def _policy(incident: Incident, at_ns: int) -> Decision:
    """Return the decision of the rule `on_lasting = "learn"` about an incident."""
    return Decision(
        id=f"learn-{incident.id}",
        action="accept",
        series=incident.series,
        at_ns=at_ns,
        incident=incident.id,
        channels=blamed(incident),
        who="on_lasting",
        why="the incident lasted",
        decided_at_ns=at_ns,
    )
