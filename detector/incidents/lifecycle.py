"""Incidents: verdicts of rows become alerts that open once, escalate at most once, and resolve once.

An incident opens when `for_rows` of the last `of_rows` known rows of a series were bad (score above 1,
stuck channel, impossible value) and resolves after `quiet_rows` known rows in a row that were neither
bad nor above `close_score`. Rows of unknown state (warming, gap) neither open nor resolve anything. Further
rules say which rows count (`detector.incidents.row_filter`) and hold an opening back; docs/incidents.md has them all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detector.incidents.row_filter import FilteredRows, RowFilter
from detector.incidents.rules import SUPPRESSIONS, IncidentRules, Suppression
from detector.rows.series_arrays import lengths_of, starts_of
from detector.scoring.verdicts import State, Verdicts

_REASONS: dict[State, Reason] = {
    State.ANOMALOUS: "score",
    State.FLATLINE: "flatline",
    State.OUT_OF_RANGE: "out_of_range",
}

Reason = Literal["score", "flatline", "out_of_range", "silent", "stream_silent"]
Severity = Literal["warning", "critical"]
Kind = Literal["opened", "escalated", "resolved"]


@dataclass(frozen=True, slots=True)
class ChannelEvidence:
    """One channel at the incident's worst row, physical units; NaN where unknown."""

    name: str
    contribution: float
    actual: float
    expected: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Incident:
    """An alert and its life so far.

    start_ns is the first bad row, opened_ns the row that completed the rule, end_ns the last row that
    was not quiet once resolved. `channels` are the greatest contributions at the worst row. `held_by` are the
    rules that held its opening back, `flapping` whether it stays open because the series keeps turning.
    """

    id: str
    model: str
    version: str
    series: str
    state: Literal["firing", "resolved"]
    reason: Reason
    severity: Severity
    start_ns: int
    opened_ns: int
    end_ns: int | None
    peak_score: float
    peak_ns: int
    channels: tuple[ChannelEvidence, ...]
    held_by: tuple[Suppression, ...] = ()
    flapping: bool = False


@dataclass(frozen=True, slots=True)
class IncidentEvent:
    """A change in an incident's life, at the event time `at_ns`."""

    kind: Kind
    at_ns: int
    incident: Incident


@dataclass(slots=True)
class Track:
    """What is remembered of a series that is or was just bad, or is silent.

    recent    the last known rows while none is open: (time, bad)
    since_ns  the first bad row of the spell for which m of n has held ever since; held: what kept it shut
    resolved_ns, openings   when the last incident was over, and when the latest ones opened
    silence, stream         the watchdog's incidents, kept with this series
    """

    recent: list[tuple[int, bool]] = field(default_factory=list)
    incident: Incident | None = None
    quiet: int = 0
    last_loud_ns: int = 0
    since_ns: int | None = None
    held: list[Suppression] = field(default_factory=list)
    resolved_ns: int | None = None
    openings: list[int] = field(default_factory=list)
    silence: Incident | None = None
    stream: Incident | None = None


