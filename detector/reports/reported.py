"""A backtest that was run and is to be reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detector.artifact.spec import Artifact
from detector.calibration.feedback import Feedback
from detector.engine.engine import EngineOptions
from detector.offline.backtest import BacktestOutcome


@dataclass(frozen=True, slots=True)
class Reported:
    """Hold a backtest that was run, to be reported.

    directory  where `scores.parquet`, `incidents.json` and `backtest.json` are
    data       the history
    options    rules, lateness and threads of its engine
    feedback   opinions that are in force, for the budgets
    """

    artifact: Artifact
    outcome: BacktestOutcome
    directory: Path
    data: Path
    options: EngineOptions
    feedback: Sequence[Feedback] = ()
