"""Findings of a data report: what can be found, how severe it is, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trainer.errors import TrainerError

Severity = Literal["note", "warning", "stops"]
_ORDER: tuple[Severity, ...] = ("stops", "warning", "note")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding: its severity, and the remedy."""

    severity: Severity
    remedy: str


KINDS: dict[str, Kind] = {
    "text_numbers": Kind("stops", "write these columns as numbers, or remove them"),
    "looks_like_series": Kind("stops", "rename the column that names the machine to `series`"),
    "long_format": Kind("stops", "pivot the table: one column for each tag, one row for each time"),
    "looks_like_time": Kind("stops", "remove the column, or rename the right time column to `timestamp`"),
    "many_conflicting_rows": Kind("stops", "give each machine its own series, or remove the repeated times"),
    "old_times": Kind(
        "stops", "convert the times with their unit: pd.to_datetime(times, unit='s', utc=True)"
    ),
    "conflicting_rows": Kind("warning", "remove one of the rows; the last one wins"),
    "future_times": Kind("warning", "remove the rows whose clock was ahead"),
    "sentinel": Kind("warning", "write missing values as null, or state [data] valid_range"),
    "far_value": Kind("warning", "remove the value, or state [data] valid_range"),
    "infinite": Kind("warning", "infinite values are missing values; write null if they are meant to be"),
    "no_values": Kind("warning", "remove the channel, or fill it"),
    "partial_channel": Kind("warning", "the channel is missing in the other files; check its name there"),
    "counter": Kind("warning", "train on its rate of change: a total leaves the range of the history"),
    "unit_change": Kind("warning", "convert the earlier values, or leave them out with [data] exclude"),
    "mixed_rates": Kind("note", "each of these series gets rows as long as its own interval"),
    "irregular_interval": Kind("warning", "resample the series to one interval, or state --interval"),
    "short_series": Kind("warning", "give more rows: no window of these series is ever full"),
    "unlike_series": Kind(
        "note",
        "training gives each of these series its own scale; series that it does not see get the common one",
    ),
    "constant": Kind("note", "a change of the channel will be found, its size in noise is unknown"),
    "gaps": Kind("note", "windows restart after long gaps"),
    "repeated_rows": Kind("note", "equal rows count once"),
    "left_out": Kind("note", "only columns of numbers are channels"),
}
"""All findings by their stable names."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: its name, and what was found and where, without the remedy."""

    name: str
    what: str

    @property
    def severity(self) -> Severity:
        """Whether it stops a training, is a warning or a note."""
        return KINDS[self.name].severity

    @property
    def remedy(self) -> str:
        """What to do."""
        return KINDS[self.name].remedy

    def line(self) -> str:
        """Return the finding as one line."""
        return f"{self.severity}: {self.name}: {self.what}; {self.remedy}"


def by_severity(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings with the most severe first, otherwise in their order."""
    return tuple(sorted(findings, key=lambda one: _ORDER.index(one.severity)))


def listed(names: Sequence[str]) -> str:
    """Return the first names, and the number of the others.

    >>> listed(["a", "b", "c", "d", "e"])
    "'a', 'b', 'c' and 2 more"
    """
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def check_accepted(accepted: Sequence[str]) -> None:
    """Raise TrainerError if an accepted name is no finding; the message names the nearest one."""
    for name in accepted:
        if name not in KINDS:
            near = difflib.get_close_matches(name, KINDS, n=1)
            known = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}"
            raise TrainerError(f"data.accept: there is no finding {name!r}; {known}")
