"""The life of an incident: it opens once, escalates at most once, and resolves once.

An incident opens when `for_rows` of the last `of_rows` known rows of a series were bad: paged, stuck, or
impossible. It resolves after `quiet_rows` known rows in a row that were neither bad nor above `close_score`
in strength. Strength is the score in units of the page level. Rows of unknown state (warming, gap, stale)
neither open nor resolve anything. Further rules decide which rows count
(`detector.incidents.filters.row_filter`) and delay an opening; docs/incidents.md describes all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detector.incidents.filters.row_filter import FilteredRows
from detector.incidents.incident import (
    REASON_OF,
    REASONS_THAT_ADD_UP,
    ChannelEvidence,
    Incident,
    IncidentEvent,
    Kind,
    Passage,
    Reason,
    Severity,
    Track,
    incident_id,
)
from detector.incidents.lasting import due_policy, extend, offer
from detector.incidents.rules import IncidentRules, Suppression
from detector.incidents.unjudged import Sight
from detector.scoring.kinds import Kind as EvidenceKind
from detector.scoring.verdicts import State, Verdicts

_REASONS: dict[State, Reason] = {
    State.FLATLINE: "flatline",
    State.OUT_OF_RANGE: "out_of_range",
}
_MAY_BE_DRIFT = ("score", "cumulative", "season")
_SEVERITIES: tuple[Severity, ...] = ("warning", "critical")


@dataclass(frozen=True, slots=True)
class ScoredBy:
    """The model whose verdicts become incidents.

    passage_of  returns the change of mode that a series makes which has left the mode of this number
    modes  names of the modes of operation, by number
    band_of  returns half the width of each channel's expected range in a series, float64 [C], in the units of
             the channels
    """

    model: str
    version: str
    channels: tuple[str, ...]
    band_of: Callable[[str], NDArray[np.float64]]
    passage_of: Callable[[str, int], Passage | None] = lambda series, left: None
    modes: tuple[str, ...] = ()

    def passage(self, verdicts: Verdicts, row: int) -> Passage | None:
        """Return the change of mode at a row, None where it is unknown."""
        return self.passage_of(verdicts.names[verdicts.series[row]], int(verdicts.left[row]))


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Applies the rules to the rows of one series at a time.

    suppressed  counts by rule; they are increased in place
    """

    rules: IncidentRules
    scored_by: ScoredBy
    suppressed: dict[Suppression, int]

    def follow(
        self, track: Track, verdicts: Verdicts, rows: FilteredRows, span: range
    ) -> list[IncidentEvent]:
        """Update `track` by the rows `span` of one series; return what changed, in their order."""
        events, newest = list[IncidentEvent](), -1
        sight = Sight(self.rules, self.scored_by.channels, self.scored_by.modes)
        for row in span:
            counts, told = sight.follow(track, verdicts, rows, row)
            if not counts and told is None:
                continue
            kind, is_lasting = None, False
            if counts:
                newest = row if rows.bad[row] and not rows.held[row] else newest
                kind = self._take(track, verdicts, rows, row)
                is_lasting = self._lasts(track, verdicts, rows, row)
            if kind is not None or is_lasting or told is not None:
                self._note_newest(track, verdicts, newest)
                newest = -1
                told = None if kind == "resolved" else told
                events += self._events(track, (told, kind), is_lasting, int(verdicts.timestamp_ns[row]))
        self._note_newest(track, verdicts, newest)
        return events

    def _take(self, track: Track, verdicts: Verdicts, rows: FilteredRows, row: int) -> Kind | None:
        """Take the next row that counts; return how the incident changes."""
        if track.incident is None:
            return self._open_if_due(track, verdicts, rows, row)
        return self._continue(track, track.incident, verdicts, rows, row)

    def _events(
        self, track: Track, kinds: tuple[Kind | None, ...], is_lasting: bool, at_ns: int
    ) -> list[IncidentEvent]:
        """Return what changed at a row: the changes of the incident, and whether it is offered as lasting."""
        events = []
        for kind in kinds:
            if kind is None:
                continue
            assert track.incident is not None
            events.append(IncidentEvent(kind, at_ns, track.incident))
            if kind == "resolved":
                track.incident = None
        offered = offer(self.rules, track, at_ns) if is_lasting else None
        return events if offered is None else [*events, offered]

    def _note_newest(self, track: Track, verdicts: Verdicts, row: int) -> None:
        """Keep the evidence of the newest bad row; -1: there was none. Only the last of many rows matters."""
        if row >= 0 and track.incident is not None:
            track.incident = replace(track.incident, newest=self._evidence(verdicts, row))

    def _lasts(self, track: Track, verdicts: Verdicts, rows: FilteredRows, row: int) -> bool:
        """Add the row to the sums of the open incident; return whether it is to be offered as lasting."""
        if track.incident is None or track.incident.state == "resolved":
            track.stretch = None
            return False
        extend(track, verdicts.actual[row])
        if rows.held[row] or rows.muted[row]:
            return False
        return due_policy(self.rules, track.incident, int(verdicts.timestamp_ns[row])) == "offer"

    def is_over(self, track: Track, at_ns: int) -> bool:
        """Return whether nothing in `track` can matter to a row after `at_ns`."""
        if track.open or track.pending:
            return False
        if any(bad for _, bad in track.recent) or self._is_cooling(track, at_ns):
            return False
        return not track.openings or at_ns - track.openings[-1] >= self.rules.flap_window_ns

    def _open_if_due(self, track: Track, verdicts: Verdicts, rows: FilteredRows, row: int) -> Kind | None:
        """Take the next row while no incident is open; open one if every rule allows it."""
        at_ns, bad = int(verdicts.timestamp_ns[row]), bool(rows.bad[row])
        track.recent.append((at_ns, bad))
        del track.recent[: -self.rules.of_rows]
        times = [at for at, was_bad in track.recent if was_bad]
        if len(times) < self.rules.for_rows:
            track.since_ns = None
            track.held.clear()
            return None
        if track.since_ns is None:
            track.since_ns = times[0]
        if not bad or at_ns - track.since_ns < self.rules.min_duration_ns:
            return None
        if self._is_held_back(track, at_ns, _holding(rows, row)):
            return None
        self._note_opening(track, at_ns)
        track.incident = self._incident(track, verdicts, rows, row)
        track.since_ns = None
        track.held.clear()
        return "opened"

    def _is_held_back(self, track: Track, at_ns: int, holding: Suppression | None) -> bool:
        """Return whether a rule delays an incident that would open now, and note which one in `track`."""
        if holding is not None:
            rule = holding
        elif self._is_cooling(track, at_ns):
            rule = "cooldown"
            self.suppressed["cooldown"] += 1
        else:
            return False
        if rule not in track.held:
            track.held.append(rule)
        return True

    def _is_cooling(self, track: Track, at_ns: int) -> bool:
        return track.resolved_ns is not None and at_ns - track.resolved_ns < self.rules.cooldown_ns

    def _note_opening(self, track: Track, at_ns: int) -> None:
        track.recent.clear()
        track.quiet = 0
        track.last_loud_ns = track.judged_ns = at_ns
        track.unjudged_rows = track.spells = 0
        if self.rules.flap_incidents:
            recent = [at for at in track.openings if at_ns - at < self.rules.flap_window_ns]
            track.openings = [*recent, at_ns][-self.rules.flap_incidents :]

    def _incident(self, track: Track, verdicts: Verdicts, rows: FilteredRows, row: int) -> Incident:
        """Make the incident that opens at this row."""
        score = float(rows.score[row])
        at_ns = int(verdicts.timestamp_ns[row])
        series = verdicts.names[verdicts.series[row]]
        start_ns = at_ns if track.since_ns is None else track.since_ns
        channels, reason = self._evidence(verdicts, row), _reason(verdicts, row)
        return Incident(
            id=incident_id(self.scored_by.model, series, start_ns),
            model=self.scored_by.model,
            version=self.scored_by.version,
            series=series,
            state="firing",
            reason=reason,
            severity=self._severity(verdicts, rows, row),
            start_ns=start_ns,
            opened_ns=at_ns,
            end_ns=None,
            peak_score=score,
            peak_ns=at_ns,
            channels=channels,
            at_start=channels,
            newest=channels,
            held_by=tuple(track.held),
            flapping=0 < self.rules.flap_incidents <= len(track.openings),
            passage=self.scored_by.passage(verdicts, row) if reason == "mode" else None,
        )

    def _continue(
        self, track: Track, incident: Incident, verdicts: Verdicts, rows: FilteredRows, row: int
    ) -> Kind | None:
        """Take the next row while `incident` is open; resolve it, or raise its peak."""
        score = float(rows.score[row])
        at_ns = int(verdicts.timestamp_ns[row])
        if rows.bad[row] or rows.strength[row] > self.rules.close_score:
            if track.quiet >= self.rules.quiet_rows and rows.bad[row]:
                self.suppressed["flapping"] += 1
            track.quiet = 0
            track.last_loud_ns = at_ns
        else:
            track.quiet += 1
        if _is_quiet(self.rules, track, incident, at_ns):
            track.incident = replace(incident, state="resolved", end_ns=track.last_loud_ns, ending="over")
            track.resolved_ns = at_ns if self.rules.cooldown_ns else None
            return "resolved"
        if rows.held[row]:
            return None
        if rows.bad[row] and incident.reason in _MAY_BE_DRIFT and _reason(verdicts, row) == "drift":
            incident = _as_drift(incident, self._evidence(verdicts, row))
        track.incident = incident
        severity = _higher(incident.severity, self._severity(verdicts, rows, row))
        if severity != incident.severity:
            track.incident = replace(incident, severity=severity)
        if score > incident.peak_score:
            channels = self._evidence(verdicts, row) if rows.bad[row] else ()
            if not channels or is_recovery(incident.at_start, channels):
                channels = incident.channels
            track.incident = replace(
                incident, severity=severity, peak_score=score, peak_ns=at_ns, channels=channels
            )
        return "escalated" if severity != incident.severity else None

    def _severity(self, verdicts: Verdicts, rows: FilteredRows, row: int) -> Severity:
        """Return the severity of a row; that of a series that is cold is never critical."""
        is_high = rows.strength[row] >= self.rules.critical_score and not verdicts.cold[row]
        return "critical" if is_high else "warning"

    def _evidence(self, verdicts: Verdicts, row: int) -> tuple[ChannelEvidence, ...]:
        return _evidence_at(self.scored_by, self.rules, verdicts, row)


