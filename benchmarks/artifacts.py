"""The model that the speed benchmarks drive: conv with its defaults, window 64, 8 channels, stride 1.

Batch size and smoothing are the trainer's defaults. Its weights are not trained, which costs the same;
the threshold is high, as an anomaly is rare in life.
"""

from __future__ import annotations

import torch

from detector import models
from detector.artifact import Artifact, Channel, Scoring, Spec, Threshold
from trainer.config import ScoringOptions

WINDOW = 64
INTERVAL_NS = 1_000_000_000
CHANNELS = tuple(f"channel-{number}" for number in range(8))


def conv_artifact() -> Artifact:
    """The artifact, not saved."""
    torch.manual_seed(7)
    spec = Spec(
        name="bench",
        family="conv",
        hyperparameters={},
        channels=tuple(Channel(name, 0.0, 1.0, 1.0, 3.0) for name in CHANNELS),
        interval_ns=INTERVAL_NS,
        window=WINDOW,
        stride=1,
        batch_size=ScoringOptions().batch_size,
        max_gap=4,
        scoring=Scoring(smooth=WINDOW // 8),
        threshold=Threshold(1e6, "fixed", "1/week"),
    )
    return Artifact(spec, models.build(spec.family, spec.hyperparameters, WINDOW, len(CHANNELS)).eval())
