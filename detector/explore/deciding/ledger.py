"""What people decided, with what became of it, and the place where more is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from detector.incidents.decision import OPINIONS, Decision

Outcome = Literal["pending", "applied", "ignored", "kept"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision and what became of it.

    outcome  pending: written, and without effect so far; kept: it is an opinion, which has no effect.
             `decision.at_ns` of an applied one is the row at which it took effect
    reason   why it was ignored; empty otherwise
    """

    decision: Decision
    outcome: Outcome
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return plain values; times are milliseconds since 1970, or None where unknown."""
        one = self.decision
        return {
            "id": one.id,
            "action": one.action,
            "series": one.series,
            "incident": one.incident or None,
            "channels": list(one.channels),
            "who": one.who,
            "why": one.why,
            "at": one.at_ns / 1e6,
            "until": None if one.until_ns is None else one.until_ns / 1e6,
            "decided": one.decided_at_ns / 1e6 if one.decided_at_ns else None,
            "outcome": self.outcome,
            "reason": self.reason or None,
        }


class LedgerError(Exception):
    """A decision could not be written; the message says why and what to do."""


class Ledger(Protocol):
    """Where decisions are written and read. Any thread may call it.

    place  the file or the topic, for people
    """

    @property
    def place(self) -> str:
        """The file or the topic, for people."""

    def write(self, decision: Decision) -> None:
        """Write a decision durably. Raises LedgerError."""

    def entries(self) -> Sequence[Entry]:
        """Return all decisions, in the order in which they were written. Raises LedgerError."""

    def close(self) -> None:
        """Release what it holds."""

    def command(self) -> str | None:
        """Return the command that shows the effect of what is pending; None: it shows by itself."""


def entry_of(decision: Decision, outcome: str | None, reason: str | None = None) -> Entry:
    """Return the entry of a decision; `outcome` is that of its record, None where it has none yet."""
    if decision.action in OPINIONS:
        return Entry(decision, "kept")
    if outcome == "ignored":
        return Entry(decision, "ignored", reason or "")
    return Entry(decision, "applied" if outcome == "applied" else "pending")


def opinions(entries: Iterable[Entry]) -> dict[str, str]:
    """Return what people said that incidents were, by id: the newest opinion on each."""
    return {one.decision.incident: one.decision.action for one in entries if one.decision.action in OPINIONS}
