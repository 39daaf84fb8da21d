"""The machines of the schedules: they start, slow down and stop, and their pressure follows the hour.

Letters: n rows.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from detector.artifact.spec import Artifact, PageLimit
from trainer import fit
from trainer.config import DataOptions, FitOptions, ModelOptions, ModeOptions, ScoringOptions, TrainConfig

CHANNELS = ("speed", "flow", "pressure")
STEP = 600
"""Seconds from one row to the next."""
START = 1_699_999_800
"""The second of the first row of every stream: 2023-11-14, 22:10. The history ends there."""
_RUN, _LEVELS, _RAMP, _SLOW_RAMP, _SLOW_SHARE = 1_500.0, (0.0, 0.4, 1.0), (2, 4), 14, 0.15
_STAY = 20, 50
_WRONG_SHARE, _WRONG_ROWS = 0.15, 48
_WORN_SHARE, _WORN_A_ROW = 0.3, 0.03
_MEAN_HOUR = 1
"""Pressure is at its mean then: a wrong hour that begins there has no jump."""
_MEAN_ROW = 17
"""The first row of a stream after that hour."""
_HISTORY_ROWS, _HISTORY_MACHINES = 28 * 144, 2
_MACHINES = 200
_SUMS = {
    "threshold": (0.0, 0.0, 12.0),
    "allowance": (1.0, 1.0, 1.0),
    "unknown": (0.0, 0.0, 0.25),
    "proof_rows": 6,
}
"""Departures of the pressure from its season become evidence in few rows, as a stream has not many."""
_DRIFT = {"threshold": (0.0, 0.0, 3.0), "proof_rows": 1}
"""Likewise for its blocks."""
_FOLLOWING = PageLimit(alarms_a_row=0.003)
_MODES = (
    ModeOptions(name="off", when={"speed": (None, 30.0)}, judge=()),
    ModeOptions(name="slow", when={"speed": (500.0, 700.0)}, judge=("pressure",)),
    ModeOptions(name="running", when={"speed": (1_300.0, None)}),
)


def machine(rng: np.random.Generator, num_rows: int, start: int, has_faults: bool) -> NDArray[np.float64]:
    """Return rows of one machine from a second on, float64 [n, 3].

    With faults, some of its starts are slow, the hour of some machines is wrong for a while, and the pressure
    of some rises slowly.
    """
    level = np.zeros(num_rows)
    at, now = 0, float(rng.choice(_LEVELS))
    while at < num_rows:
        stay = int(rng.integers(*_STAY))
        level[at : at + stay] = now
        at += stay
        then = float(rng.choice([one for one in _LEVELS if one != now]))
        is_slow = has_faults and then > now and rng.random() < _SLOW_SHARE
        ramp = _SLOW_RAMP if is_slow else int(rng.integers(*_RAMP, endpoint=True))
        between = now + (then - now) * np.linspace(0.15, 0.85, ramp)
        level[at : at + ramp] = between[: max(0, num_rows - at)]
        at, now = at + ramp, then
    hour = (start + np.arange(num_rows) * STEP) % 86_400 / 3_600
    first = _MEAN_ROW + int(rng.integers(-2, 3))
    if has_faults and rng.random() < _WRONG_SHARE:
        hour[first : first + _WRONG_ROWS] += 12
    noise = rng.normal(size=(num_rows, 3))
    speed = level * (_RUN + 5 * noise[:, 0])
    flow = 4 * level * (1 + 0.03 * noise[:, 0]) + 0.1 * noise[:, 1]
    pressure = 3 * np.sin(2 * np.pi * (hour - _MEAN_HOUR) / 24) + 0.3 * noise[:, 2]
    if has_faults and rng.random() < _WORN_SHARE:
        pressure += _WORN_A_ROW * np.arange(num_rows)
    return np.stack([speed, flow, pressure], axis=1)


@cache
def _history() -> pd.DataFrame:
    frames = []
    first = START - _HISTORY_ROWS * STEP
    times = pd.to_datetime(first + np.arange(_HISTORY_ROWS) * STEP, unit="s", utc=True)
    for number in range(_HISTORY_MACHINES):
        values = machine(np.random.default_rng([9, number]), _HISTORY_ROWS, first, has_faults=False)
        frame = pd.DataFrame(values, times.rename("timestamp"), list(CHANNELS))
        frames.append(frame.assign(series=f"pump-{number}"))
    return pd.concat(frames)


@cache
def _trained(is_odd: bool) -> Artifact:
    """Return a model with modes, season and drift whose thresholds follow, maybe a delay and two windows."""
    model = (
        ModelOptions(family="ensemble", members=("linear:8", "linear:4"), window=8)
        if is_odd
        else ModelOptions(family="linear", window=16)
    )
    config = TrainConfig(
        model=model,
        data=DataOptions(interval_seconds=STEP, max_gap=3),
        fit=FitOptions(refit=False),
        scoring=ScoringOptions(delay=3 if is_odd else 0, alarm_budget="1/day"),
        modes=_MODES,
    )
    artifact = fit(_history(), config=config)
    spec = artifact.spec
    channels = tuple(replace(one, flatline_rows=6 if is_odd else 0) for one in spec.channels)
    threshold = replace(spec.threshold, limit=_FOLLOWING)
    assert spec.season is not None
    assert spec.season.sums is not None
    assert spec.drift is not None
    season = replace(spec.season, sums=replace(spec.season.sums, **_SUMS))
    level = spec.drift.levels["pump-0"]
    levels = {f"pump-{number}": level for number in range(_MACHINES)}  # else each learns its own, for a week
    drift = replace(spec.drift, limits=replace(spec.drift.limits, **_DRIFT), levels=levels)
    spec = replace(spec, name="pump", channels=channels, threshold=threshold, season=season, drift=drift)
    return replace(artifact, spec=spec)


def artifact_of(seed: int) -> Artifact:
    """Return the model of a schedule; every other seed has a delay and a second window."""
    return _trained(bool(seed % 2))
