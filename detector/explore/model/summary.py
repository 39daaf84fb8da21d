"""What there is to know about a model, as JSON values: what it learnt, what it promises, its other versions.

It runs in a process of its own (`detector.explore.background`), which loads the model.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from detector.artifact.budget_shares import budget_shares
from detector.artifact.laws import meaning_of
from detector.artifact.modes import Mode
from detector.artifact.season import Profile
from detector.artifact.spec import Artifact, Spec
from detector.calibration.recalibrate import recalibrated
from detector.config.load import load_config
from detector.config.models.budget import with_budget
from detector.config.models.entries import load_for
from detector.errors import ArtifactError, ConfigError
from detector.explore.background.child import Report
from detector.explore.model.reference import detectable, drift_reference
from detector.explore.model.versions import versions_json
from detector.explore.whatif.question import budgets_around
from detector.explore.whatif.replay import model_of
from detector.incidents.shapes.sentence import Wording
from detector.offline.backtest_record import Inputs, inputs_of

_MOST_PROFILES = 24
_MOST_SLOTS = 96


def model_summary(task: dict[str, Any], report: Report) -> dict[str, Any]:
    """Return the model of a backtest or group; see docs/explorer.md for the keys.

    Raises:
        ArtifactError: it is no longer there.
    """
    inputs = inputs_of(task["inputs"])
    artifact = _configured(model_of(inputs.artifact, task["version"]), inputs)
    spec = artifact.spec
    wording = _wording(inputs.config)
    return {
        "model": spec.name,
        "version": artifact.version,
        "place": inputs.artifact,
        "written": None if artifact.written_at is None else artifact.written_at * 1e3,
        "interval": spec.interval_ns / 1e6,
        "delay": spec.scoring.delay,
        "members": [{"family": one.family, "window": one.window} for one in spec.members],
        "threshold": asdict(spec.threshold),
        "shares": asdict(budget_shares(spec)),
        "curve": _curve(artifact),
        "channels": [_channel(spec, at, wording) for at in range(len(spec.channels))],
        "season": _season(spec),
        "modes": None if spec.modes is None else [_mode(one) for one in spec.modes.all],
        "modes_found": spec.modes is not None and spec.modes.found,
        "drift_reference": drift_reference(spec),
        "detectable": detectable(spec),
        "own_scales": len(spec.own_scales),
        "card": artifact.card,
        "versions": versions_json(inputs.artifact, artifact.version),
    }


def _configured(artifact: Artifact, inputs: Inputs) -> Artifact:
    """Return the model with the alarm budget of its configuration, where that can still be read."""
    try:
        config = None if inputs.config is None else load_for(Path(inputs.config), inputs.artifact)
        return artifact if config is None else with_budget(artifact, config.model)
    except (ConfigError, ArtifactError):
        return artifact


def _wording(config: str | None) -> Wording:
    """Return the units of the channels; there are none where the configuration is no longer there."""
    try:
        return Wording() if config is None else Wording(load_config(Path(config)).units)
    except ConfigError:
        return Wording()


def _curve(artifact: Artifact) -> list[dict[str, Any]]:
    """Return the threshold for each of several budgets; empty where the model keeps no held-out errors."""
    try:
        budgets = budgets_around(artifact.spec.threshold.alarm_budget)
        found = [(one, recalibrated(artifact, one).spec.threshold.value) for one in budgets]
    except (ArtifactError, ValueError):
        return []
    return [{"alarm_budget": budget, "threshold": value} for budget, value in found]


def _channel(spec: Spec, at: int, wording: Wording) -> dict[str, Any]:
    """Return what training learnt about a channel, in its own unit."""
    channel = spec.channels[at]
    reference, drift = spec.reference, spec.drift
    return {
        "name": channel.name,
        "law": channel.law,
        "law_means": meaning_of(channel.law),
        "unit": wording.unit_of(channel.name).strip(),
        "center": channel.center,
        "scale": channel.scale,
        "band": channel.band,
        "stuck_after": channel.flatline_rows or None,
        "missing_after": channel.missing_rows or None,
        "adds_up": reference is not None and reference.threshold[at] > 0,
        "drift_unit": None if drift is None else drift.unit[at] * channel.scale,
    }


def _season(spec: Spec) -> dict[str, Any] | None:
    """Return the profiles of channels that have one, in their own units."""
    season = spec.season
    if season is None or not any(one.level for one in season.profiles):
        return None
    pairs = zip(spec.channels, season.profiles, strict=True)
    shown = [(channel, profile) for channel, profile in pairs if profile.level][:_MOST_PROFILES]
    return {
        "zone": season.calendar.zone,
        "special_days": len(season.calendar.days),
        "profiles": [
            {"channel": channel.name} | _profile(profile, channel.center, channel.scale)
            for channel, profile in shown
        ],
    }


def _profile(profile: Profile, center: float, scale: float) -> dict[str, Any]:
    level, spread = np.array(profile.level), np.array(profile.spread)
    step = -(-level.shape[1] // _MOST_SLOTS)
    return {
        "period": profile.period,
        "explains": profile.explains,
        "curve_of": list(profile.curve_of),
        "level": (level[:, ::step] * scale + center).tolist(),
        "spread": (spread[:, ::step] * scale).tolist(),
    }


def _mode(mode: Mode) -> dict[str, Any]:
    conditions = [{"channel": one.channel, "low": one.low, "high": one.high} for one in mode.conditions]
    names = ("name", "share", "passages", "usual_rows", "settle_rows", "fresh", "steady")
    return {name: getattr(mode, name) for name in names} | {
        "conditions": conditions,
        "judge": list(mode.judge),
    }
