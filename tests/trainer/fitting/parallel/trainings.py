"""Small trainings of every family, by one process or by those that torchrun started.

torchrun --nproc-per-node 3 -m tests.trainer.fitting.parallel.trainings OUT.json
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from connectors.parquet.reader import Chunk
from detector.artifact.spec import Member
from detector.models import families as models
from trainer.config import FitOptions
from trainer.data.history import Shares, build_history
from trainer.data.training_windows import TrainingWindows
from trainer.errors import DivergedError
from trainer.fitting.gradient import TrainingAndValidation, fit_module
from trainer.fitting.parallel.following import follow
from trainer.fitting.parallel.group import leading
from trainer.fitting.parallel.launch import launched
from trainer.progress import quiet

WINDOW, CHANNELS = 12, 2
OPTIONS = FitOptions(max_epochs=3, min_steps_per_epoch=4, batch_size=16, seed=3, device="cpu")
DISTURBED = {"noise": 0.1, "mask": 0.2}
CASES: dict[str, tuple[str, dict[str, float]]] = {
    **{family: (family, {}) for family in models.FAMILIES if family != "memory"},
    "linear, masked": ("linear", DISTURBED),
    "conv, trimmed": ("conv", {"trim": 0.2}),
    "lstm, disturbed and trimmed": ("lstm", {**DISTURBED, "trim": 0.1}),
    "conv, one window a batch": ("conv", {"batch_size": 1}),
}
"""Name -> family and options; 16 windows are no multiple of 3, and one window leaves two processes idle."""


def history_values() -> np.ndarray:
    """Two sines with noise and missing values, float64 [rows, 2]."""
    rng = np.random.default_rng(0)
    angle = np.arange(300)[:, None] * 0.3 + np.array([0.0, 1.0])
    values = np.sin(angle) + rng.normal(0, 0.05, angle.shape)
    values[rng.random(values.shape) < 0.03] = np.nan
    return values


def train_all() -> dict[str, dict[str, object]]:
    """The result of every case, and that of a training that diverges between them."""
    values = history_values()
    chunk = Chunk(np.arange(len(values)), ("s",), np.zeros(len(values), np.int32), values, None, None)
    found: dict[str, dict[str, object]] = {}
    with build_history(lambda: iter([chunk]), ("a", "b"), 1, 5) as history:
        parts = [history.part(name, Shares(0.2, 0.2)) for name in ("train", "validation", "train")]
        windows = TrainingAndValidation(
            *(TrainingWindows(history, part, np.zeros(2), np.ones(2), WINDOW) for part in parts)
        )
        found["diverged"] = _diverged(windows)
        for name, (family, changes) in CASES.items():
            module, member = _module(family)
            options = OPTIONS.model_copy(update=changes)
            result = fit_module(module, member, windows, options, quiet)
            size = float(sum(value.double().square().sum() for value in module.state_dict().values()))
            found[name] = {**asdict(result), "size": size}
    return found


def _diverged(windows: TrainingAndValidation) -> dict[str, object]:
    module, member = _module("conv")

    def explode(done: float, words: str, notable: bool = False) -> None:
        with torch.no_grad():
            next(module.parameters()).fill_(float("nan"))

    try:
        fit_module(module, member, windows, OPTIONS, explode)
    except DivergedError as error:
        return {"error": str(error)}
    return {}


def _module(family: str) -> tuple[torch.nn.Module, Member]:
    torch.manual_seed(0)
    given = {"mlp": {}, "linear": {"fit": "gradient"}}.get(family, {"nodes": 8, "layers": 1})
    hyperparameters = models.resolve(family, given, WINDOW, CHANNELS)
    return models.build(family, hyperparameters, WINDOW, CHANNELS), Member(family, hyperparameters, WINDOW)


if __name__ == "__main__":
    place = launched()
    if place.rank > 0:
        sys.exit(follow(place))
    with leading(place, "cpu"):
        Path(sys.argv[1]).write_text(json.dumps(train_all()))
