"""Scores the readings of one model in one partition again, with the versions that judged its rows.

When did a version end? The service changes it between two batches, and its messages name the version of each
row. So the change is where the next reading would give a row that another version judged. That place is found
by halves: the engine is copied before each batch, as a snapshot copies it, and goes on from the copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from connectors.records import Readings
from detector.engine.engine import Engine, StepResult, knows
from detector.incidents.decision import Decision
from detector.verify.inputs import of_channels
from detector.verify.rows import Published, Row, rows_of
from detector.verify.versions import Model

Decisions = Sequence[tuple[int, Decision]]


@dataclass(frozen=True, slots=True)
class Judging:
    """What a model needs beside its readings.

    name       the name of the model in messages
    first      the version that judged first
    model_of   returns a version; None where the registry has it no more
    channels   those of all versions that judged, in the order of the columns of its readings
    published  what the service published
    decisions  what people decided, at the rows where it took effect
    """

    name: str
    first: Model
    model_of: Callable[[str], Model | None]
    channels: tuple[str, ...]
    published: Published
    decisions: Decisions


class Rescoring:
    """One model in one partition. Its engine is made with its first readings. Not thread-safe."""

    def __init__(self, judging: Judging) -> None:
        """Begin with the first version and without state."""
        self.judging, self.model = judging, judging.first
        self._engine: Engine | None = None
        versions = judging.published.versions_of(judging.name)
        self._may_change = bool(versions - {judging.first.artifact.version})

    def knows(self, series: str) -> bool:
        """Return whether the engine has a state of a series."""
        return self._engine is not None and knows(self._engine, series)

    def judged(self, readings: Readings) -> Iterator[Row]:
        """Yield the rows that the service must have published.

        Args:
            readings: the next ones of series of this model, with `Judging.channels` as columns.
        """
        engine = self._fresh(self.model) if self._engine is None else self._engine
        tried = {self.model.artifact.version}
        while len(readings):
            before = self._copy(engine) if self._may_change else None
            self._engine = engine
            rows = self._rows(engine.step(self._own(readings)))
            other = None if before is None else self._other_version(rows)
            if before is None or other is None or self.judging.model_of(other) is None:
                yield from rows
                return
            # A version that judged the last reading may come back later, as it does after a rollback.
            num = self._last_before_change(before, readings)
            if not num and other in tried:
                yield from rows
                return
            self._engine = engine = before
            if num:
                yield from self._rows(engine.step(self._own(_first(readings, num))))
                tried = {self.model.artifact.version}
                readings = _from(readings, num)
            yield from self._change(engine, other)
            tried.add(other)

    def _last_before_change(self, before: Engine, readings: Readings) -> int:
        """Return how many of the readings give no row that another version judged."""
        low, high = 0, len(readings)
        while high - low > 1:
            middle = (low + high) // 2
            rows = self._rows(self._copy(before).step(self._own(_first(readings, middle))))
            low, high = (low, middle) if self._other_version(rows) is not None else (middle, high)
        return low

    def _change(self, engine: Engine, version: str) -> Iterator[Row]:
        """Go on with another version, as the service does between two batches."""
        model = self.judging.model_of(version)
        assert model is not None
        fresh = self._fresh(model)
        if fresh.origin.layout != engine.origin.layout:
            yield from self._rows(engine.finish_waiting())
        engine.take_over(fresh)
        self.model = model

    def _other_version(self, rows: Sequence[Row]) -> str | None:
        """Return the version that judged the first of these rows that this one did not judge."""
        seen: dict[tuple[str, int], int] = {}
        for row in rows:
            skip = seen.get((row.series, row.time_ms), 0)
            seen[row.series, row.time_ms] = skip + 1
            published = self.judging.published.next_of(row.series, row.time_ms, skip)
            is_ours = published is not None and published.model == row.model
            if published is not None and is_ours and published.version != row.version:
                return published.version
        return None

    def _own(self, readings: Readings) -> Readings:
        """Return readings with the channels of the present version."""
        names = self.model.channels
        if names == self.judging.channels:
            return readings
        return of_channels(readings, [self.judging.channels.index(name) for name in names])

    def _rows(self, result: StepResult) -> list[Row]:
        """Return the rows as the service publishes them."""
        messages = self.model.encoder.verdicts(result.verdicts)
        return [row for message in messages for row in rows_of(message.value or b"")]

    def _fresh(self, model: Model) -> Engine:
        engine = Engine(model.artifact, model.options)
        engine.decide(self.judging.decisions)
        return engine

    def _copy(self, engine: Engine) -> Engine:
        """Return an engine that goes on as this one does, by way of its saved states."""
        fresh = self._fresh(self.model)
        fresh.restore(engine.save(engine.slots_of(engine.latest.names)), 0, None)
        return fresh


def _first(readings: Readings, num: int) -> Readings:
    return readings.take(np.arange(len(readings)) < num)


def _from(readings: Readings, num: int) -> Readings:
    return readings.take(np.arange(len(readings)) >= num)
