"""The body of a request that decides, and the decision that it becomes after all checks."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import msgspec

from connectors.times import INVALID_NS, times_of
from detector.delivery.decisions.deciding import (
    LONGEST_TEXT,
    Subject,
    UndecidableError,
    about,
    check_channels,
    is_about_incident,
    mute,
    obstacle,
)
from detector.explore.queries.homes import judged_by
from detector.explore.queries.series import is_known
from detector.explore.store.database import Database
from detector.explore.store.layout import Description
from detector.incidents.decision import OPINIONS, Action, Decision

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=400)]
_LARGEST_MS = 9_000_000_000_000
_CLOCK_NS = 3_600_000_000_000


class Wish(msgspec.Struct, forbid_unknown_fields=True, rename={"duration": "for"}):
    """The body of `POST /api/v1/decisions`. Times are milliseconds since 1970 or ISO 8601."""

    action: Action
    incident: _Name | None = None
    series: _Name | None = None
    channels: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=64)] = ()
    duration: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    at: (
        Annotated[str, msgspec.Meta(max_length=40)]
        | Annotated[float, msgspec.Meta(ge=0, le=_LARGEST_MS)]
        | None
    ) = None
    why: Annotated[str, msgspec.Meta(max_length=LONGEST_TEXT)] = ""


class WishError(Exception):
    """A body is wrong.

    status  of the answer: 400 a field, 404 what it names does not exist, 409 it cannot be decided now
    field   which one; empty: the whole body
    """

    def __init__(self, status: int, field: str, message: str) -> None:
        super().__init__(message)
        self.status, self.field = status, field


@dataclass(frozen=True, slots=True)
class Known:
    """What decisions are checked against.

    is_live  whether the source goes on, so that a decision is about now
    """

    database: Database
    description: Description
    is_live: bool


def read_wish(body: bytes) -> Wish:
    """Return a body. Raises WishError."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        text = str(error)
        found = re.search(r"(?:at `\$\.|field `)(\w+)", text)
        raise WishError(400, found[1] if found else "", text) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WishError(400, "", f"the body is not JSON: {error}") from error


def decision_of(wish: Wish, known: Known) -> tuple[Decision, str]:
    """Return the decision, still without who and why, and a note for the person; the note may be empty.

    Raises:
        WishError: it cannot be decided.
    """
    try:
        return _about_incident(wish, known) if is_about_incident(wish.action) else _mute(wish, known)
    except UndecidableError as error:
        raise WishError(409 if error.field == "incident" else 400, error.field, str(error)) from error


def obstacles(incident: str, known: Known) -> dict[str, str]:
    """Return why an incident cannot be accepted or rejected, by action; empty where both can be."""
    subject, is_open, _ = _subject(incident, known)
    found = {}
    for action in ("accept", "reject"):
        why_not = obstacle(action, subject) or _over(subject, is_open, known)
        if why_not:
            found[action] = why_not
    return found


def _about_incident(wish: Wish, known: Known) -> tuple[Decision, str]:
    if wish.incident is None:
        raise WishError(400, "incident", f"a decision to {wish.action} names an incident")
    _refuse(wish, "series", wish.series is not None)
    _refuse(wish, "for", wish.duration is not None)
    subject, is_open, span = _subject(wish.incident, known)
    if wish.at is not None:
        _refuse(wish, "at", known.is_live or wish.action not in ("accept", "reject"))
        at_ns = _time(wish.at)
        if not span[0] < at_ns < span[1]:
            raise WishError(400, "at", "is not within the incident, after the row that opened it")
        subject = replace(subject, at_ns=at_ns)
    if wish.action in ("accept", "reject"):
        over = _over(subject, is_open, known)
        if over:
            raise WishError(409, "incident", over)
    names = judged_by(known.database, known.description, subject.series).channels
    check_channels(wish.channels, (*names, *(one for one, _ in subject.channels)), "the model")
    return about(wish.action, subject, wish.channels), ""


