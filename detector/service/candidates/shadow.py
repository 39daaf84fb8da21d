"""A candidate judges beside the current version, and nothing of it is sent.

It gets the readings that the current engine got, in a thread of its own, after they were delivered. Its
state is in no snapshot: after a restart, and with another candidate, it warms up. A shadow that is too slow
begins again without state, and one that fails is dropped. Neither touches the current engine.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from connectors.objects.names import below
from connectors.records import Batch, Readings
from detector import logs
from detector.artifact.registry import open_named
from detector.artifact.spec import Artifact, Spec
from detector.engine.engine import Engine, EngineOptions
from detector.engine.loop import Turn
from detector.engine.values import StepResult
from detector.errors import ArtifactError
from detector.incidents.decision import Decision
from detector.lifecycle.shadow_view import ShadowView
from detector.lifecycle.versions import waiting_at
from detector.service.candidates.agreement import Agreement
from detector.service.reload.model_watcher import check_compatible

_MOST_BATCHES = 256
_POLL_SECONDS, _LOOK_SECONDS = 0.5, 5.0
Decided = Sequence[tuple[int, Decision]]
Prepare = Callable[[Artifact], Artifact]


def _as_it_is(artifact: Artifact) -> Artifact:
    return artifact


@dataclass(frozen=True, slots=True)
class _Batch:
    """What the current engine got, what it gave, and the model and options that it had."""

    batch: Batch
    result: StepResult
    artifact: Artifact
    options: EngineOptions


class Shadow:
    """Follows the newest candidate of a registry entry. `view` may be read from any thread.

    Args:
        place: registry entry of the model; empty: nothing is judged.
        seconds: time between two looks for a candidate; 0: as often as by default.
        name: what the model is called here; None: as the artifact says.
        most_batches: batches that may wait; beyond that the candidate begins again without state.
        prepare: makes of a candidate what the daemon would judge with, such as one with its alarm budget.
    """

    def __init__(
        self,
        place: str,
        seconds: float,
        name: str | None = None,
        most_batches: int = _MOST_BATCHES,
        prepare: Prepare = _as_it_is,
    ) -> None:
        self._place, self._seconds, self._name = place, seconds or _LOOK_SECONDS, name
        self._prepare = prepare
        self._batches: queue.Queue[_Batch] = queue.Queue(most_batches)
        self._is_behind, self._stopped = threading.Event(), threading.Event()
        self._decided: tuple[list[tuple[int, Decision]], int] = ([], 0)
        self._engine: Engine | None = None
        self._agreement = Agreement()
        self._version, self._refused, self._restarts, self._looked_at = "", "", 0, float("-inf")
        self._current, self._given = "", (0, 0)
        self.view = ShadowView()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Judge until `close`."""
        if self._place:
            self._thread.start()

    def close(self) -> None:
        """Stop; the candidate's state is lost."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def decide(self, decided: Decided, number: int) -> None:
        """Take decisions of people, as the current engine does; called by the loop's thread."""
        known, before = self._decided
        if self._place and (decided or number != before):
            self._decided = ([*(known if number == before else ()), *decided], number)

    def on_turn(self, turn: Turn, engine: Engine) -> None:
        """Take in a turn of the current engine; called by the loop's thread, and never waits."""
        if not self._place:
            return
        try:
            self._batches.put_nowait(_Batch(turn.batch, turn.result, engine.artifact, engine.options))
        except queue.Full:
            self._is_behind.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                one = self._batches.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            try:
                self._take(one)
            except Exception as error:  # whatever a candidate does, the current version goes on
                self._drop(f"{type(error).__name__}: {error}")
            finally:
                self._batches.task_done()

    def _take(self, one: _Batch) -> None:
        """Judge a batch with the candidate there is; look for another one now and then."""
        now = time.monotonic()
        if now - self._looked_at >= self._seconds or one.artifact.version != self._current:
            self._looked_at = now
            self._look(one)
        if self._engine is not None and self._is_behind.is_set():
            self._restarts += 1
            logs.event("shadow was behind, it begins again", logging.WARNING, version=self._version)
            self._begin(self._engine.artifact, one)
        self._is_behind.clear()
        engine = self._engine
        if engine is None:
            return
        engine.drop(one.batch.lost)
        if engine.options.rules != one.options.rules:
            engine.use_rules(one.options.rules)
        self._give(engine)
        result = engine.step(_for_channels(one, engine.artifact.spec), one.batch.tick_ns)
        self._agreement.add("candidate", result.verdicts, result.incidents)  # first: its series count
        self._agreement.add("current", one.result.verdicts, one.result.incidents)
        self.view = self._agreement.view(self._version, self._restarts)

    def _give(self, engine: Engine) -> None:
        """Give the engine the decisions that it has not got yet."""
        decided, number = self._decided
        num, of = self._given
        engine.decide(decided[num if of == number else 0 :], number)
        self._given = len(decided), number

    def _look(self, one: _Batch) -> None:
        """Begin with the newest candidate if it is another one, or if the current version is another one."""
        found = waiting_at(self._place)
        newest = found[0].name if found else ""
        if newest in (self._version, self._refused) and one.artifact.version == self._current:
            return
        self._current, self._refused, self._restarts = one.artifact.version, "", 0
        if not newest:
            if self._version:
                logs.event("shadow ended: there is no candidate any more", version=self._version)
            self._engine, self._version, self.view = None, "", ShadowView()
            return
        try:
            artifact = self._prepare(open_named(below(self._place, newest), self._name))
            check_compatible(one.artifact.spec, artifact.spec)
            _check_channels(one.artifact.spec, artifact.spec)
        except ArtifactError as error:
            self._drop(str(error), newest)
            return
        self._version = newest
        self._begin(artifact, one)
        logs.event("shadow started", version=newest, current=self._current)

    def _begin(self, artifact: Artifact, one: _Batch) -> None:
        """Judge with this version from now on, without state."""
        self._engine, self._agreement = Engine(artifact, replace(one.options, threads=1)), Agreement()
        self._given = 0, 0
        self.view = self._agreement.view(self._version, self._restarts)

    def _drop(self, why: str, version: str = "") -> None:
        """Judge no more with a candidate, until there is another one."""
        self._refused = version or self._version
        self._engine, self._version = None, ""
        self.view = ShadowView(problem=f"{self._refused}: {why}")
        logs.event("shadow dropped", logging.WARNING, version=self._refused, error=why)


def _check_channels(current: Spec, candidate: Spec) -> None:
    lacking = [name for name in candidate.channel_names if name not in current.channel_names]
    if lacking:
        raise ArtifactError(f"it needs channels that the current version does not read: {', '.join(lacking)}")


def _for_channels(one: _Batch, spec: Spec) -> Readings:
    """Return the readings with the channels of the candidate; those that have none of them are left out."""
    readings, names = one.batch.readings, one.artifact.spec.channel_names
    if spec.channel_names == names or not len(readings):
        return readings if spec.channel_names == names else Readings.empty(len(spec.channels))
    values = readings.values[:, [names.index(name) for name in spec.channel_names]]
    return replace(readings, values=values).take(np.asarray(~np.isnan(values).all(axis=1)))