def _evidence_at(
    scored_by: ScoredBy, rules: IncidentRules, verdicts: Verdicts, row: int
) -> tuple[ChannelEvidence, ...]:
    """Return the channels with the greatest shares of the row's error, greatest first.

    They have no band where the row counts by evidence that adds up: each row lies inside its own.
    """
    contribution = verdicts.contribution[row]
    order = np.argsort(-np.nan_to_num(contribution), kind="stable")[: rules.top_channels]
    lines = verdicts.lines[row]
    bands = scored_by.band_of(verdicts.names[verdicts.series[row]])
    if _reason(verdicts, row) in REASONS_THAT_ADD_UP:
        bands = np.full(len(bands), np.nan)
    found = []
    for channel in order.tolist():
        if not contribution[channel] > 0:
            break
        expected = float(verdicts.expected[row, channel])
        band, name = float(bands[channel]), scored_by.channels[channel]
        line = None if lines is None else lines[channel]
        found.append(
            ChannelEvidence(
                name,
                float(contribution[channel]),
                float(verdicts.actual[row, channel]),
                expected,
                expected - band,
                expected + band,
                bool(verdicts.clipped[row, channel]),
                None if line is None else line.trend(*rules.limits_of(name)),
            )
        )
    return tuple(found)


def _is_quiet(rules: IncidentRules, track: Track, incident: Incident, at_ns: int) -> bool:
    """Return whether the incident is over. A flapping one must be quiet for the whole flap window."""
    if track.quiet < rules.quiet_rows:
        return False
    flaps = incident.flapping and rules.flap_incidents > 0
    return not flaps or at_ns - track.last_loud_ns >= rules.flap_window_ns