def _mute(wish: Wish, known: Known) -> tuple[Decision, str]:
    if wish.series is None or wish.duration is None:
        raise WishError(400, "for" if wish.series else "series", "is missing: a mute names both")
    _refuse(wish, "incident", wish.incident is not None)
    _refuse(wish, "channels", bool(wish.channels))
    if not is_known(known.database, wish.series):
        raise WishError(404, "series", f"there is no series {wish.series!r}")
    first, last = known.description.first_ns, known.description.last_ns
    if wish.at is None and not known.is_live:
        raise WishError(400, "at", "is missing: a backtest has no present time")
    at_ns = time.time_ns() if wish.at is None else _time(wish.at)
    if not known.is_live and not first <= at_ns < last:
        raise WishError(400, "at", "is outside the rows of the backtest")
    is_far = known.is_live and abs(at_ns - last) > _CLOCK_NS
    note = (
        "The newest row is more than an hour away from the time at which the mute begins." if is_far else ""
    )
    return mute(wish.series, wish.duration, at_ns), note


def _refuse(wish: Wish, field: str, is_given: bool) -> None:
    if is_given:
        raise WishError(400, field, f"does not belong to a decision `{wish.action}` here")


def _over(subject: Subject, is_open: bool, known: Known) -> str:
    if known.is_live and not is_open:
        return f"incident {subject.id} of {subject.series} was resolved: there is nothing to decide"
    return ""


def _subject(name: str, known: Known) -> tuple[Subject, bool, tuple[int, int]]:
    """Return an incident, whether it is open, and from when to when it was. Raises WishError."""
    rows = known.database.execute(
        "SELECT series, reason, state, epoch_ns(opened), epoch_ns(ended), epoch_ns(peak), body FROM incidents"
        " WHERE id = ?",
        [name],
    )
    if not rows:
        raise WishError(404, "incident", f"there is no incident {name!r}")
    series, reason, state, opened, ended, peak, text = rows[-1]
    body: dict[str, Any] = json.loads(text)
    span = (opened, known.description.last_ns if ended is None else ended)
    shares = tuple((one["name"], one["contribution"] or 0.0) for one in body["channels"])
    newest = _newest_event(body, opened) if known.is_live else _good_moment(body, span, peak)
    return Subject(name, series, reason, newest, shares), state == "firing", span


def _newest_event(body: dict[str, Any], opened: int) -> int:
    """Return the time of the newest event of a running group's incident: the next row is later."""
    return _time(body["at"]) if body.get("at") else opened


def _good_moment(body: dict[str, Any], span: tuple[int, int], peak: int | None) -> int:
    """Return when a person would have decided: when the incident was offered as lasting, else its worst row.

    A replay judges rows from then on. It must come after the row that opened the incident.
    """
    lasting = body.get("lasting_since")
    moment = _time(lasting) if lasting else peak or span[0]
    return max(span[0] + 1_000_000, min(moment, span[1] - 1_000_000))


def _time(value: str | float) -> int:
    """Return nanoseconds of milliseconds or of ISO 8601. Raises WishError."""
    found = int(times_of([value])[0]) if isinstance(value, str) else round(value) * 1_000_000
    if found == INVALID_NS:
        raise WishError(
            400, "at", "is no time: write milliseconds since 1970, or a time such as 2026-10-01T12:00:00Z"
        )
    return found


def schema() -> dict[str, Any]:
    """Return the schema of the body for the OpenAPI document, with the fields that each action takes."""
    _, components = msgspec.json.schema_components([Wish], ref_template="#/components/schemas/{name}")
    components["Wish"]["oneOf"] = [
        _kind(("accept",), given=("incident",), absent=("series", "for")),
        _kind(("reject",), given=("incident",), absent=("series", "for", "channels")),
        _kind(OPINIONS, given=("incident",), absent=("series", "for", "channels", "at")),
        _kind(("mute",), given=("series", "for"), absent=("incident", "channels")),
    ]
    return components


def _kind(actions: Sequence[Action], given: Sequence[str], absent: Sequence[str]) -> dict[str, Any]:
    """Return the schema of a body for some actions: which fields it has, and which are null or empty."""
    fields: dict[str, Any] = {"action": {"enum": list(actions)}}
    fields |= {name: {"type": "string"} for name in given}
    fields |= {name: {"maxItems": 0} if name == "channels" else {"type": "null"} for name in absent}
    return {"required": ["action", *given], "properties": fields}


_decoder = msgspec.json.Decoder(Wish)
