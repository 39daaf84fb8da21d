"""What a person, or a stated policy, decided about an incident or a series, as plain values.

A decision is part of the engine's input. It takes effect at a row of its series: the first one that starts at
`at_ns` or later and is not closed yet. `Applied` says at which row that was, so that a replay can repeat it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Action = Literal["accept", "reject", "mute", "false-alarm", "real"]
Opinion = Literal["false-alarm", "real"]
OPINIONS: tuple[Opinion, ...] = get_args(Opinion)
"""Actions that say what an incident was. They are kept, and change neither scores nor incidents."""
Outcome = Literal["applied", "ignored"]
Ignored = Literal[
    "its incident is not open",
    "it was rejected before",
    "no level changed",
    "expired",
    "older than the series",
]
"""Why a decision changed nothing. The last one also stands for the others at the first row of a series."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision. Times are nanoseconds since the epoch.

    id             identifies the decision, however often it is read
    series         the series that it is about
    at_ns          the event time from which it applies
    incident       id of the incident that it is about; empty for a mute
    channels       names of the channels to accept; empty: those that the incident blames
    until_ns       the event time at which a mute ends; None for other actions
    decided_at_ns  when it was decided, by the clock of the person
    """

    id: str
    action: Action
    series: str
    at_ns: int
    incident: str = ""
    channels: tuple[str, ...] = ()
    until_ns: int | None = None
    who: str = ""
    why: str = ""
    decided_at_ns: int = 0


@dataclass(frozen=True, slots=True)
class Learnt:
    """The level of a channel before and after it was accepted, in physical units."""

    name: str
    old: float
    new: float


@dataclass(frozen=True, slots=True)
class Applied:
    """A decision at the row where it took effect.

    at_ns    start of the first row to which it applies
    outcome  ignored: it changed nothing
    reason   why it was ignored; None where it was applied
    by       who decided: a person, or the rule `on_lasting = "learn"`
    learnt   the channels whose level was accepted
    """

    decision: Decision
    at_ns: int
    outcome: Outcome = "applied"
    by: Literal["person", "policy"] = "person"
    learnt: tuple[Learnt, ...] = ()

    @property
    def order(self) -> tuple[int, str, str]:
        """A key to sort by that does not depend on which series were replayed together."""
        return self.at_ns, self.decision.series, self.decision.id

    reason: Ignored | None = None
