"""The incident of a stream that stops as a whole, of all processes of a consumer group together.

A process knows its own partitions. When the others got readings it takes from `Elsewhere`. One process of
the group reports: the one with the first partition that ever had a reading of the model. A series of that
partition carries the incident. So the incident goes where its reporter goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detector.incidents.filters.maintenance import in_maintenance
from detector.incidents.incident import Incident, IncidentEvent, Reason, Severity, incident_id
from detector.incidents.incidents import Incidents
from detector.incidents.lifecycle import ScoredBy
from detector.incidents.rules import IncidentRules

STREAM = "*"
"""The name of the series in an incident of the whole stream."""
NEVER = -1


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What this process knows of the other processes of its group.

    received_ns   the service's time at which one of them got a reading last; `NEVER`: not known
    is_ours    whether this process reports that the stream is silent
    partition  the input partition whose series are to carry the incident; None: any
    since_ns   the service's time since which this is known without a gap; `NEVER`: always. A silence counts
        from there on: what others got in the gap is not known
    """

    received_ns: int = NEVER
    is_ours: bool = True
    partition: int | None = None
    since_ns: int = NEVER


ALONE = Elsewhere()
"""There is no other process, or nothing is known of one."""


class StreamSilence:
    """Keeps when any reading of the stream came last, and the open incident of its silence.

    Not thread-safe.

    Args:
        incidents: where the open incidents are kept.
        names: the name of the series in each slot, shared with the engine.
    """

    def __init__(self, incidents: Incidents, names: Sequence[str]) -> None:
        self._incidents, self._names = incidents, names
        self._elsewhere = ALONE
        self._carriers: set[int] = set()
        self._is_quiet, self._opened_ns = False, NEVER
        self.last_ns = NEVER

    @property
    def is_silent(self) -> bool:
        """Whether the stream is silent: an incident is open here, or another process reports it."""
        return bool(self._carriers) or self._is_quiet

    def note_elsewhere(self, elsewhere: Elsewhere) -> None:
        """Take what is known of the other processes; it counts from the next `listen` on."""
        self._elsewhere = elsewhere

    def begin(self, now_ns: int) -> None:
        """Begin to watch at `now_ns`, or go on where a reading came later."""
        self.last_ns = max(self.last_ns, now_ns)

    def carry(self, slot: int) -> None:
        """Take over a restored incident, which the series of this slot carries."""
        self._carriers.add(slot)

    def continue_from(self, other: StreamSilence) -> None:
        """Take over when a reading came last, here and elsewhere."""
        self.last_ns, self._elsewhere = other.last_ns, other._elsewhere

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget what these series carry."""
        self._carriers -= set(slots.tolist())

    def listen(self, now_ns: int | None) -> bool:
        """Note a reading of this process at `now_ns`, None: none; return whether any came, elsewhere too."""
        # What is known late of other processes may be older than the incident.
        before_ns = max(self.last_ns, self._opened_ns)
        is_received = now_ns is not None or self._elsewhere.received_ns > before_ns
        if is_received:
            self.last_ns = self._elsewhere.received_ns if now_ns is None else now_ns
            self._is_quiet = False
        return is_received

    def end(self, at_ns: int) -> tuple[list[IncidentEvent], list[int]]:
        """Resolve the incident, if one is open here; return the event, and the slot whose state changed."""
        carriers, events = sorted(self._carriers), []
        self._carriers.clear()
        self._opened_ns = NEVER
        for track in [self._incidents.track_of(self._names[slot]) for slot in carriers]:
            assert track.stream is not None
            event, track.stream = ended(track.stream, at_ns), None
            events.append(event)
        return events, carriers

    def open(
        self,
        rules: IncidentRules,
        known: NDArray[np.int32],
        partitions: NDArray[np.int32],
        start_ns: int,
        now_ns: int,
    ) -> tuple[tuple[IncidentEvent, ...], tuple[int, ...]]:
        """Open the incident if the stream is silent for too long and this process reports it.

        Args:
            rules: the limit, and maintenance.
            known: the slots of all known series, int32 [n], n > 0.
            partitions: their input partitions, int32 [n].
            start_ns: the newest event time.
            now_ns: the service's time.

        Returns:
            the event, and the slot whose state changed; both empty if there is nothing to report.
        """
        limit_ns = rules.watchdog.stream_after_ns
        self._is_quiet = bool(limit_ns) and self.last_ns != NEVER and now_ns - self.last_ns > limit_ns
        self._is_quiet &= not muted(rules, (STREAM,), now_ns)[0]
        if not self._is_quiet or self._carriers or not self._elsewhere.is_ours:
            return (), ()
        if now_ns - self._elsewhere.since_ns <= limit_ns:
            return (), ()
        wanted = self._elsewhere.partition
        first = known if wanted is None else known[partitions == wanted]
        carrier = min((first if len(first) else known).tolist(), key=lambda slot: self._names[slot])
        incident = made(self._incidents.scored_by, STREAM, "stream_silent", "critical", start_ns, now_ns)
        self._incidents.track_of(self._names[carrier]).stream = incident
        self._carriers.add(carrier)
        self._opened_ns = now_ns
        return (IncidentEvent("opened", now_ns, incident),), (carrier,)


def muted(rules: IncidentRules, names: tuple[str, ...], now_ns: int) -> NDArray[np.bool_]:
    """Return which names are in maintenance by the service's clock, bool [names]."""
    codes = np.arange(len(names), dtype=np.int32)
    return in_maintenance(rules.maintenance, names, codes, np.full(len(names), now_ns))


def ended(incident: Incident, at_ns: int) -> IncidentEvent:
    """Return the end of an incident of silence at an event time."""
    over = replace(incident, state="resolved", end_ns=at_ns, ending="over")
    return IncidentEvent("resolved", at_ns, over)


def made(
    scored_by: ScoredBy, series: str, reason: Reason, severity: Severity, start_ns: int, now_ns: int
) -> Incident:
    """Return an incident of silence: from the newest event time on, opened at the service's time."""
    return Incident(
        id=incident_id(scored_by.model, series, start_ns, reason),
        model=scored_by.model,
        version=scored_by.version,
        series=series,
        state="firing",
        reason=reason,
        severity=severity,
        start_ns=start_ns,
        opened_ns=now_ns,
        end_ns=None,
        peak_score=0.0,
        peak_ns=start_ns,
        channels=(),
    )
