"""A backtest that was run and is to be reported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detector.artifact.spec import Artifact
from detector.offline.backtest import BacktestOutcome
from detector.reports.budgets import Slider


@dataclass(frozen=True, slots=True)
class Reported:
    """Hold a backtest that was run, to be reported.

    directory  where `scores.parquet`, `incidents.json` and `backtest.json` are
    data       the history
    slider     its budgets
    """

    artifact: Artifact
    outcome: BacktestOutcome
    directory: Path
    data: Path
    slider: Slider
