"""Verdicts, incidents and rejects as messages (docs/messages.md is the contract).

Scores go out as columns: one message holds the new verdicts of one series of a poll, so that a message
costs little more than a row when a backlog is worked off. Unknown values are null: JSON knows no NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from connectors.records import Message, Reject
from detector.incidents.grouping import IncidentGroup
from detector.incidents.incident import Incident, IncidentEvent
from detector.rows.series_arrays import lengths_of, starts_of
from detector.scoring.verdicts import State, Verdicts

_LABELS = np.array([state.label for state in State], dtype=object)
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of the output topics."""

    scores: str
    alerts: str
    dead_letters: str
    state: str

    @classmethod
    def of(cls, prefix: str) -> Topics:
        return cls(f"{prefix}.scores", f"{prefix}.alerts", f"{prefix}.dead-letters", f"{prefix}.state")


@dataclass(frozen=True, slots=True)
class MessageEncoder:
    """How this service's messages look. `scores` and `detail` as in the configuration."""

    topics: Topics
    model: str
    version: str
    channels: tuple[str, ...]
    scores: Literal["all", "anomalous", "none"] = "all"
    detail: Literal["scores", "full"] = "scores"

    def verdicts(self, verdicts: Verdicts) -> Iterator[Message]:
        """One message a series, its rows as columns in time order."""
        if self.scores == "none" or len(verdicts) == 0:
            return
        if self.scores == "anomalous":
            verdicts = verdicts.take(~np.isin(verdicts.state, (State.OK, State.WARMING, State.GAP)))
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
            if self.detail == "full":
                body["channels"] = self._detail(verdicts, slice(start, stop))
            yield Message(self.topics.scores, series.encode(), orjson.dumps(body))

    def incidents(self, events: tuple[IncidentEvent, ...]) -> Iterator[Message]:
        """One message an event, with the incident as it is then."""
        for event in events:
            body = {"event": event.kind, "at": iso(event.at_ns), **incident_json(event.incident)}
            yield Message(self.topics.alerts, event.incident.series.encode(), orjson.dumps(body))

    def dead_letters(self, rejects: tuple[Reject, ...]) -> Iterator[Message]:
        """The messages as they came, with where they came from and what is wrong with them."""
        for reject in rejects:
            headers = (
                ("reason", reject.reason.encode()),
                ("detail", reject.detail.encode(errors="replace")),
                ("topic", reject.topic.encode()),
                ("partition", str(reject.partition).encode()),
                ("offset", str(reject.offset).encode()),
            )
            yield Message(self.topics.dead_letters, reject.key, reject.value, headers)

    def _columns(self, verdicts: Verdicts) -> dict[str, list[Any]]:
        return {
            "timestamp": (verdicts.timestamp_ns // 1_000_000).tolist(),
            "score": _plain(verdicts.score),
            "state": _LABELS[verdicts.state].tolist(),
        }

    def _detail(self, verdicts: Verdicts, rows: slice) -> dict[str, dict[str, list[Any]]]:
        return {
            name: {
                "actual": _plain(verdicts.actual[rows, at]),
                "expected": _plain(verdicts.expected[rows, at]),
                "contribution": _plain(verdicts.contribution[rows, at].astype(np.float64)),
            }
            for at, name in enumerate(self.channels)
        }


def incident_json(incident: Incident) -> dict[str, Any]:
    """An incident as plain values; times are ISO 8601, unknown numbers null."""
    return {
        "id": incident.id,
        "series": incident.series,
        "model": incident.model,
        "version": incident.version,
        "state": incident.state,
        "reason": incident.reason,
        "severity": incident.severity,
        "flapping": incident.flapping,
        "held_by": list(incident.held_by),
        "start": iso(incident.start_ns),
        "opened": iso(incident.opened_ns),
        "end": iso(incident.end_ns) if incident.end_ns is not None else None,
        "peak_score": round(incident.peak_score, _DIGITS),
        "peak": iso(incident.peak_ns),
        "channels": [
            {
                "name": channel.name,
                "contribution": _known(channel.contribution),
                "actual": _known(channel.actual),
                "expected": _known(channel.expected),
                "lower": _known(channel.lower),
                "upper": _known(channel.upper),
            }
            for channel in incident.channels
        ],
    }


def fold_json(fold: IncidentGroup) -> dict[str, Any]:
    """A fold as plain values; its incidents by id."""
    return {
        "id": fold.id,
        "state": fold.state,
        "severity": fold.severity,
        "start": iso(fold.start_ns),
        "series": list(fold.series),
        "incidents": [incident.id for incident in fold.incidents],
    }


def iso(timestamp_ns: int) -> str:
    """UTC to the millisecond, as 2026-10-01T12:00:00.000Z."""
    when = datetime.fromtimestamp(timestamp_ns // 1_000_000 / 1000, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(values: NDArray[np.float64]) -> list[float]:
    """Numbers as they are; orjson writes NaN as null."""
    return values.tolist()  # type: ignore[no-any-return]  # numpy types tolist as Any


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
