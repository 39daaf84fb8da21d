"""The trainer: history in, artifacts out.

from trainer import fit
artifact = fit("history/", alarm_budget="1/week", out="models/pump")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from detector.artifact.spec import Artifact
    from trainer.config import TrainConfig

__all__ = ["fit"]


def fit(
    data: str | Path | pd.DataFrame,
    model: str | None = None,
    window: int | None = None,
    alarm_budget: str | None = None,
    out: str | Path | None = None,
    config: TrainConfig | None = None,
) -> Artifact:
    """Train and calibrate a model; with `out`, publish it there as the current version.

    data          a Parquet file or directory, or a frame with a DatetimeIndex and a column a channel
    model         "ensemble" (the default), or one family: "linear", "mlp", "deep", "conv", "lstm", "gru" or
                  "vae"
    window        rows that the model sees at once; None: what suits the data
    alarm_budget  false alarms tolerated a series, as "1/week"
    out           registry entry, such as "models/pump"
    config        everything else (`trainer.config.TrainConfig`); the parameters before override it

    Raises TrainerError, ParquetError or ArtifactError with what to do about it.
    """
    from detector.artifact.registry import publish
    from trainer.config import TrainConfig, override
    from trainer.pipeline import fit_source, source_of

    config = config or TrainConfig()
    model_changes = {"family": model, "window": window}
    name = None if out is None or config.name is not None else Path(out).name
    complete = override(config, name, {"model": model_changes, "scoring": {"alarm_budget": alarm_budget}})
    artifact = fit_source(source_of(data, complete.data.channels), complete)
    return artifact if out is None else publish(artifact, Path(out))
