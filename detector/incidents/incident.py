"""An incident as a value, its events, and what is kept of a series between two rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

from detector.incidents.decision import Applied, Decision
from detector.incidents.rules import Suppression
from detector.incidents.shapes.course import Course
from detector.incidents.shapes.explanation import Explanation
from detector.scoring.context.trend import Trend
from detector.scoring.kinds import Kind as EvidenceKind

Reason = Literal[
    "score", "cumulative", "season", "drift", "mode",
    "flatline", "out_of_range", "missing", "silent", "stream_silent",
]  # fmt: skip
REASON_OF: dict[EvidenceKind, Reason] = {
    EvidenceKind.WINDOW: "score",
    EvidenceKind.LEVEL: "cumulative",
    EvidenceKind.SEASON: "season",
    EvidenceKind.DRIFT: "drift",
    EvidenceKind.MODE: "mode",
}
"""Why an incident opens in which this kind of evidence spoke loudest."""
MODEL_REASONS: tuple[str, ...] = tuple(REASON_OF.values())
"""Reasons by which the model opens an incident: the alarm budget counts them, and a level can be accepted."""
REASONS_THAT_ADD_UP: tuple[str, ...] = MODEL_REASONS[1:]
"""Reasons of small departures that add up: no single row shows them, and they have no peak score."""
Severity = Literal["warning", "critical"]
LEVEL_REASONS: tuple[str, ...] = tuple(reason for reason in MODEL_REASONS if reason != "mode")
"""Those of a level that a person may accept. A change of mode that takes long has none."""
Kind = Literal["opened", "escalated", "lasting", "accepted", "rejected", "unjudged", "judged", "resolved"]
Blindness = Literal["no_data", "no_channel", "mode", "warming"]
Ending = Literal["over", "accepted", "retired"]


@dataclass(frozen=True, slots=True)
class ChannelEvidence:
    """One channel at one row of an incident, in physical units; NaN where unknown.

    `lower` and `upper` bound what is normal in a single row. They are NaN for small departures that add up.
    `trend`: how fast it drifts, while drift speaks.
    `clipped`: the model expects a value that history never showed; `expected` is the nearest that it showed.
    """

    name: str
    contribution: float
    actual: float
    expected: float
    lower: float
    upper: float
    clipped: bool = False
    trend: Trend | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A change of mode that takes too long: the mode that was left, and the longest usual time in ns.

    The incident begins when the usual time is over.
    """

    left: str
    usual_ns: int


@dataclass(frozen=True, slots=True)
class Unjudged:
    """That nobody can tell whether an open incident goes on.

    since_ns  the last row at which its evidence was judged
    why       `no_data`: the series sends nothing; `no_channel`: the channels to blame send nothing; `mode`:
              they are not judged in the mode of operation; `warming`: the window is not full
    mode      of `mode`: its name, None where it is unknown
    spell     how often this has come in the incident: 1 at first
    """

    since_ns: int
    why: Blindness
    mode: str | None = None
    spell: int = 1


