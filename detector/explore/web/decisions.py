"""The endpoints of decisions: what was decided, and a new decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detector.delivery.decisions.deciding import UndecidableError, signed
from detector.explore.deciding.ledger import Entry, LedgerError, entry_of
from detector.explore.deciding.ledger import opinions as opinions_of
from detector.explore.deciding.wish import Known, WishError, decision_of, obstacles, read_wish
from detector.explore.web.opened import Opened

_MOST = 200


def decisions(opened: Opened, values: dict[str, Any]) -> dict[str, Any]:
    """Return the newest decisions about a series or an incident, and whether more can be written here.

    Raises:
        LedgerError: they cannot be read.
        WishError: there is no such incident.
    """
    incident, series = values["incident"], values["series"]
    found = [one for one in opened.ledger.entries() if _is_about(one, incident, series)]
    is_pending = any(one.outcome == "pending" for one in found)
    writing = opened.writing
    return {
        "writing": {
            "refused": writing.refused or None,
            "who": None if writing.user_header else writing.who,
            "place": opened.ledger.place,
        },
        "obstacles": obstacles(incident, _known(opened)) if incident else {},
        "command": opened.ledger.command() if is_pending else None,
        "total": len(found),
        "decisions": [one.as_json() for one in reversed(found[-_MOST:])],
    }


def decide(opened: Opened, body: bytes, names: Sequence[str]) -> dict[str, Any]:
    """Check and write a decision, and return it.

    Args:
        opened: what is shown.
        body: of the request.
        names: the values of the header in which a proxy names the user.

    Raises:
        WishError: it is refused, with the status of the answer.
        LedgerError: it cannot be written.
    """
    if opened.writing.refused:
        raise WishError(403, "", f"nothing is written: {opened.writing.refused}")
    try:
        who = opened.writing.name_in(names)
    except ValueError as error:
        raise WishError(403, "", f"nothing is written: {error}") from error
    wish = read_wish(body)
    decision, note = decision_of(wish, _known(opened))
    try:
        decision = signed(decision, who, wish.why)
    except UndecidableError as error:
        raise WishError(400, error.field, f"`{error.field}` {error}") from error
    opened.ledger.write(decision)
    return {
        "decision": entry_of(decision, None).as_json(),
        "place": opened.ledger.place,
        "command": opened.ledger.command(),
        "note": note or None,
    }


def opinions(opened: Opened) -> tuple[dict[str, str], str | None]:
    """Return what people said that incidents were, by id, and why it is unknown; None: it is known."""
    try:
        return opinions_of(opened.ledger.entries()), None
    except LedgerError as error:
        return {}, str(error)


def _known(opened: Opened) -> Known:
    return Known(opened.database, opened.description, opened.source.kind == "live")


def _is_about(entry: Entry, incident: str, series: str) -> bool:
    """Return whether a decision is about an incident or a series, or, given both, about either."""
    one = entry.decision
    if incident and series:
        return one.incident == incident or (not one.incident and one.series == series)
    return (not incident or one.incident == incident) and (not series or one.series == series)
