"""Trains one model of the demo: in this process, or as a process of its own beside the others.

python -m trainer.demo.training FAMILY DIRECTORY SEED
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from detector.artifact.registry import publish
from detector.artifact.spec import Spec
from trainer.config import FitOptions, ModelOptions, TrainConfig
from trainer.pipeline import fit_source, source_of
from trainer.progress import ProgressReport, quiet

WINDOW = 64
_EPOCHS, _WINDOWS_PER_EPOCH, _PATIENCE = 8, 6_000, 4
_NICE = 10
"""The explorer and the first detector go before a training beside them."""


def train(family: str, directory: Path, seed: int, report: ProgressReport = quiet) -> None:
    """Train a model of `directory/history` and publish it as `model_path(directory, family)`.

    Raises:
        TrainerError: The training failed.
    """
    fit = FitOptions(
        seed=seed,
        max_epochs=_EPOCHS,
        windows_per_epoch=_WINDOWS_PER_EPOCH,
        patience=_PATIENCE,
        refit=False,  # a second fit would take longer than the first, and the plant does not change
    )
    config = TrainConfig(name=f"pump-{family}", model=ModelOptions(family=family, window=WINDOW), fit=fit)
    publish(fit_source(source_of(directory / "history"), config, report), model_path(directory, family))


def model_path(directory: Path, family: str) -> Path:
    """Return where the model of a family is published.

    >>> model_path(Path("plant"), "lstm").as_posix()
    'plant/models/pump-lstm'
    """
    return directory / "models" / f"pump-{family}"


def training_command(family: str, directory: Path, seed: int) -> list[str]:
    """Return the command that trains in a process of its own."""
    return [sys.executable, "-m", "trainer.demo.training", family, str(directory), str(seed)]


def trained_words(spec: Spec) -> str:
    """Return how a training ended: its epochs, if it had any, and the threshold."""
    training, threshold = spec.training, spec.threshold
    epochs = training.get("epochs")
    how = f"{epochs} epochs, validation loss {training['validation_loss']:.4f}, " if epochs else ""
    return f"{how}threshold {threshold.value:.2f} for {threshold.alarm_budget} false alarms per pump"


if __name__ == "__main__":
    os.nice(_NICE)
    train(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