@dataclass(frozen=True, slots=True)
class Incident:
    """An alert and its life so far. Times are event times in nanoseconds.

    start_ns    the first bad row
    opened_ns   the row that completed the rule
    end_ns      once resolved: the last row that was not quiet
    peak_score  the highest score so far, at `peak_ns`; 0 where no row had one: show `known_peak`
    channels    the greatest contributions at the worst row, never at one of the recovery
    at_start    the same at the row that opened it, or at the one that proved it to be a drift
    newest      the same at the newest bad row
    held_by     the rules that delayed its opening
    flapping    it stays open longer, because the series keeps turning bad and good
    lasting_ns  the row at which it was offered as lasting
    decision    what was decided about it last
    passage     of the reason `mode`: the change that takes too long
    ending      once resolved: why it ended; `retired` if its series has vanished
    unjudged    since when its evidence cannot be judged; None while it is judged
    explanation  of bad rows: what they look like so far
    """

    id: str
    model: str
    version: str
    series: str
    state: Literal["firing", "resolved"]
    reason: Reason
    severity: Severity
    start_ns: int
    opened_ns: int
    end_ns: int | None
    peak_score: float
    peak_ns: int
    channels: tuple[ChannelEvidence, ...]
    held_by: tuple[Suppression, ...] = ()
    flapping: bool = False
    lasting_ns: int | None = None
    decision: Applied | None = None
    ending: Ending | None = None
    at_start: tuple[ChannelEvidence, ...] = ()
    newest: tuple[ChannelEvidence, ...] = ()
    passage: Passage | None = None
    unjudged: Unjudged | None = None
    explanation: Explanation | None = None

    @property
    def is_rejected(self) -> bool:
        """Whether somebody said that it is a fault: it is never learnt nor offered again."""
        return self.decision is not None and self.decision.decision.action == "reject"

    @property
    def drifting(self) -> ChannelEvidence | None:
        """The channel that drifts now, the one most to blame first; None where none does.

        Channels that surely drift come before others. An incident of another reason has no others.
        """
        known = [one for one in self.newest or self.channels if one.trend is not None]
        sure = [one for one in known if one.trend is not None and not one.trend.may_be_zero]
        found = sure or (known if self.reason == "drift" else [])
        return found[0] if found else None

    @property
    def trend(self) -> Trend | None:
        """How fast the channel `drifting` drifts now; None where none does."""
        return None if self.drifting is None else self.drifting.trend

    @property
    def known_peak(self) -> float | None:
        """The highest score; None where no row of it had one, as in silence or of missing channels."""
        return self.peak_score or None


@dataclass(frozen=True, slots=True)
class IncidentEvent:
    """A change in an incident's life, at the event time `at_ns`."""

    kind: Kind
    at_ns: int
    incident: Incident


@dataclass(slots=True)
class Stretch:
    """Running sums over the rows of an open incident, one for each channel: values, and how many."""

    total: list[float]
    num: list[float]


@dataclass(slots=True)
class Track:
    """What is kept of a series that is bad or silent, or was so recently. It is part of the snapshot.

    recent        while none is open: the last known rows, (time, bad)
    incident      the open one; quiet: its quiet rows in a row; last_loud_ns: its last row that was not quiet
    since_ns      the first bad row of the spell during which m of n rows have been bad ever since
    held          the rules that have delayed the opening so far
    resolved_ns   when the last incident ended
    openings      when the latest incidents opened
    silence       the open incident of this silent series
    stream        the open incident of the silent stream, which is kept with one series
    missing       the open incidents of its channels that have stopped sending
    stretch       running sums over the rows of the open incident
    pending       decisions about the series that wait for their row, in the order in which they were read
    judged_ns     the last row at which the open incident was judged; unjudged_rows: its rows since then
    spells        how often the open incident could not be judged for long
    course        rows of the open incident and before it
    """

    recent: list[tuple[int, bool]] = field(default_factory=list)
    incident: Incident | None = None
    quiet: int = 0
    last_loud_ns: int = 0
    since_ns: int | None = None
    held: list[Suppression] = field(default_factory=list)
    resolved_ns: int | None = None
    openings: list[int] = field(default_factory=list)
    silence: Incident | None = None
    stream: Incident | None = None
    missing: list[Incident] = field(default_factory=list)
    stretch: Stretch | None = None
    pending: list[Decision] = field(default_factory=list)
    judged_ns: int = 0
    unjudged_rows: int = 0
    spells: int = 0
    course: Course | None = None

    @property
    def open(self) -> tuple[Incident, ...]:
        """The incidents of this series that are firing."""
        alone = (self.incident, self.silence, self.stream)
        return (*(one for one in alone if one is not None), *self.missing)


def evidence_of(reason: str) -> str | None:
    """Return the label of the evidence that opened an incident of this reason; None if a rule opened it.

    >>> evidence_of("cumulative"), evidence_of("flatline")
    ('level', None)
    """
    return next((kind.label for kind, opened in REASON_OF.items() if opened == reason), None)


def incident_id(model: str, series: str, start_ns: int, kind: str = "") -> str:
    """Return the id of an incident: the same wherever and however often it is computed.

    `kind` sets incidents apart that a series may have at the same time: those of silence and of missing
    channels. Incidents of bad rows have none.

    >>> incident_id("pump", "pump-1", 0)
    'f3d995dddc3bf508'
    """
    parts = [model, series, str(start_ns), *([kind] if kind else [])]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
