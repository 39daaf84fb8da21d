"""A model trained on the history of a line of machines, measured on what comes after it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from benchmarks.plants.plant import EPOCH_NS, Line, PlantOptions, line_of
from detector.artifact.spec import Artifact
from detector.calibration.recalibrate import recalibrated
from detector.engine.engine import Engine, EngineOptions
from detector.incidents.rules import IncidentRules
from detector.offline.backtest import replay
from detector.offline.frames import FrameSource, chunk_of_frame
from trainer import fit
from trainer.config import ModelOptions, TrainConfig
from trainer.evaluation.operator_measures import OperatorMeasures, measure_incidents
from trainer.evaluation.worth import without_each

BUDGETS = ("1/week", "1/day")
GRACE_NS = 3_600_000_000_000
"""An incident that opens within an hour before or after an event belongs to it."""


@dataclass(frozen=True, slots=True)
class LineRun:
    """One family of models on one line of a plant; `name` is the name of its file of results.

    With `worth` the model also runs without each kind of evidence.
    """

    plant: PlantOptions
    kind: str
    family: str
    purpose: str
    worth: bool = False

    @property
    def name(self) -> str:
        return f"{self.purpose}-{self.plant.seed}.{self.family}.{self.kind}"


def outcome(run: LineRun) -> tuple[LineRun, dict[str, Any] | None]:
    """Return a line and its measures. It stands here since processes cannot load it from `__main__`."""
    return run, measured(run)


def measured(run: LineRun) -> dict[str, Any]:
    """Train and measure a line; return its measures by budget, and without each kind of evidence."""
    line = line_of(run.plant, run.kind)
    started = time.perf_counter()
    artifact = fit(line.history, config=TrainConfig(model=ModelOptions(family=run.family)))
    seconds = time.perf_counter() - started
    found = {budget: _found(line, run.plant, artifact, budget) for budget in BUDGETS}
    worth = _worth(line, run.plant, artifact, found[BUDGETS[0]]) if run.worth else {}
    return {
        "line": line.name,
        "family": run.family,
        "fit_seconds": seconds,
        "budgets": {budget: measures.as_json() for budget, measures in found.items()},
        "worth": {name: measures.as_json() for name, measures in worth.items()},
    }


def _worth(
    line: Line, plant: PlantOptions, artifact: Artifact, found: OperatorMeasures
) -> dict[str, OperatorMeasures]:
    """Return the measures at the first budget without each kind of evidence, by name."""
    return without_each(
        artifact.spec, (), lambda without: _found(line, plant, artifact, BUDGETS[0], without), found
    )


def _found(
    line: Line, plant: PlantOptions, artifact: Artifact, budget: str, without: tuple[str, ...] = ()
) -> OperatorMeasures:
    options = EngineOptions(rules=IncidentRules(without=without))
    return of_line(line, plant, Engine(recalibrated(artifact, budget), options))


def of_line(line: Line, plant: PlantOptions, engine: Engine) -> OperatorMeasures:
    """Return what an operator sees of the live part of a line."""
    channels = engine.artifact.spec.channel_names
    found = replay(FrameSource(chunk_of_frame(line.live, channels)), engine)
    week_ns = plant.weeks_rows * plant.interval_ns
    start = EPOCH_NS + plant.history_weeks * week_ns
    span = (start, start + plant.live_weeks * week_ns)
    spans = dict.fromkeys(line.live["series"].unique(), span)
    return measure_incidents(line.events, found.incidents, spans, GRACE_NS)
