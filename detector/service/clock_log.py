"""Log series whose clock is wrong, behind, went back, or sends at another rate than its rows."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np

from detector import logs
from detector.engine.engine import Engine, Latest
from detector.rows.clock_rules import News
from detector.scoring.verdicts import State

_MOST_NAMED = 20
_QUIET_SECONDS = 600.0
"""A series that is named again and again is named once in so long."""
_WORDS: dict[News, str] = {
    "clock went back": "the clock of series went back: they start again, and their windows fill anew",
    "interval changed": "series send at another rate: their rows get the length of their steps",
    "wrong clock": "readings far ahead of their series were dropped: their clock was wrong",
}
_LATE = "series send only late readings: their clock is behind"


class ClockLog:
    """Log each change; one line a turn and kind names up to 20 series. Lives on the loop's thread.

    Args:
        clock: returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._late: frozenset[str] = frozenset()
        self._named: dict[tuple[str, str], float] = {}

    def on_turn(self, engine: Engine, latest: Latest) -> None:
        """Log what the clocks of the series did in this turn."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, reason in engine.take_news():
            found[_WORDS[reason]].append(name)
        late = frozenset(latest.names[at] for at in np.flatnonzero(latest.state == State.LATE).tolist())
        found[_LATE] += sorted(late - self._late)
        self._late = late
        for words, names in found.items():
            self._log(words, names)

    def _log(self, words: str, names: list[str]) -> None:
        """Log the series that were not named with these words for some time."""
        if not names:
            return
        now = self._clock()
        self._named = {key: at for key, at in self._named.items() if now - at < _QUIET_SECONDS}
        new = [name for name in names if (words, name) not in self._named]
        if new:
            self._named |= {(words, name): now for name in new}
            logs.event(words, logging.WARNING, series=new[:_MOST_NAMED], num_series=len(new))
