"""Encode verdicts, incidents and rejected messages as JSON (docs/messages.md is the contract).

One message holds the verdicts of one series from one batch, as columns. While a backlog is processed, many
rows share a message. Unknown values are null, because JSON has no NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from connectors.records import Message, Reject
from detector.calibration.p_values import PValues
from detector.incidents.decision import Applied, Decision
from detector.incidents.grouping import IncidentGroup
from detector.incidents.incident import ChannelEvidence, Incident, IncidentEvent, Unjudged, evidence_of
from detector.incidents.shapes.explanation import Explanation
from detector.incidents.shapes.sentence import Wording, sentence
from detector.rows.series_arrays import lengths_of, starts_of
from detector.scoring.kinds import Kind
from detector.scoring.verdicts import State, Verdicts

_LABELS = np.array([state.label for state in State], dtype=object)
_KINDS = np.array([kind.label for kind in Kind], dtype=object)
_UNREMARKABLE = (State.OK, State.WARMING, State.GAP, State.TRANSITION, State.IDLE)
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Topics:
    """Hold the names of the output topics."""

    scores: str
    alerts: str
    dead_letters: str
    state: str
    decisions: str

    @classmethod
    def of(cls, prefix: str) -> Topics:
        """Return the topics whose names begin with `prefix`."""
        names = ("scores", "alerts", "dead-letters", "state", "decisions")
        return cls(*(f"{prefix}.{name}" for name in names))


@dataclass(frozen=True, slots=True)
class MessageEncoder:
    """Encode results as messages.

    topics    where they go
    model     name of the model
    version   its version
    channels  its channels, in the order of the columns of verdicts
    scores    rows that are published, as in [output] scores
    detail    columns that are published, as in [output] detail
    p_values  of the model, for `detail` "full"; None: they are unknown
    modes     names of its modes of operation, for `detail` "full"; none: it has none
    wording   units and zone of the sentences about incidents
    """

    topics: Topics
    model: str
    version: str
    channels: tuple[str, ...]
    scores: Literal["all", "anomalous", "none"] = "all"
    detail: Literal["scores", "full"] = "scores"
    p_values: PValues | None = None
    modes: tuple[str, ...] = ()
    wording: Wording = field(default_factory=Wording)

    def verdicts(self, verdicts: Verdicts) -> Iterator[Message]:
        """Yield one message for each series, with its rows as columns in order of time."""
        if self.scores == "none" or len(verdicts) == 0:
            return
        if self.scores == "anomalous":
            verdicts = verdicts.take(~np.isin(verdicts.state, _UNREMARKABLE))
            if len(verdicts) == 0:
                return
        starts = starts_of(verdicts.series)
        stops = starts + lengths_of(starts, len(verdicts))
        columns = self._columns(verdicts)
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            series = verdicts.names[verdicts.series[start]]
            body = {"series": series, "model": self.model, "version": self.version}
            for name, column in columns.items():
                body[name] = column[start:stop]
            if verdicts.cold[start:stop].any():
                body["cold"] = verdicts.cold[start:stop].tolist()
            if self.detail == "full":
                body["channels"] = self._detail(verdicts, slice(start, stop))
            yield Message(self.topics.scores, series.encode(), orjson.dumps(body))

    def incidents(self, events: tuple[IncidentEvent, ...]) -> Iterator[Message]:
        """Yield one message for each event, with the incident as it was then."""
        for event in events:
            said = {"sentence": sentence(event.incident, event.at_ns, self.wording)}
            body = {"event": event.kind, "at": iso(event.at_ns), **incident_json(event.incident), **said}
            yield Message(self.topics.alerts, event.incident.series.encode(), orjson.dumps(body))

    def decisions(self, decisions: tuple[Applied, ...]) -> Iterator[Message]:
        """Yield a message for each series that was muted, and for each decision that was ignored.

        Other decisions are events of their incidents. Those that are older than their series are left out:
        a series that comes back meets all of them again.
        """
        for applied in decisions:
            kind = "ignored" if applied.outcome == "ignored" else "muted"
            is_told = applied.decision.action == "mute" or kind == "ignored"
            if not is_told or applied.reason == "older than the series":
                continue
            series, at = applied.decision.series, iso(applied.at_ns)
            body: dict[str, Any] = {"event": kind, "at": at, "id": applied.decision.id, "series": series}
            body |= {"state": kind, "severity": "info", "reason": applied.reason or "muted", "start": at}
            body |= {"model": self.model, "version": self.version, "decision": applied_json(applied)}
            yield Message(self.topics.alerts, series.encode(), orjson.dumps(body))

    def dead_letters(self, rejects: tuple[Reject, ...]) -> Iterator[Message]:
        """Yield rejected messages unchanged, with their origin and the reason as headers."""
        for reject in rejects:
            headers = (
                ("reason", reject.reason.encode()),
                ("detail", reject.detail.encode(errors="replace")),
                ("topic", reject.topic.encode()),
                ("partition", str(_in_topic(reject)).encode()),
                ("offset", str(reject.offset).encode()),
            )
            yield Message(self.topics.dead_letters, reject.key, reject.value, headers)

    def _columns(self, verdicts: Verdicts) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {
            "timestamp": (verdicts.timestamp_ns // 1_000_000).tolist(),
            "score": _plain(verdicts.score),
            "state": _LABELS[verdicts.state].tolist(),
        }
        if self.detail == "full":
            columns["page_level"] = _plain(verdicts.threshold)
            columns["paged"] = verdicts.paged.tolist()
        if self.detail == "full" and self.p_values is not None:
            columns["p_value"] = _plain(self.p_values.of_scores(verdicts.score))
            columns["cumulative"] = _plain(verdicts.cumulative)
            columns["evidence"] = _KINDS[verdicts.kind].tolist()
        if self.detail == "full" and self.modes:
            names = [*self.modes, None]  # the number of an unknown mode is -1
            columns["mode"] = [names[mode] for mode in verdicts.mode.tolist()]
        return columns

    def _detail(self, verdicts: Verdicts, rows: slice) -> dict[str, dict[str, list[Any]]]:
        return {
            name: {
                "actual": _plain(verdicts.actual[rows, at]),
                "expected": _plain(verdicts.expected[rows, at]),
                "contribution": _plain(verdicts.contribution[rows, at].astype(np.float64)),
            }
            for at, name in enumerate(self.channels)
        }


def _in_topic(reject: Reject) -> int:
    return reject.partition if reject.in_topic is None else reject.in_topic


def incident_json(incident: Incident) -> dict[str, Any]:
    """Return an incident as JSON values; times are ISO 8601, unknown numbers None."""
    return {
        "id": incident.id,
        "series": incident.series,
        "model": incident.model,
        "version": incident.version,
        "state": incident.state,
        "reason": incident.reason,
        "evidence": evidence_of(incident.reason),
        "severity": incident.severity,
        "flapping": incident.flapping,
        "held_by": list(incident.held_by),
        "start": iso(incident.start_ns),
        "opened": iso(incident.opened_ns),
        "end": iso(incident.end_ns) if incident.end_ns is not None else None,
        "peak_score": None if incident.known_peak is None else round(incident.known_peak, _DIGITS),
        "peak": iso(incident.peak_ns),
        "lasting_since": iso(incident.lasting_ns) if incident.lasting_ns is not None else None,
        "ending": incident.ending,
        "decision": None if incident.decision is None else applied_json(incident.decision),
        "unjudged": None if incident.unjudged is None else _unjudged_json(incident.unjudged),
        "passage": None if incident.passage is None else _passage_json(incident),
        "shape": None if incident.explanation is None else _shape_json(incident.explanation),
        "channels": _channels_json(incident.channels),
        "at_start": _channels_json(incident.at_start),
        "newest": _channels_json(incident.newest),
    }


def _unjudged_json(unjudged: Unjudged) -> dict[str, Any]:
    """Return since when and why nobody can tell whether the incident goes on."""
    return {
        "since": iso(unjudged.since_ns),
        "why": unjudged.why,
        "mode": unjudged.mode,
        "spell": unjudged.spell,
    }


def _shape_json(found: Explanation) -> dict[str, Any]:
    """Return the shape of an incident so far, with what else departs or does not."""
    return {
        "name": found.shape,
        "sure": found.sure,
        "rose_rows": found.rose or None,
        "also": list(found.also),
        "as_expected": list(found.usual),
    }


def _passage_json(incident: Incident) -> dict[str, Any]:
    """Return the change of mode that takes too long; times in seconds."""
    passage = incident.passage
    assert passage is not None
    return {"left": passage.left, "usual_seconds": round(passage.usual_ns / 1e9, 3)}


def _channels_json(channels: tuple[ChannelEvidence, ...]) -> list[dict[str, Any]]:
    return [
        {
            "name": channel.name,
            "contribution": _known(channel.contribution),
            "actual": _known(channel.actual),
            "expected": _known(channel.expected),
            "lower": _known(channel.lower),
            "upper": _known(channel.upper),
            "clipped": channel.clipped,
            "trend": None if channel.trend is None else asdict(channel.trend),
        }
        for channel in channels
    ]


def decision_json(decision: Decision) -> dict[str, Any]:
    """Return the record of a decision as JSON values."""
    return {
        "id": decision.id,
        "action": decision.action,
        "series": decision.series,
        "incident": decision.incident or None,
        "channels": list(decision.channels),
        "at": iso(decision.at_ns),
        "until": None if decision.until_ns is None else iso(decision.until_ns),
        "who": decision.who,
        "why": decision.why,
        "decided_at": iso(decision.decided_at_ns),
    }


def applied_json(applied: Applied) -> dict[str, Any]:
    """Return an applied decision as JSON values: its record, with the row at which it took effect."""
    learnt = [{"name": one.name, "old": one.old, "new": one.new} for one in applied.learnt]
    record = decision_json(applied.decision) | {"at": iso(applied.at_ns)}
    return record | {"by": applied.by, "outcome": applied.outcome, "reason": applied.reason, "learnt": learnt}


def fold_json(fold: IncidentGroup) -> dict[str, Any]:
    """Return a group of incidents as JSON values; its incidents are listed by id.

    `series` begins with `first`, the series that was likely first.
    """
    return {
        "id": fold.id,
        "state": fold.state,
        "severity": fold.severity,
        "start": iso(fold.start_ns),
        "first": fold.first.series,
        "series": list(fold.series_by_onset),
        "incidents": [incident.id for incident in fold.incidents],
    }


def iso(timestamp_ns: int) -> str:
    """Return a time in UTC to the millisecond.

    >>> iso(1_790_856_000_000_000_000)
    '2026-10-01T12:00:00.000Z'
    """
    when = datetime.fromtimestamp(timestamp_ns // 1_000_000 / 1000, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(values: NDArray[np.float64]) -> list[float]:
    """Return the numbers as a list; orjson writes NaN as null."""
    return values.tolist()  # type: ignore[no-any-return]  # numpy types tolist as Any


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