class Incidents:
    """The incident rules over all series. Only series with something bad cost anything.

    Raises ValueError for rules of channels that there are not.
    """

    def __init__(
        self,
        rules: IncidentRules,
        model: str,
        version: str,
        channels: tuple[str, ...],
        band: NDArray[np.float64],
    ) -> None:
        self.model, self.version = model, version
        self._channels = channels
        self._band = band
        self._tracks: dict[str, Track] = {}
        self.suppressed: dict[Suppression, int] = dict.fromkeys(SUPPRESSIONS, 0)
        self.use_rules(rules)

    @property
    def open(self) -> tuple[Incident, ...]:
        """The incidents that are firing."""
        tracks = self._tracks.values()
        return tuple(one for t in tracks for one in (t.incident, t.silence, t.stream) if one is not None)

    def use_rules(self, rules: IncidentRules) -> None:
        """Judge by other rules from the next row on; what is open stays. Raises ValueError for rules of
        channels that there are not; the old ones are kept then."""
        self._admission = RowFilter(rules, self._channels)
        self._rules = rules

    def judge(
        self,
        verdicts: Verdicts,
        since_gap: NDArray[np.int64] | None = None,
        but: Collection[str] = (),
    ) -> tuple[IncidentEvent, ...]:
        """Take verdicts sorted by series and time; return what changed, in their order. The series in `but`
        are left as they are.

        `since_gap`: int64 [n], known rows since the last unknown one, the row itself included; None: many.
        """
        if since_gap is None:
            since_gap = np.full(len(verdicts), np.iinfo(np.int64).max)
        rows = self._admission.admit(verdicts, since_gap, self.suppressed)
        if not rows.bad.any() and not self._tracks:
            return ()
        events: list[IncidentEvent] = []
        starts = starts_of(verdicts.series)
        ends = starts + lengths_of(starts, len(verdicts))
        bad_series = np.logical_or.reduceat(rows.bad, starts) if len(starts) else rows.bad
        for start, end, has_bad in zip(starts.tolist(), ends.tolist(), bad_series.tolist(), strict=True):
            series = verdicts.names[verdicts.series[start]]
            if (has_bad or series in self._tracks) and series not in but:
                self._follow(series, verdicts, rows, range(start, end), events)
        return tuple(events)

    def track(self, series: str) -> Track | None:
        """What is remembered of a series, None where nothing."""
        return self._tracks.get(series)

    def track_of(self, series: str) -> Track:
        """The same, made where there was none."""
        return self._tracks.setdefault(series, Track())

    def take_up(self, series: str, track: Track) -> None:
        """Go on from what another member remembered."""
        self._tracks[series] = track

    def drop(self, series: list[str]) -> None:
        """Forget these series; another member carries their incidents on."""
        for name in series:
            self._tracks.pop(name, None)

    def _follow(
        self, series: str, verdicts: Verdicts, rows: FilteredRows, span: range, events: list[IncidentEvent]
    ) -> None:
        track = self.track_of(series)
        at_ns = 0
        for row in span:
            if not rows.known[row]:
                continue
            at_ns = int(verdicts.timestamp_ns[row])
            if track.incident is None:
                event = self._maybe_open(track, series, verdicts, rows, row)
            else:
                event = self._go_on(track, verdicts, rows, row)
            if event is not None:
                events.append(IncidentEvent(event, at_ns, _incident_of(track)))
                if event == "resolved":
                    track.incident = None
        if self._is_over(track, at_ns):
            del self._tracks[series]

    def _is_over(self, track: Track, at_ns: int) -> bool:
        """Whether nothing that is remembered can matter to a later row."""
        if (track.incident or track.silence or track.stream) is not None:
            return False
        if any(bad for _, bad in track.recent) or self._cools(track, at_ns):
            return False
        return not track.openings or at_ns - track.openings[-1] >= self._rules.flap_window_ns

    def _maybe_open(
        self, track: Track, series: str, verdicts: Verdicts, rows: FilteredRows, row: int
    ) -> Kind | None:
        at_ns, bad = int(verdicts.timestamp_ns[row]), bool(rows.bad[row])
        track.recent.append((at_ns, bad))
        del track.recent[: -self._rules.of_rows]
        times = [at for at, was_bad in track.recent if was_bad]
        if len(times) < self._rules.for_rows:
            track.since_ns = None
            track.held.clear()
            return None
        if track.since_ns is None:
            track.since_ns = times[0]
        if not bad or at_ns - track.since_ns < self._rules.min_duration_ns:
            return None
        if self._is_held_back(track, at_ns, bool(rows.held[row])):
            return None
        self._opened(track, at_ns)
        track.incident = self._open(series, verdicts, rows, row, track)
        track.since_ns = None
        track.held.clear()
        return "opened"

    def _is_held_back(self, track: Track, at_ns: int, in_maintenance: bool) -> bool:
        """Whether a rule keeps an incident shut that would open now; which one is remembered."""
        if in_maintenance:
            rule: Suppression = "maintenance"
        elif self._cools(track, at_ns):
            rule = "cooldown"
            self.suppressed["cooldown"] += 1
        else:
            return False
        if rule not in track.held:
            track.held.append(rule)
        return True

    def _cools(self, track: Track, at_ns: int) -> bool:
        return track.resolved_ns is not None and at_ns - track.resolved_ns < self._rules.cooldown_ns

    def _opened(self, track: Track, at_ns: int) -> None:
        track.recent.clear()
        track.quiet = 0
        track.last_loud_ns = at_ns
        if self._rules.flap_incidents:
            recent = [at for at in track.openings if at_ns - at < self._rules.flap_window_ns]
            track.openings = [*recent, at_ns][-self._rules.flap_incidents :]

    def _open(self, series: str, verdicts: Verdicts, rows: FilteredRows, row: int, track: Track) -> Incident:
        score = float(rows.score[row])
        at_ns = int(verdicts.timestamp_ns[row])
        start_ns = at_ns if track.since_ns is None else track.since_ns
        return Incident(
            id=incident_id(self.model, series, start_ns),
            model=self.model,
            version=self.version,
            series=series,
            state="firing",
            reason=_REASONS.get(State(int(verdicts.state[row])), "score"),
            severity=self._severity(score),
            start_ns=start_ns,
            opened_ns=at_ns,
            end_ns=None,
            peak_score=score,
            peak_ns=at_ns,
            channels=self._evidence(verdicts, row),
            held_by=tuple(track.held),
            flapping=0 < self._rules.flap_incidents <= len(track.openings),
        )

    def _go_on(self, track: Track, verdicts: Verdicts, rows: FilteredRows, row: int) -> Kind | None:
        incident = _incident_of(track)
        score = float(rows.score[row])
        at_ns = int(verdicts.timestamp_ns[row])
        if rows.bad[row] or score > self._rules.close_score:
            if track.quiet >= self._rules.quiet_rows and rows.bad[row]:
                self.suppressed["flapping"] += 1
            track.quiet = 0
            track.last_loud_ns = at_ns
        else:
            track.quiet += 1
        if self._is_quiet(track, incident, at_ns):
            track.incident = replace(incident, state="resolved", end_ns=track.last_loud_ns)
            track.resolved_ns = at_ns if self._rules.cooldown_ns else None
            return "resolved"
        if score <= incident.peak_score or rows.held[row]:
            return None
        severity = self._severity(score)
        track.incident = replace(
            incident,
            peak_score=score,
            peak_ns=at_ns,
            severity=severity,
            channels=self._evidence(verdicts, row),
        )
        return "escalated" if severity != incident.severity else None

    def _is_quiet(self, track: Track, incident: Incident, at_ns: int) -> bool:
        """Whether the incident is over; a flapping one only when it has been quiet for the whole window."""
        if track.quiet < self._rules.quiet_rows:
            return False
        flaps = incident.flapping and self._rules.flap_incidents > 0
        return not flaps or at_ns - track.last_loud_ns >= self._rules.flap_window_ns

    def _severity(self, score: float) -> Severity:
        return "critical" if score >= self._rules.critical_score else "warning"

    def _evidence(self, verdicts: Verdicts, row: int) -> tuple[ChannelEvidence, ...]:
        contribution = verdicts.contribution[row]
        order = np.argsort(-np.nan_to_num(contribution), kind="stable")[: self._rules.top_channels]
        found = []
        for channel in order.tolist():
            if not contribution[channel] > 0:
                break
            expected = float(verdicts.expected[row, channel])
            band = float(self._band[channel])
            found.append(
                ChannelEvidence(
                    self._channels[channel],
                    float(contribution[channel]),
                    float(verdicts.actual[row, channel]),
                    expected,
                    expected - band,
                    expected + band,
                )
            )
        return tuple(found)


def incident_id(model: str, series: str, start_ns: int, watchdog: str = "") -> str:
    """The same incident has the same id wherever and however often it is computed; `watchdog`: its reason,
    where no row is it."""
    parts = [model, series, str(start_ns), *([watchdog] if watchdog else [])]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _incident_of(track: Track) -> Incident:
    assert track.incident is not None
    return track.incident
