"""A model trained on the history of a line of machines, measured on what comes after it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from benchmarks.plants.plant import EPOCH_NS, Line, PlantOptions, lines_of
from detector.calibration.recalibrate import recalibrated
from detector.engine.engine import Engine
from detector.offline.backtest import replay
from detector.offline.frames import FrameSource, chunk_of_frame
from trainer import fit
from trainer.config import ModelOptions, TrainConfig
from trainer.evaluation.operator_measures import OperatorMeasures, measure_incidents
from trainer.progress import ProgressReport, quiet

BUDGETS = ("1/week", "1/day")
GRACE_NS = 3_600_000_000_000
"""An incident that opens within an hour before or after an event belongs to it."""


@dataclass(frozen=True, slots=True)
class PlantRun:
    """One family of models on one plant; `name` is the name of its file of results."""

    plant: PlantOptions
    family: str
    purpose: str

    @property
    def name(self) -> str:
        return f"{self.purpose}-{self.plant.seed}.{self.family}"


def measured(run: PlantRun, report: ProgressReport = quiet) -> dict[str, Any]:
    """Train and measure every line of a plant; return the measures by budget as plain values."""
    total = dict.fromkeys(BUDGETS, OperatorMeasures())
    lines, seconds = [], 0.0
    for at, line in enumerate(lines_of(run.plant)):
        report(at / len(run.plant.kinds), line.name)
        started = time.perf_counter()
        config = TrainConfig(model=ModelOptions(family=run.family))
        artifact = fit(line.history, config=config)
        seconds += time.perf_counter() - started
        for budget in BUDGETS:
            found = of_line(line, run.plant, Engine(recalibrated(artifact, budget)))
            total[budget] += found
            lines.append({"line": line.name, "budget": budget, **found.as_json()})
    return {
        "family": run.family,
        "fit_seconds": seconds,
        "lines": lines,
        "budgets": {budget: measures.as_json() for budget, measures in total.items()},
    }


def of_line(line: Line, plant: PlantOptions, engine: Engine) -> OperatorMeasures:
    """Return what an operator sees of the live part of a line."""
    channels = engine.artifact.spec.channel_names
    found = replay(FrameSource(chunk_of_frame(line.live, channels)), engine)
    week_ns = plant.weeks_rows * plant.interval_ns
    start = EPOCH_NS + plant.history_weeks * week_ns
    span = (start, start + plant.live_weeks * week_ns)
    spans = dict.fromkeys(line.live["series"].unique(), span)
    return measure_incidents(line.events, found.incidents, spans, GRACE_NS)
