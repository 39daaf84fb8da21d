"""What a person may decide about an incident or a series: the same checks for commands and the explorer."""

from __future__ import annotations

import getpass
import os
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from detector.config.load import parse_duration
from detector.delivery.decision_records import EARLIEST_NS, LATEST_NS
from detector.errors import DetectorError
from detector.incidents.decision import OPINIONS, Action, Decision
from detector.incidents.incident import LEVEL_REASONS, MODEL_REASONS

LONGEST_TEXT = 1000
"""Most characters of a reason, and of a name."""
_LONGEST_SECONDS = 366 * 86_400
_MOST_SHOWN = 10
_WHY_NOT = {
    "flatline": "is stuck",
    "out_of_range": "has impossible values",
    "missing": "has stopped sending",
    "silent": "belongs to a silent series",
    "stream_silent": "belongs to a silent stream",
}


class UndecidableError(DetectorError):
    """Something cannot be decided; the message says why.

    field  what is wrong: "incident", "series", "channels", "for", "at", "who" or "why"
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Subject:
    """Hold what is known of an incident that somebody decides about.

    id, series, reason  as in its messages
    at_ns               event time from which a decision applies
    channels            names, and shares of the error; 0 where unknown
    """

    id: str
    series: str
    reason: str
    at_ns: int
    channels: tuple[tuple[str, float], ...] = ()

    @property
    def blamed(self) -> tuple[str, ...]:
        """The channels that the incident blames; see `detector.incidents.lasting.blamed`."""
        least = max((share for _, share in self.channels), default=0.0) / 2
        return tuple(name for name, share in self.channels if share >= least)


def obstacle(action: Action, incident: Subject) -> str:
    """Return why an incident of this reason cannot be accepted or rejected; empty if it can."""
    if action == "accept" and incident.reason not in LEVEL_REASONS:
        return (
            f"incident {incident.id} is about a channel that"
            f" {_WHY_NOT.get(incident.reason, incident.reason)}: there is no level to accept; mute the"
            " series, or change [channels.NAME] in the configuration"
        )
    if action == "reject" and incident.reason not in MODEL_REASONS:
        return f"incident {incident.id} is never learnt nor offered: there is nothing to reject"
    return ""


def about(action: Action, incident: Subject, channels: Sequence[str] = ()) -> Decision:
    """Return a decision about an incident, still without who and why.

    Args:
        action: any but `mute`.
        incident: what it is about.
        channels: the channels to accept; empty: those that the incident blames.

    Raises:
        UndecidableError: an incident of this reason cannot be decided so, or blames no channel.
    """
    found = obstacle(action, incident)
    if found:
        raise UndecidableError("incident", found)
    if channels and action != "accept":
        raise UndecidableError("channels", f"only a decision to accept names channels, not {action}")
    accepted = (tuple(channels) or incident.blamed) if action == "accept" else ()
    if action == "accept" and not accepted:
        raise UndecidableError("channels", f"incident {incident.id} blames no channel: name the channels")
    at_ns = _checked_time("at", incident.at_ns)
    return Decision(_new_id(), action, incident.series, at_ns, incident.id, accepted)


def mute(series: str, duration: str, at_ns: int) -> Decision:
    """Return a mute of a series, still without who and why.

    Args:
        series: its name.
        duration: how long, such as "2h"; "0s" ends a mute.
        at_ns: event time from which it applies.

    Raises:
        UndecidableError: the duration is none, or lies outside the bounds.
    """
    try:
        seconds = parse_duration(duration)
    except ValueError as error:
        raise UndecidableError("for", str(error)) from error
    if not 0 <= seconds <= _LONGEST_SECONDS:
        raise UndecidableError("for", f"{duration} is not between 0s and 366d")
    until_ns = _checked_time("for", at_ns + round(seconds * 1e9))
    return Decision(_new_id(), "mute", series, _checked_time("at", at_ns), until_ns=until_ns)


def signed(decision: Decision, who: str, why: str) -> Decision:
    """Return the decision with who decided it, why, and when by the clock of this host.

    Raises:
        UndecidableError: a text is too long, or no text that UTF-8 can hold.
    """
    for field, text in (("who", who), ("why", why)):
        if len(text) > LONGEST_TEXT:
            raise UndecidableError(field, f"is longer than {LONGEST_TEXT} characters")
        if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
            raise UndecidableError(field, "holds a character that no text may hold")
    return replace(decision, who=who, why=why, decided_at_ns=time.time_ns())


def check_channels(wanted: Sequence[str], known: Sequence[str], of: str) -> None:
    """Raise UndecidableError where a channel is not known; `of` names what has the known ones."""
    for name in wanted:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            more = f" and {len(known) - _MOST_SHOWN} more" if len(known) > _MOST_SHOWN else ""
            shown = ", ".join(known[:_MOST_SHOWN]) + more
            raise UndecidableError("channels", f"{of} has no channel {name}{hint}; its channels: {shown}")


def user_at_host() -> str:
    """Return the user of this process and the host, as `ada@plant-7`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may have no name for its user
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def is_about_incident(action: Action) -> bool:
    """Return whether a decision of this kind names an incident."""
    return action in ("accept", "reject", *OPINIONS)


def _checked_time(field: str, at_ns: int) -> int:
    if not EARLIEST_NS <= at_ns <= LATEST_NS:
        raise UndecidableError(field, "the time does not lie between the years 1678 and 2261")
    return at_ns


def _new_id() -> str:
    return uuid.uuid4().hex[:16]
