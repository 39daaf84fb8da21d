"""What a candidate would have judged, beside what the current version did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Judge: TypeAlias = Literal["candidate", "current"]
JUDGES: tuple[Judge, ...] = ("candidate", "current")


def _none() -> dict[Judge, int]:
    return dict.fromkeys(JUDGES, 0)


@dataclass(frozen=True, slots=True)
class ShadowView:
    """Hold the figures of a shadow since it began. Only rows and series count that both have judged.

    version    of the candidate; empty while none is judged
    rows       rows that both judged
    alike      rows on which they agree: anomalous for both, or for none
    anomalous  judge -> anomalous rows
    incidents  judge -> incidents opened, of series that the candidate has judged
    restarts   times that the candidate began again without state, since it was behind
    since      when the counts began, seconds since the epoch; 0 while none is judged
    problem    why the newest candidate is not judged; empty if it is, or if there is none
    """

    version: str = ""
    rows: int = 0
    alike: int = 0
    anomalous: Mapping[Judge, int] = field(default_factory=_none)
    incidents: Mapping[Judge, int] = field(default_factory=_none)
    restarts: int = 0
    since: float = 0.0
    problem: str = ""

    @property
    def agreement(self) -> float:
        """The share of rows on which both agree; NaN before the first."""
        return self.alike / self.rows if self.rows else float("nan")
