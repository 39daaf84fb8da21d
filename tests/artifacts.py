"""Small artifacts with seeded, untrained weights: enough to test everything but detection quality."""

from __future__ import annotations

import torch

from detector import models
from detector.artifact import Artifact, Channel, Scoring, Spec, Threshold


def make_artifact(
    channels: tuple[str, ...] = ("flow", "pressure"),
    *,
    family: str = "conv",
    window: int = 8,
    stride: int = 1,
    interval_ns: int = 10**9,
    max_gap: int = 3,
    scoring: Scoring | None = None,
    threshold: float = 1.0,
    flatline_rows: int = 0,
    batch_size: int = 16,
    seed: int = 0,
) -> Artifact:
    """An artifact of an untrained model over `channels`, all centred at 0 with scale 1."""
    torch.manual_seed(seed)
    hyperparameters = {"latent": 4, "nodes": 8, "layers": 1}
    module = models.build(family, hyperparameters, window, len(channels))
    spec = Spec(
        name="pump",
        family=family,
        hyperparameters=hyperparameters,
        channels=tuple(Channel(name, 0.0, 1.0, 1.0, 2.0, flatline_rows) for name in channels),
        interval_ns=interval_ns,
        window=window,
        stride=stride,
        batch_size=batch_size,
        max_gap=max_gap,
        scoring=scoring or Scoring(),
        threshold=Threshold(threshold, "fixed", "1/week"),
    )
    return Artifact(spec, module.eval())
