"""Messages of the alerts topic, made by the encoder that the daemon uses."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from connectors.records import Message
from detector.delivery.messages import MessageEncoder, Topics
from detector.incidents.incident import ChannelEvidence, Incident, IncidentEvent, Kind, incident_id

ENCODER = MessageEncoder(
    Topics("scores", "alerts", "dead-letters", "state", "decisions"), "pump", "v1", ("flow", "pressure")
)
START_NS = 1_790_000_000_000_000_000
SECOND_NS = 10**9


def message(
    kind: Kind = "opened",
    series: str = "pump-1",
    number: int = 0,
    severity: Literal["warning", "critical"] = "warning",
    topic: str = "alerts",
    channel: str = "flow",
) -> Message:
    """Return what the daemon publishes when incident `number` of a series opens, escalates or resolves."""
    start = START_NS + number * 3600 * SECOND_NS
    later = {"opened": 0, "escalated": 10, "resolved": 60}[kind] * SECOND_NS
    incident = Incident(
        id=incident_id("pump", series, start),
        model="pump",
        version="v1",
        series=series,
        state="resolved" if kind == "resolved" else "firing",
        reason="score",
        severity=severity,
        start_ns=start,
        opened_ns=start,
        end_ns=start + later if kind == "resolved" else None,
        peak_score=2.5 if severity == "critical" else 1.5,
        peak_ns=start + later,
        channels=(ChannelEvidence(channel, 0.9, 7.764, 5.345, 5.081, 5.61),),
    )
    [encoded] = ENCODER.incidents((IncidentEvent(kind, start + later, incident),))
    return replace(encoded, topic=topic)
