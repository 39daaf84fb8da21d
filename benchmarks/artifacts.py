"""The models of the speed benchmarks: conv with its defaults, window 64, 8 channels; the default ensemble.

The batch size is the trainer's default. Weights and whitening are not trained, as that does not change the
speed. The threshold is high, as anomalies are rare, and the page level is limited as by default.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from detector.artifact.drift import QUARTERS, Drift
from detector.artifact.modes import Condition, Mode, Modes
from detector.artifact.modules import build_members
from detector.artifact.reference import Reference, num_features
from detector.artifact.season import Calendar, Profile, Season, UsualError
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
from detector.artifact.sum_limits import SumLimits
from detector.models import families as models
from trainer.config import ModelOptions, ScoringOptions
from trainer.fitting.members import resolve_members

WINDOW = 64
INTERVAL_NS = 1_000_000_000
CHANNELS = tuple(f"channel-{number}" for number in range(8))


def conv_artifact() -> Artifact:
    """Return the artifact, not saved."""
    member = Member("conv", models.resolve("conv", {}, WINDOW, len(CHANNELS)), WINDOW)
    return _artifact([member], CHANNELS, WINDOW)


def ensemble_artifact(num_channels: int) -> Artifact:
    """Return the default ensemble of so many channels, whose verdicts do not wait, not saved."""
    members = resolve_members(ModelOptions(), 1_000_000, num_channels)
    names = tuple(f"channel-{number}" for number in range(num_channels))
    return _artifact(list(members), names, members[0].window)


def _artifact(members: list[Member], channels: tuple[str, ...], window: int) -> Artifact:
    torch.manual_seed(7)
    levels = (Level(),) * (1 if len(channels) == 1 else 2)
    spec = Spec(
        name="bench",
        members=tuple(replace(member, settled=levels, fresh=levels) for member in members),
        channels=tuple(Channel(name, 0.0, 1.0, 3.0) for name in channels),
        interval_ns=INTERVAL_NS,
        stride=1,
        batch_size=ScoringOptions().batch_size,
        max_gap=window // 2,
        scoring=Scoring(),
        threshold=Threshold(1e6, "fixed", "1/week", limit=PageLimit(1.0 / 604_800)),
    )
    return Artifact(spec, build_members(spec.members, len(channels)).eval())


def with_family(artifact: Artifact, family: str) -> Artifact:
    """Return the artifact with a single member of another family, with its defaults."""
    torch.manual_seed(7)
    hyperparameters = models.resolve(family, {}, WINDOW, len(CHANNELS))
    members = (replace(artifact.spec.members[0], family=family, hyperparameters=hyperparameters),)
    module = build_members(members, len(CHANNELS)).eval()
    return replace(artifact, spec=replace(artifact.spec, members=members), module=module)


def with_modes(artifact: Artifact) -> Artifact:
    """Return the artifact with two modes of operation, of which the second always holds."""
    off = Mode("off", (Condition(CHANNELS[0], None, -100.0),), judge=(), settle_rows=8, usual_rows=8)
    on = Mode("on", (Condition(CHANNELS[0], -90.0), Condition(CHANNELS[1], -90.0, 90.0)), settle_rows=8)
    return replace(artifact, spec=replace(artifact.spec, modes=Modes((off, on), passing_rows=8)))


def with_reference(artifact: Artifact) -> Artifact:
    """Return the artifact with a reference of random weights, by which nothing adds up to an alarm."""
    num = len(artifact.spec.channels)

    def each(value: float) -> tuple[float, ...]:
        return (value,) * num

    weights = np.random.default_rng(7).normal(0.0, 0.01, (num_features(num) + 1, num)).tolist()
    reference = Reference(
        weights=tuple(map(tuple, weights)),
        spread=each(1.0),
        baseline=each(0.0),
        allowance=each(0.25),
        unknown=each(0.0),
        threshold=each(1e6),
        influence=(each(0.0),) * num,
        lowest=each(-8.0),
        highest=each(8.0),
    )
    return replace(artifact, spec=replace(artifact.spec, reference=reference))


def with_season(artifact: Artifact) -> Artifact:
    """Return the artifact with a weekly season of every channel, and a usual error, that never alarm."""
    num, week = len(artifact.spec.channels), np.random.default_rng(7).normal(size=(7, 96)).tolist()
    profile = Profile(tuple(range(7)), tuple(map(tuple, week)), ((8.0,) * 96,) * 7, 0.5)
    sums = SumLimits((1e6,) * num, (0.25,) * num, (0.0,) * num, ())
    season = Season(
        calendar=Calendar("Europe/Berlin"),
        slot_seconds=900,
        profiles=(profile,) * num,
        baseline=(0.0,) * num,
        sums=sums,
        usual_error=UsualError((24, 88), (1.5, 1.5)),
    )
    return replace(artifact, spec=replace(artifact.spec, season=season))


def with_drift(artifact: Artifact) -> Artifact:
    """Return the artifact with the slow level of every channel, from which nothing ever departs enough."""
    num = len(artifact.spec.channels)
    limits = SumLimits((1e6,) * num, (0.25,) * num, (0.0,) * num, ())
    drift = Drift(((0.0,) * num,) * QUARTERS, (1.0,) * num, limits)
    return replace(artifact, spec=replace(artifact.spec, drift=drift))
