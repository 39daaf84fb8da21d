"""Two lists of incidents of the same stretch, compared with each other and with labelled events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, Protocol

from detector.incidents.incident import MODEL_REASONS
from detector.offline.measuring.events import Event

Change = Literal["same", "new", "gone"]


class Span(Protocol):
    """What has a series and lasts for a time; without an end it still lasts."""

    @property
    def series(self) -> str:
        """The name of the series."""

    @property
    def start_ns(self) -> int:
        """Its first row."""

    @property
    def end_ns(self) -> int | None:
        """Its end."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Hold what a comparison needs of an incident; times in nanoseconds.

    said  how it is shown, JSON values
    """

    series: str
    start_ns: int
    opened_ns: int
    end_ns: int | None
    reason: str
    severity: str
    said: dict[str, Any]


def overlap(one: Span, other: Span) -> bool:
    """Return whether two spans of a series are at the same time."""
    before = one.end_ns is None or other.start_ns <= one.end_ns
    return one.series == other.series and before and (other.end_ns is None or one.start_ns <= other.end_ns)


def summary(found: Sequence[Opening], events: Sequence[Event] | None) -> dict[str, Any]:
    """Return the figures of one setting.

    An event is caught if an incident of its series overlaps it. Its delay is the time from its start to the
    first opening, and 0 where an incident was open before. An incident is false if it overlaps no event.
    Figures about events are None where the data has no labels.
    """
    plain = {
        "incidents": len(found),
        "critical": sum(one.severity == "critical" for one in found),
        "alarms": sum(one.reason in MODEL_REASONS for one in found),
    }
    if events is None:
        return plain | dict.fromkeys(("events", "caught", "false", "delay_seconds"))
    caught = [[one.opened_ns for one in found if overlap(one, event)] for event in events]
    delays = [
        max(0, min(opened) - event.start_ns) / 1e9
        for opened, event in zip(caught, events, strict=True)
        if opened
    ]
    return plain | {
        "events": len(events),
        "caught": len(delays),
        "false": sum(not any(overlap(one, event) for event in events) for one in found),
        "delay_seconds": median(delays) if delays else None,
    }


def compared(present: Sequence[Opening], proposed: Sequence[Opening]) -> dict[str, Any]:
    """Return what the proposed settings keep, add and lose, and every incident with its change.

    Two incidents are the same if they overlap. `later_seconds` is the median of how much later the proposed
    settings open the incidents that both have; less than 0 is earlier.
    """
    later, listed = [], []
    for one in proposed:
        twins = [other for other in present if overlap(one, other)]
        if twins:
            later.append((one.opened_ns - min(other.opened_ns for other in twins)) / 1e9)
        listed.append((one, "same" if twins else "new"))
    gone = [one for one in present if not any(overlap(one, other) for other in proposed)]
    listed += [(one, "gone") for one in gone]
    listed.sort(key=lambda pair: (pair[0].opened_ns, pair[0].series))
    return {
        "common": len(later),
        "new": len(proposed) - len(later),
        "gone": len(gone),
        "later_seconds": median(later) if later else None,
        "incidents": [one.said | {"change": change} for one, change in listed],
    }