def _higher(one: Severity, other: Severity) -> Severity:
    return max(one, other, key=_SEVERITIES.index)


def _as_drift(incident: Incident, channels: tuple[ChannelEvidence, ...]) -> Incident:
    """Return an incident that proves to be a slow drift: it begins with these channels, and is offered again.

    Drift speaks where no window does. So it is what keeps the incident open, whatever opened it.
    """
    return replace(incident, reason="drift", lasting_ns=None, at_start=channels)


def _holding(rows: FilteredRows, row: int) -> Suppression | None:
    """Return why the row may open nothing; None if it may."""
    if not rows.held[row]:
        return None
    return "muted" if rows.muted[row] else "maintenance"


def is_recovery(at_start: tuple[ChannelEvidence, ...], now: tuple[ChannelEvidence, ...]) -> bool:
    """Return whether the channel most to blame departs to the other side than when the incident opened.

    The return to normal after a long fault looks like a fault of the opposite sign. It says nothing of what
    was wrong.
    """
    if not now:
        return False
    departed = [one.actual - one.expected for one in at_start if one.name == now[0].name]
    return bool(departed) and departed[0] * (now[0].actual - now[0].expected) < 0


def _reason(verdicts: Verdicts, row: int) -> Reason:
    """Return why an incident opens at this row."""
    state = State(int(verdicts.state[row]))
    return _REASONS.get(state) or REASON_OF[EvidenceKind(int(verdicts.kind[row]))]
