"""Log series whose clock is behind, went back, or sends at another rate than its rows."""

from __future__ import annotations

import logging
from collections import defaultdict

import numpy as np

from detector import logs
from detector.engine.engine import Engine, Latest
from detector.rows.clock_rules import Turn
from detector.scoring.verdicts import State

_MOST_NAMED = 20
_WORDS: dict[Turn, str] = {
    "clock went back": "the clock of series went back: they start again, and their windows fill anew",
    "interval changed": "series send at another rate: their rows get the length of their steps",
}


class ClockLog:
    """Log each change once; one line a turn names up to 20 series. Lives on the loop's thread."""

    def __init__(self) -> None:
        self._late: frozenset[str] = frozenset()

    def on_turn(self, engine: Engine, latest: Latest) -> None:
        """Log what the clocks of the series did in this turn."""
        found: dict[Turn, list[str]] = defaultdict(list)
        for name, reason in engine.take_turned():
            found[reason].append(name)
        for reason, names in found.items():
            _log(_WORDS[reason], logging.WARNING, names)
        self._follow(latest)

    def _follow(self, latest: Latest) -> None:
        """Log which series have begun or ceased to send only late readings."""
        late = frozenset(latest.names[at] for at in np.flatnonzero(latest.state == State.LATE).tolist())
        if late == self._late:
            return
        new, over = sorted(late - self._late), sorted(self._late - late)
        self._late = late
        if new:
            _log("series send only late readings: their clock is behind", logging.WARNING, new)
        if over:
            _log("series send readings in time again", logging.INFO, over)


def _log(words: str, level: int, names: list[str]) -> None:
    logs.event(words, level, series=names[:_MOST_NAMED], num_series=len(names))
