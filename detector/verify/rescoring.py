"""Scores the input of one partition again, with the versions that judged its rows.

When did a version end? The service changes it between two batches, and its messages name the version of each
row. So the change is where the next reading would give a row that another version judged. That place is found
by halves: the engine is copied before each batch, as a snapshot copies it, and goes on from the copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from connectors.records import Readings
from detector.artifact.spec import Artifact
from detector.delivery.messages import MessageEncoder
from detector.delivery.unassigned import Admission
from detector.engine.engine import Engine, EngineOptions, StepResult, knows
from detector.incidents.decision import Decision
from detector.verify.inputs import PartitionInput, of_channels
from detector.verify.rows import Published, Row, rows_of

Decisions = Sequence[tuple[int, Decision]]


@dataclass(frozen=True, slots=True)
class Model:
    """A version of the model, ready to judge."""

    artifact: Artifact
    options: EngineOptions
    encoder: MessageEncoder


@dataclass(frozen=True, slots=True)
class Judging:
    """What a run needs beside its input.

    model_of   returns a version; None where the registry has it no more
    channels   those of all versions, in the order of the columns of the input
    published  what the service published
    decisions  what people decided, at the rows where it took effect
    admission  makes what decides which series are judged
    """

    model_of: Callable[[str], Model | None]
    channels: tuple[str, ...]
    published: Published
    decisions: Decisions
    admission: Callable[[], Admission]


class Rescoring:
    """One partition, scored again. Not thread-safe."""

    def __init__(self, judging: Judging, model: Model) -> None:
        """Begin with this version and without state."""
        self._judging, self._model = judging, model
        self._engine = self._fresh(model)
        self._admission = judging.admission()
        self._may_change = set(judging.published.versions) - {model.artifact.version} != set()

    def rows(
        self, part: PartitionInput, follow: Callable[[Readings], None], is_over: Callable[[list[Row]], bool]
    ) -> Iterator[list[Row]]:
        """Yield the rows that the service must have published, batch by batch.

        Args:
            part: the input.
            follow: called with the readings of each batch that are judged.
            is_over: called with each batch of rows; True ends the run.
        """
        for batch in part.read(self._judging.channels):
            admitted = self._admission.admit(batch, partial(knows, self._engine)).readings
            follow(admitted)
            found = list(self._judged(admitted))
            yield found
            if is_over(found):
                return

    def _judged(self, readings: Readings) -> Iterator[Row]:
        tried = {self._model.artifact.version}
        while len(readings):
            before = self._copy(self._engine) if self._may_change else None
            result = self._engine.step(self._own(readings))
            rows = self._rows(result)
            other = None if before is None else self._other_version(rows)
            if before is None or other is None or other in tried or self._judging.model_of(other) is None:
                yield from rows
                return
            num = self._last_before_change(before, readings)
            self._engine = before
            if num:
                yield from self._rows(self._engine.step(self._own(_first(readings, num))))
                tried = {self._model.artifact.version}
                readings = _from(readings, num)
            yield from self._change(other)
            tried.add(other)

    def _last_before_change(self, before: Engine, readings: Readings) -> int:
        """Return how many of the readings give no row that another version judged."""
        low, high = 0, len(readings)
        while high - low > 1:
            middle = (low + high) // 2
            rows = self._rows(self._copy(before).step(self._own(_first(readings, middle))))
            low, high = (low, middle) if self._other_version(rows) is not None else (middle, high)
        return low

    def _change(self, version: str) -> Iterator[Row]:
        """Go on with another version, as the service does between two batches."""
        model = self._judging.model_of(version)
        assert model is not None
        fresh = self._fresh(model)
        if fresh.origin.layout != self._engine.origin.layout:
            yield from self._rows(self._engine.finish_waiting())
        self._engine.take_over(fresh)
        self._model = model

    def _other_version(self, rows: Sequence[Row]) -> str | None:
        """Return the version that judged the first of these rows that this one did not judge."""
        seen: dict[tuple[str, int], int] = {}
        for row in rows:
            skip = seen.get((row.series, row.time_ms), 0)
            seen[row.series, row.time_ms] = skip + 1
            published = self._judging.published.next_of(row.series, row.time_ms, skip)
            if published is not None and published.version != row.version:
                return published.version
        return None

    def _own(self, readings: Readings) -> Readings:
        """Return readings with the channels of the present version."""
        names = self._model.artifact.spec.channel_names
        if names == self._judging.channels:
            return readings
        return of_channels(readings, [self._judging.channels.index(name) for name in names])

    def _rows(self, result: StepResult) -> list[Row]:
        """Return the rows as the service publishes them."""
        messages = self._model.encoder.verdicts(result.verdicts)
        return [row for message in messages for row in rows_of(message.value or b"")]

    def _fresh(self, model: Model) -> Engine:
        engine = Engine(model.artifact, model.options)
        engine.decide(self._judging.decisions)
        return engine

    def _copy(self, engine: Engine) -> Engine:
        """Return an engine that goes on as this one does, by way of its saved states."""
        fresh = self._fresh(self._model)
        fresh.restore(engine.save(engine.slots_of(engine.latest.names)), 0, None)
        return fresh


def _first(readings: Readings, num: int) -> Readings:
    return readings.take(np.arange(len(readings)) < num)


def _from(readings: Readings, num: int) -> Readings:
    return readings.take(np.arange(len(readings)) >= num)
