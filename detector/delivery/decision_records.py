"""Records of decisions as JSON, from the decisions topic, from files, and from the alerts topic.

docs/messages.md describes the fields. Times are ISO 8601.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import orjson

from detector.delivery.messages import decision_json
from detector.errors import DetectorError
from detector.incidents.decision import Action, Decision

_EVENTS = ("accepted", "rejected", "muted")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_NS, LATEST_NS = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 10**9 for year in (1678, 2262))


class DecisionError(DetectorError):
    """A record is not a decision; the message has the reason."""


class _Record(msgspec.Struct):
    id: str
    action: Action
    series: str
    at: datetime
    incident: str | None = None
    channels: tuple[str, ...] = ()
    until: datetime | None = None
    who: str = ""
    why: str = ""
    decided_at: datetime | None = None
    by: Literal["person", "policy"] = "person"


class _Alert(msgspec.Struct):
    event: str
    decision: _Record | None = None


_records = msgspec.json.Decoder(_Record)
_alerts = msgspec.json.Decoder(_Alert)


def encode_decision(decision: Decision) -> bytes:
    """Return the record of a decision as JSON."""
    return orjson.dumps(decision_json(decision))


def decode_decision(value: bytes) -> Decision | None:
    """Return the decision of a record, or of a message of the alerts topic about an applied one.

    Returns:
        None for other messages of the alerts topic, and for a decision of the policy `on_lasting`: a replay
        makes that again by itself.

    Raises:
        DecisionError: the bytes are no such record.
    """
    try:
        if b'"event"' not in value:
            return _decision(_records.decode(value))
        alert = _alerts.decode(value)
        told = alert.decision if alert.event in _EVENTS else None
        return None if told is None or told.by == "policy" else _decision(told)
    except (msgspec.DecodeError, OverflowError) as error:
        raise DecisionError(str(error)) from error


def decode_columns(rows: Iterable[dict[str, Any]]) -> list[Decision]:
    """Return the decisions of a table's rows, with the fields of a record.

    Raises:
        DecisionError: a row is no such record.
    """
    try:
        return [_decision(msgspec.convert(row, _Record, strict=False)) for row in rows]
    except (msgspec.ValidationError, OverflowError) as error:
        raise DecisionError(str(error)) from error


def _decision(record: _Record) -> Decision:
    """Return the decision of a record. Raises DecisionError."""
    if record.action == "mute" and record.until is None:
        raise DecisionError("a mute has no `until`")
    if record.action != "mute" and not record.incident:
        raise DecisionError(f"a decision to {record.action} names no `incident`")
    until_ns = None if record.until is None else _nanoseconds(record.until)
    return Decision(
        id=record.id,
        action=record.action,
        series=record.series,
        at_ns=_nanoseconds(record.at),
        incident=record.incident or "",
        channels=record.channels,
        until_ns=until_ns,
        who=record.who,
        why=record.why,
        decided_at_ns=0 if record.decided_at is None else _nanoseconds(record.decided_at),
    )


def _nanoseconds(when: datetime) -> int:
    """Return a time in nanoseconds since the epoch; no zone means UTC, as everywhere.

    Raises:
        DecisionError: 64 bits do not hold the time, as in the years before 1678 and after 2261.
    """
    since = (when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH
    found = (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
    if not EARLIEST_NS <= found <= LATEST_NS:
        raise DecisionError(f"{when.isoformat()} is not a time between the years 1678 and 2261")
    return found
