"""Train two models on one history with your own hyperparameters; print their losses and thresholds.

Run: python examples/custom_training.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import streamgauge as sg
from connectors.parquet.writer import TableWriter
from trainer.config import FitOptions, ModelOptions, ScoringOptions
from trainer.demo.plant import Plant, history_columns

DAY_NS = 86_400_000_000_000
END_NS = 1_760_000_400_000_000_000

CONFIGS = {
    "wide": sg.TrainConfig(
        model=ModelOptions(family="conv", window=24, layers=2, nodes=32, latent=8, activation="silu"),
        fit=FitOptions(max_epochs=6, windows_per_epoch=6_000, seed=1),
    ),
    "recurrent": sg.TrainConfig(
        model=ModelOptions(family="lstm", window=24, nodes=32, latent=16, patch=4, loss="huber"),
        fit=FitOptions(max_epochs=6, windows_per_epoch=6_000, seed=1),
        scoring=ScoringOptions(alarm_budget="1/month"),
    ),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        history, models = Path(scratch, "history"), Path(scratch, "models")
        for name, columns in history_columns(
            Plant(num_pumps=4, interval_seconds=300), END_NS - 2 * DAY_NS, END_NS
        ):
            with TableWriter(history / f"{name}.parquet") as writer:
                writer.write(columns)
        for name, config in CONFIGS.items():
            artifact = sg.fit(history, out=models / name, config=config)
            training, threshold = artifact.spec.training, artifact.spec.threshold
            print(
                f"{name}: {artifact.spec.family}, version {artifact.version}, {training['epochs']} epochs,"
                f" validation loss {training['validation_loss']:.4f},"
                f" threshold {threshold.value:.2f} for {threshold.alarm_budget}"
            )


if __name__ == "__main__":
    main()
