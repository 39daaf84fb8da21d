"""Run self-checks between the turns of the loop: after each load of a model, and at intervals."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator

from detector import logs
from detector.engine.engine import Engine
from detector.scoring.verdicts import Verdicts
from detector.selfcheck.check import Sense, Situation, self_check
from detector.selfcheck.recent_rows import RecentRows


class NoSelfChecks:
    """The figures of a service whose models have self-checks of their own."""

    def __init__(self) -> None:
        self.sense = Sense("unknown")
        self.counts: Counter[str] = Counter()


class SelfChecks:
    """Does one slice of a self-check after a turn; any thread may read `sense` and `counts`.

    Promise: a self-check changes nothing of the engine. After a turn it takes as long as one batch of the
    model and no longer.

    Args:
        engine: The running engine.
        every_seconds: Time from the start of a self-check to the next; 0: only when a model is loaded.
        clock: Returns seconds that never go back.
    """

    def __init__(
        self, engine: Engine, every_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine, self._every, self._clock = engine, every_seconds, clock
        self.counts: Counter[str] = Counter()
        self.follow()

    def follow(self) -> None:
        """Begin with a model that was just loaded: its outcome is unknown, and a self-check is due."""
        self.sense = Sense("unknown")
        self._recent = RecentRows(self._engine.artifact.spec)
        self._running: Iterator[Sense | None] | None = None
        self._due = self._clock()

    def on_turn(self, verdicts: Verdicts) -> None:
        """Take the final verdicts of a turn; begin a self-check if one is due, or do its next slice."""
        self.take(verdicts)
        self.advance()

    def take(self, verdicts: Verdicts) -> None:
        """Take the final verdicts of a turn."""
        self._recent.add(verdicts)

    @property
    def is_due(self) -> bool:
        """Whether there is something to do."""
        return self._running is not None or self._clock() >= self._due

    def advance(self) -> None:
        """Begin a self-check if one is due, or do its next slice."""
        if not self.is_due:
            return
        if self._running is None:
            self._begin()
        assert self._running is not None
        outcome = next(self._running)
        if outcome is not None:
            self._finish(outcome)

    def _begin(self) -> None:
        latest = self._engine.latest
        situation = Situation(
            self._engine.artifact,
            self._engine.options,
            self._recent.stretches(),
            latest.names,
            latest.threshold,
            self._recent.series(),
        )
        self._recent.forget()
        self._running = self_check(situation)
        self._due = self._clock() + (self._every or float("inf"))

    def _finish(self, outcome: Sense) -> None:
        """Publish the outcome. Log it if it is not good, and if it is good again."""
        before, self.sense, self._running = self.sense.outcome, outcome, None
        self.counts[outcome.outcome] += 1
        if outcome.outcome == "deaf":
            logs.event(
                "self-check failed: faults are not found that the model promises to find",
                logging.ERROR,
                channels=dict(outcome.reasons),
                series=list(outcome.deaf_series),
            )
        elif outcome.outcome == "unknown":
            logs.event("no self-check: the model has no table of what it finds; train it again")
        elif before != "ok":
            logs.event("self-check passed", lowest_ratio=min(outcome.ratios.values()))
