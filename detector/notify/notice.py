"""Changes of incidents, as the alerts topic has them, in words and values for whoever is told of them."""

from __future__ import annotations

from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

import msgspec

_SEVERITIES = ("info", "warning", "critical")
_REASONS = {
    "score": "behaves unlike it ever did",
    "flatline": "is stuck",
    "out_of_range": "has left its valid range",
}


class ChannelWords(msgspec.Struct, frozen=True):
    """A channel of an incident, in physical units; None where unknown."""

    name: str
    contribution: float | None = None
    actual: float | None = None
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None


class Notice(msgspec.Struct, frozen=True):
    """One message of the alerts topic (docs/messages.md). Fields that we do not know are passed over."""

    event: str
    id: str
    series: str
    severity: str
    state: str
    start: datetime
    at: datetime
    reason: str = "score"
    model: str = ""
    version: str = ""
    opened: datetime | None = None
    end: datetime | None = None
    peak_score: float | None = None
    peak: datetime | None = None
    channels: tuple[ChannelWords, ...] = ()

    @property
    def is_resolved(self) -> bool:
        return self.event == "resolved"

    @property
    def key(self) -> str:
        """The same however often this change is computed, written, or told."""
        return f"{self.id}-{self.event}-{round(self.at.timestamp() * 1000)}"

    @property
    def channel(self) -> str:
        """The channel that contributed most; empty where none did."""
        return self.channels[0].name if self.channels else ""

    def is_of(self, patterns: tuple[str, ...], min_severity: str) -> bool:
        """Whether the series fits one of the patterns (`pump-*`) and the severity reaches the least one."""
        bad_enough = _rank(self.severity) >= _rank(min_severity)
        return bad_enough and any(fnmatchcase(self.series, pattern) for pattern in patterns)


def parse(value: bytes) -> Notice:
    """Raises ValueError for what is no message of the alerts topic."""
    notice = msgspec.json.decode(value, type=Notice)
    if notice.start.tzinfo is None or notice.at.tzinfo is None:
        raise ValueError("times without a zone")
    return notice


def summary(notice: Notice) -> str:
    """One line: what is wrong, where, and what was expected instead."""
    if notice.is_resolved:
        return f"{notice.series} is as it should be again ({notice.severity} since {iso(notice.start)})"
    if not notice.channels:
        return f"{notice.series} {_REASONS.get(notice.reason, notice.reason)}"
    if notice.reason == "score":
        return f"{notice.series}: {_channel(notice.channels[0])}"
    return f"{notice.series}: {notice.channel} {_REASONS.get(notice.reason, notice.reason)}" + (
        f" at {notice.channels[0].actual:.4g}" if notice.channels[0].actual is not None else ""
    )


def description(notice: Notice) -> str:
    """A few lines: the same with everything that a person on call asks first."""
    until = f", until {iso(notice.end)}" if notice.end is not None else ""
    head = f"{notice.severity} incident {notice.id} of {notice.series}"
    lines = [f"{head}: {notice.event}, since {iso(notice.start)}{until}"]
    if notice.peak_score is not None:
        lines.append(f"peak score {notice.peak_score:.3g} (1 is the threshold), reason {notice.reason}")
    lines += [_channel(channel) for channel in notice.channels]
    lines.append(f"model {notice.model} {notice.version}".rstrip())
    return "\n".join(lines)


def link_of(template: str, notice: Notice) -> str:
    """A URL with {series} and {id} filled in; empty where there is none."""
    return template.replace("{series}", quote(notice.series, safe="")).replace(
        "{id}", quote(notice.id, safe="")
    )


def iso(when: datetime) -> str:
    """RFC 3339, as 2026-10-01T12:00:00.000Z."""
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def values_of(notice: Notice, labels: dict[str, str], link: str) -> dict[str, Any]:
    """Everything that a template may name (docs/notifications.md lists it), as JSON values."""
    top = notice.channels[0] if notice.channels else ChannelWords("")
    severe = notice.severity == "critical"
    return {
        "event": notice.event,
        "state": notice.state,
        "action": "resolve" if notice.is_resolved else "trigger",
        "id": notice.id,
        "key": notice.key,
        "series": notice.series,
        "channel": notice.channel,
        "severity": notice.severity,
        "reason": notice.reason,
        "model": notice.model,
        "version": notice.version,
        "start": iso(notice.start),
        "at": iso(notice.at),
        "end": iso(notice.end) if notice.end is not None else None,
        "peak_score": notice.peak_score,
        "actual": top.actual,
        "expected": top.expected,
        "lower": top.lower,
        "upper": top.upper,
        "channels": msgspec.to_builtins(notice.channels),
        "labels": labels,
        "link": link,
        "summary": summary(notice),
        "description": description(notice),
        "color": "#2eb67d" if notice.is_resolved else "#d00000" if severe else "#ecb22e",
        "status": "RESOLVED" if notice.is_resolved else notice.severity.upper(),
    }


def _rank(severity: str) -> int:
    """Of a severity that we do not know: the highest, for somebody should see it."""
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)


def _channel(channel: ChannelWords) -> str:
    said = f"{channel.name} is {_number(channel.actual)}"
    if channel.lower is not None and channel.upper is not None:
        return f"{said}, expected {_number(channel.lower)} to {_number(channel.upper)}"
    return f"{said}, expected {_number(channel.expected)}" if channel.expected is not None else said


def _number(value: float | None) -> str:
    return "missing" if value is None else f"{value:.4g}"
