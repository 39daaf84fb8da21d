"""Reload the model between two turns of the loop, without losing or repeating a row.

The slow part is done before, in the watcher's thread (see `model_watcher` beside this). Between two turns the
engine takes over the state of every series. Open rows and open incidents are kept. Windows and page
levels are kept where the layout is the same; otherwise the series warm up. Nothing is taken over while a
partition is being replayed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from connectors.records import Batch, Codec, Position, Readings
from detector import logs
from detector.calibration.p_values import PValues
from detector.delivery.messages import MessageEncoder
from detector.delivery.recovery import Recovery
from detector.engine.engine import Engine, StepResult
from detector.incidents.shapes.sentence import Wording
from detector.service.reload.model_watcher import ModelWatcher
from detector.service.reload.reload_counts import ReloadCounts


@dataclass(frozen=True, slots=True)
class Candidate:
    """Hold a new model, ready for use: its engine, and the decoder for its channels."""

    engine: Engine
    codec: Codec


class Decodes(Protocol):
    """The part of `connectors.records.StreamSource` that a reload needs."""

    @property
    def has_lost(self) -> bool: ...

    def use_codec(self, codec: Codec) -> None: ...


class Encodes(Protocol):
    """The part of `detector.delivery.sink.MessageSink` that a reload needs."""

    encoder: MessageEncoder

    def write(self, result: StepResult, batch: Batch) -> None: ...

    def commit(self, position: Position | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Running:
    """Hold the parts of the loop that a reload changes.

    recovery  None where no state is saved
    observe   receives results that belong to no batch
    """

    engine: Engine
    source: Decodes
    sink: Encodes
    recovery: Recovery | None
    observe: Callable[[StepResult], None]


class ModelReloader:
    """Take over the model that the watcher has ready. Called between turns by the loop's thread."""

    def __init__(self, running: Running, watcher: ModelWatcher[Candidate], counts: ReloadCounts) -> None:
        self._running, self._watcher, self._counts = running, watcher, counts
        self._next: Candidate | None = None

    def on_turn(self) -> bool:
        """Take over a new model if one is ready and this is a safe moment. Returns whether it was.

        1. Wait for a later turn while a partition is being replayed or was lost.
        2. Refuse a model that lacks a channel of the present rules.
        3. Finish the rows that the new layout cannot continue.
        4. Replace the engine's model, the decoder and the names in messages.
        """
        self._next = self._watcher.take() or self._next
        is_replaying = self._running.recovery is not None and self._running.recovery.is_replaying
        if self._next is None or is_replaying or self._running.source.has_lost:  # 1
            return False
        candidate = self._next
        if not self._takes_our_rules(candidate):  # 2
            self._next = None
            return False
        is_same = candidate.engine.origin.layout == self._running.engine.origin.layout
        if not (is_same or self._finish()):  # 3
            return False
        self._next = None
        self._use(candidate, is_same)  # 4
        return True

    def _finish(self) -> bool:
        """Finish rows whose final verdict is pending under the old model, since the new layout cannot.

        Returns False if that commit failed; the rows are then pending again.
        """
        running = self._running
        last = running.engine.finish_waiting()
        if len(last.verdicts) == 0:
            return True
        running.sink.write(last, Batch(Readings.empty(len(running.engine.artifact.spec.channels))))
        running.sink.commit(None)
        running.observe(last)
        return not running.source.has_lost

    def _takes_our_rules(self, candidate: Candidate) -> bool:
        """Return whether it has every channel of the rules, which may have changed since it was made."""
        rules = self._running.engine.options.rules
        try:
            if candidate.engine.options.rules != rules:
                candidate.engine.use_rules(rules)
        except ValueError as error:
            self._counts.add("refused")
            logs.event("model refused, the old one stays in use", logging.ERROR, error=str(error))
            return False
        return True

    def _use(self, candidate: Candidate, keeps_windows: bool) -> None:
        running = self._running
        before = running.engine.artifact.version
        running.engine.take_over(candidate.engine)
        artifact = running.engine.artifact
        running.source.use_codec(candidate.codec)
        running.sink.encoder = replace(
            running.sink.encoder,
            version=artifact.version,
            channels=artifact.spec.channel_names,
            p_values=PValues.of(artifact),
            modes=() if artifact.spec.modes is None else artifact.spec.modes.names,
            wording=Wording.of(artifact.spec, running.sink.encoder.wording.units),
        )
        self._counts.add("loaded")
        logs.event(
            "model loaded",
            model=artifact.spec.name,
            version=artifact.version,
            before=before,
            series=len(running.engine.latest.names),
            windows="kept" if keeps_windows else "warming up: window or channels differ",
        )
