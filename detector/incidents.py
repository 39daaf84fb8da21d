"""Incidents: verdicts of rows become alerts that open once, escalate at most once, and resolve once.

An incident opens when `for_rows` of the last `of_rows` known rows of a series were bad (score above 1,
stuck channel, impossible value) and resolves after `quiet_rows` known rows in a row that were neither
bad nor above `close_score`. Rows of unknown state (warming, gap) neither open nor resolve anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detector.grid import lengths_of, starts_of
from detector.verdicts import State, Verdicts

_BAD = (State.ANOMALOUS, State.FLATLINE, State.OUT_OF_RANGE)
_UNKNOWN = (State.WARMING, State.GAP, State.STALE)
_REASONS: dict[State, Reason] = {
    State.ANOMALOUS: "score",
    State.FLATLINE: "flatline",
    State.OUT_OF_RANGE: "out_of_range",
}

Reason = Literal["score", "flatline", "out_of_range"]
Severity = Literal["warning", "critical"]
Kind = Literal["opened", "escalated", "resolved"]


@dataclass(frozen=True, slots=True)
class IncidentRules:
    """When an incident opens, how bad it is, and when it is over (rows are known rows)."""

    for_rows: int = 1
    of_rows: int = 1
    close_score: float = 0.8
    quiet_rows: int = 8
    critical_score: float = 2.0
    top_channels: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.for_rows <= self.of_rows:
            raise ValueError(f"for_rows {self.for_rows} must lie between 1 and of_rows {self.of_rows}")
        if self.quiet_rows < 1 or not 0 < self.close_score <= 1:
            raise ValueError("quiet_rows must be at least 1 and close_score within (0, 1]")


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
    was not quiet once resolved. `channels` are the greatest contributions at the worst row.
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


@dataclass(frozen=True, slots=True)
class IncidentEvent:
    """A change in an incident's life, at the event time `at_ns`."""

    kind: Kind
    at_ns: int
    incident: Incident


@dataclass(slots=True)
class Track:
    """What is remembered of a series that is or was just bad."""

    recent: list[tuple[int, bool]] = field(default_factory=list)
    incident: Incident | None = None
    quiet: int = 0
    last_loud_ns: int = 0


class Incidents:
    """The incident rules over all series. Only series with something bad cost anything."""

    def __init__(
        self,
        rules: IncidentRules,
        model: str,
        version: str,
        channels: tuple[str, ...],
        band: NDArray[np.float64],
    ) -> None:
        self._rules = rules
        self._model = model
        self._version = version
        self._channels = channels
        self._band = band
        self._tracks: dict[str, Track] = {}

    @property
    def open(self) -> tuple[Incident, ...]:
        """The incidents that are firing."""
        return tuple(t.incident for t in self._tracks.values() if t.incident is not None)

    def use_rules(self, rules: IncidentRules) -> None:
        """Go on by other rules."""
        self._rules = rules

    def judge(self, verdicts: Verdicts, but: Collection[str] = ()) -> tuple[IncidentEvent, ...]:
        """Take verdicts sorted by series and time; return what changed, in their order. The series in `but`
        are left as they are."""
        bad = np.isin(verdicts.state, _BAD)
        if not bad.any() and not self._tracks:
            return ()
        events: list[IncidentEvent] = []
        starts = starts_of(verdicts.series)
        ends = starts + lengths_of(starts, len(verdicts))
        bad_series = np.logical_or.reduceat(bad, starts) if len(starts) else bad
        for start, end, has_bad in zip(starts.tolist(), ends.tolist(), bad_series.tolist(), strict=True):
            series = verdicts.names[verdicts.series[start]]
            if (has_bad or series in self._tracks) and series not in but:
                self._follow(series, verdicts, range(start, end), events)
        return tuple(events)

    def track(self, series: str) -> Track | None:
        """What is remembered of a series, None where nothing."""
        return self._tracks.get(series)

    def take_up(self, series: str, track: Track) -> None:
        """Go on from what another member remembered."""
        self._tracks[series] = track

    def drop(self, series: list[str]) -> None:
        """Forget these series; another member carries their incidents on."""
        for name in series:
            self._tracks.pop(name, None)

    def _follow(self, series: str, verdicts: Verdicts, rows: range, events: list[IncidentEvent]) -> None:
        track = self._tracks.setdefault(series, Track())
        for row in rows:
            state = State(int(verdicts.state[row]))
            if state in _UNKNOWN:
                continue
            at_ns = int(verdicts.timestamp_ns[row])
            if track.incident is None:
                event = self._maybe_open(track, series, verdicts, row, state in _BAD)
            else:
                event = self._go_on(track, verdicts, row, state in _BAD)
            if event is not None:
                events.append(IncidentEvent(event, at_ns, _incident_of(track)))
                if event == "resolved":
                    track.incident = None
        if track.incident is None and not any(bad for _, bad in track.recent):
            del self._tracks[series]

    def _maybe_open(self, track: Track, series: str, verdicts: Verdicts, row: int, bad: bool) -> Kind | None:
        track.recent.append((int(verdicts.timestamp_ns[row]), bad))
        del track.recent[: -self._rules.of_rows]
        times = [at for at, was_bad in track.recent if was_bad]
        if len(times) < self._rules.for_rows:
            return None
        track.recent.clear()
        track.quiet = 0
        track.last_loud_ns = times[-1]
        track.incident = self._open(series, verdicts, row, times[0])
        return "opened"

    def _open(self, series: str, verdicts: Verdicts, row: int, start_ns: int) -> Incident:
        score = _score_at(verdicts, row)
        at_ns = int(verdicts.timestamp_ns[row])
        return Incident(
            id=incident_id(self._model, series, start_ns),
            model=self._model,
            version=self._version,
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
        )

    def _go_on(self, track: Track, verdicts: Verdicts, row: int, bad: bool) -> Kind | None:
        incident = _incident_of(track)
        score = _score_at(verdicts, row)
        at_ns = int(verdicts.timestamp_ns[row])
        if bad or score > self._rules.close_score:
            track.quiet = 0
            track.last_loud_ns = at_ns
        else:
            track.quiet += 1
        if track.quiet >= self._rules.quiet_rows:
            track.incident = replace(incident, state="resolved", end_ns=track.last_loud_ns)
            return "resolved"
        if score <= incident.peak_score:
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


def incident_id(model: str, series: str, start_ns: int) -> str:
    """The same incident has the same id wherever and however often it is computed."""
    return hashlib.sha256(f"{model}\0{series}\0{start_ns}".encode()).hexdigest()[:16]


def _score_at(verdicts: Verdicts, row: int) -> float:
    """The row's score, 0 where only a rule without the model speaks (its score is unknown)."""
    score = float(verdicts.score[row])
    return score if score == score else 0.0


def _incident_of(track: Track) -> Incident:
    assert track.incident is not None
    return track.incident
