"""Describe the modes of operation of a machine: when each holds, and how rows are judged in it.

A mode holds where channels lie within limits. Rows to which none applies are in the mode `other`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

OTHER = "other"
"""The mode of rows to which no other mode applies."""
MOST_MODES = 32
LEAST_PASSAGES = 5
"""So many changes from a mode show how long they usually take."""
_MOST_ROWS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Condition:
    """Bound a channel, in its own units. Both bounds belong to the mode; None: no bound."""

    channel: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Mode:
    """Hold one mode of operation.

    name         of the mode
    conditions   all must hold; none for `other`
    judge        channels that are judged in this mode, by name or pattern
    settle_rows  rows after each change into it that are not judged
    fresh        factor on the threshold while a window may hold rows from before the change
    steady       factor on the threshold after that
    usual_rows   rows that it usually takes at most until a mode holds, once this one was left; 0: unknown
    passages     how often the history left it
    share        of the rows of the history
    """

    name: str
    conditions: tuple[Condition, ...] = ()
    judge: tuple[str, ...] = ("*",)
    settle_rows: int = 0
    fresh: float = 1.0
    steady: float = 1.0
    usual_rows: int = 0
    passages: int = 0
    share: float = 0.0

    def judges(self, channel: str) -> bool:
        """Return whether a channel is judged in this mode.

        >>> Mode("off", judge=("temp*",)).judges("temperature"), Mode("off", judge=()).judges("speed")
        (True, False)
        """
        return any(fnmatchcase(channel, pattern) for pattern in self.judge)


@dataclass(frozen=True, slots=True)
class Modes:
    """Hold the modes of a model, the first that applies counts.

    modes         in the order of the configuration
    other         where none of them applies
    hold_rows     rows of unknown mode through which the mode before goes on
    passing_rows  rows in `other` that are a transition between two modes; 0: `other` is a mode like any
    found         the training found them; else they are configured
    """

    modes: tuple[Mode, ...]
    other: Mode = field(default_factory=lambda: Mode(OTHER))
    hold_rows: int = 16
    passing_rows: int = 0
    found: bool = False

    @property
    def all(self) -> tuple[Mode, ...]:
        """Return every mode; `other` is the last."""
        return (*self.modes, self.other)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all modes; `other` is the last."""
        return tuple(mode.name for mode in self.all)


def modes_from(raw: Mapping[str, Any] | None) -> Modes | None:
    """Return the modes of plain values, or None where there are none."""
    if raw is None:
        return None
    others = {name: value for name, value in raw.items() if name not in ("modes", "other")}
    return Modes(tuple(_mode_from(one) for one in raw["modes"]), _mode_from(raw["other"]), **others)


def _mode_from(raw: Mapping[str, Any]) -> Mode:
    conditions = tuple(Condition(**one) for one in raw["conditions"])
    return Mode(**{**raw, "conditions": conditions, "judge": tuple(raw["judge"])})


def check_modes(modes: Modes, channels: Sequence[str]) -> None:
    """Refuse modes that no reader can work with.

    Raises:
        ValueError: A name is missing or occurs twice, a condition is empty or of no channel of the model, a
            pattern matches no channel, or a number is not allowed. The message names the mode.
    """
    names = modes.names
    if not 1 <= len(modes.modes) <= MOST_MODES:
        raise ValueError(f"there are {len(modes.modes)} modes; 1 to {MOST_MODES} are allowed")
    for mode in modes.modes:
        if not mode.name or names.count(mode.name) > 1:
            raise ValueError(f"mode {mode.name!r:.40}: every mode needs a name of its own, and not {OTHER!r}")
        if not mode.conditions:
            raise ValueError(f"mode {mode.name!r:.40} has no condition")
    for mode in modes.all:
        for fault in _faults(mode, channels):
            raise ValueError(f"mode {mode.name!r:.40}: {fault}")
    for name, rows in (("hold_rows", modes.hold_rows), ("passing_rows", modes.passing_rows)):
        if not 0 <= rows <= _MOST_ROWS:
            raise ValueError(f"modes.{name} is {rows}; it must be 0 to {_MOST_ROWS}")


def _faults(mode: Mode, channels: Sequence[str]) -> list[str]:
    """Return what is wrong with a mode, in words."""
    found = []
    for one in mode.conditions:
        bounds = [bound for bound in (one.low, one.high) if bound is not None]
        if one.channel not in channels:
            found.append(f"no such channel: {one.channel!r:.40}; known: {', '.join(channels)}")
        elif not bounds or not all(map(math.isfinite, bounds)) or bounds != sorted(bounds):
            found.append(f"{one.channel} needs a lower or an upper bound, and the lower one first")
    found += [
        f"judge has {pattern!r:.40}, which is no channel"
        for pattern in mode.judge
        if not any(fnmatchcase(channel, pattern) for channel in channels)
    ]
    numbers = (mode.settle_rows, mode.usual_rows, mode.passages)
    if not all(0 <= number <= _MOST_ROWS for number in numbers):
        found.append(f"its numbers of rows must be 0 to {_MOST_ROWS}")
    if not all(1e-6 <= factor <= 1e6 for factor in (mode.fresh, mode.steady)) or not 0 <= mode.share <= 1:
        found.append("its factors must lie between 1e-6 and 1e6, its share between 0 and 1")
    return found
