"""Small artifacts with seeded, untrained weights: enough to test everything but detection quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from detector.artifact.modules import build_members, network_of
from detector.artifact.reference import Reference, num_features
from detector.artifact.spec import (
    Artifact,
    Channel,
    Level,
    Member,
    PageLimit,
    Scoring,
    Spec,
    Threshold,
)
from detector.models import families as models

SMALL = {"latent": 4, "nodes": 8, "layers": 1}


def make_artifact(
    channels: tuple[str, ...] = ("flow", "pressure"),
    *,
    family: str = "conv",
    window: int = 8,
    more: Sequence[tuple[str, int] | tuple[str, int, int]] = (),
    stride: int = 1,
    interval_ns: int = 10**9,
    max_gap: int = 3,
    scoring: Scoring | None = None,
    threshold: float = 1.0,
    limit: PageLimit | None = None,
    flatline_rows: int = 0,
    batch_size: int = 16,
    seed: int = 0,
    causal: bool = False,
    has_reference: bool = False,
    executor: str = "torch",
) -> Artifact:
    """An artifact of an untrained model over `channels`, all centred at 0 with scale 1.

    `causal` conv members look at no later row. `more` are further members, (family, window) or
    (family, window, stride) each, of windows that are not longer. Whitening is the identity, and every level
    is 0 with spread 2. So the error of a single member with one channel is the root mean square residual of
    the window. With a reference, small departures of a channel from the others add up.
    `executor` is what computes the networks.
    """
    torch.manual_seed(seed)
    levels = (Level(0.0, 2.0),) * (1 if len(channels) == 1 else 2)
    members = []
    for name, rows, *strides in ((family, window), *more):
        given = {key: value for key, value in SMALL.items() if name in ("conv", "lstm", "gru", "deep")}
        given |= {"causal": True} if causal and name == "conv" else {}
        given |= {"nodes": 32} if name == "memory" else {}
        hyperparameters = models.resolve(name, given or {"latent": 4}, rows, len(channels))
        members.append(Member(name, hyperparameters, rows, levels, levels, stride=(*strides, 1)[0]))
    spec = Spec(
        name="pump",
        members=tuple(members),
        channels=tuple(Channel(name, 0.0, 1.0, 2.0, flatline_rows) for name in channels),
        interval_ns=interval_ns,
        stride=stride,
        batch_size=batch_size,
        max_gap=max_gap,
        scoring=scoring or Scoring(),
        threshold=Threshold(threshold, "fixed", "1/week", limit=limit),
        reference=_reference(len(channels), seed) if has_reference else None,
    )
    artifact = Artifact(spec, build_members(spec.members, len(channels)).eval())
    return in_numpy(artifact) if executor == "numpy" else artifact


def in_numpy(artifact: Artifact) -> Artifact:
    """The same model, computed by NumPy."""
    spec, weights = artifact.spec, artifact.module.weights()
    return replace(artifact, module=network_of(spec.members, len(spec.channels), "numpy", weights))


def _reference(num_channels: int, seed: int) -> Reference:
    """A reference with seeded weights, by which a departure of two spreads becomes evidence in few rows."""
    rng = np.random.default_rng(seed)

    def each(value: float) -> tuple[float, ...]:
        return (value,) * num_channels

    return Reference(
        weights=tuple(
            map(tuple, rng.normal(0, 0.1, (num_features(num_channels) + 1, num_channels)).tolist())
        ),
        spread=each(0.5),
        baseline=tuple(rng.normal(0, 0.1, num_channels).tolist()),
        allowance=each(0.75),
        unknown=each(0.25),
        threshold=each(12.0),
        large_threshold=each(20.0) + each(9.0),
        proof_rows=4,
        influence=tuple(map(tuple, rng.uniform(0, 0.3, (num_channels, num_channels)).tolist())),
        lowest=each(-4.0),
        highest=each(4.0),
        baselines={"pump-1": each(0.2)},
    )
