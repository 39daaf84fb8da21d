"""Options of an evaluation, and the training configuration that they stand for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from trainer.config import ENSEMBLE, TrainConfig, override
from trainer.fitting.members import LONGEST_WINDOW


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """Choose what an evaluation fits and which figures it reports.

    Attributes:
        family: "ensemble", or one model family such as "conv".
        train_rows: Fit on the first so many rows of each file; None: on the rows with `split = train`.
        causal: Score a row from windows that end at it; False: also from windows that end later.
        delay: Rows by which such a later window may end after the row; None: as many as the window allows.
        window: Rows of a window; None: that of `base`, or a length that suits the data.
        seed: Seed of the training and of the random score.
        max_epochs: Upper limit of epochs; None: the default of the training.
        alarm_budget: False alarms allowed per series, such as "1/week".
        scores: Directory for one Parquet file of scores per input file; None: write none.
        budgets: Further alarm budgets. The fitted model is recalibrated and run again for each.
        worth: Also run without each kind of evidence, at `alarm_budget`.
        without: Kinds of evidence that say nothing, keys of `detector.scoring.kinds.SWITCHES`.
        base: All other options of the training.
    """

    family: str = ENSEMBLE
    train_rows: int | None = None
    causal: bool = True
    delay: int | None = None
    window: int | None = None
    seed: int = 0
    max_epochs: int | None = None
    alarm_budget: str = "1/week"
    scores: Path | None = None
    budgets: tuple[str, ...] = ()
    worth: bool = False
    without: tuple[str, ...] = ()
    base: TrainConfig = field(default_factory=TrainConfig)

    def train_config(self) -> TrainConfig:
        """Return the configuration of the training; raise TrainerError for a wrong value."""
        window = self.base.model.window if self.window is None else self.window
        delay = self.delay if self.delay is not None else (window or LONGEST_WINDOW) - 1
        changes: dict[str, dict[str, object]] = {
            "model": {"family": self.family, "window": window},
            "fit": {"seed": self.seed, "max_epochs": self.max_epochs},
            "scoring": {"alarm_budget": self.alarm_budget, "delay": 0 if self.causal else delay},
        }
        return override(self.base, None, changes)
