"""Channels that are empty, partly or wholly, or that stand still: training goes on, and judges them."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detector.artifact.spec import Artifact
from detector.engine.engine import Engine
from detector.offline.backtest import replay
from detector.offline.frames import FrameSource, chunk_of_frame
from trainer import fit, pipeline
from trainer.config import CalendarOptions, DataOptions, FitOptions, ModelOptions, TrainConfig

KINDS = (
    "plain",
    "wave",
    "empty",
    "empty at night",
    "empty at the weekend",
    "empty but for one value",
    "constant",
    "constant but for one value",
    "absent in one series",
    "constant and empty at night",
)
"""What a channel of a history may be."""


def channel(
    kind: str, at: NDArray[np.int64], number: int, series: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the values of one channel at these seconds, float64 [n]."""
    hour, weekday = at % 86_400 / 3600, (at // 86_400 + 3) % 7
    values = rng.normal(size=len(at)) + 10.0 * number + 3.0 * series
    if kind == "wave":
        values += 4.0 * np.sin(2 * np.pi * hour / 24)
    if kind.startswith("constant"):
        values[:] = 7.0
    if kind == "constant but for one value":
        values[len(at) // 3] = 9.0
    if kind.endswith("at night"):
        values[hour < 9] = np.nan
    if kind == "empty at the weekend":
        values[weekday >= 5] = np.nan
    if kind == "empty" or (kind == "absent in one series" and series == 0):
        values[:] = np.nan
    if kind == "empty but for one value":
        values[:] = np.nan
        values[len(at) // 2] = 1.0
    return values


def frame_of(kinds: tuple[str, ...], days: tuple[float, ...], sampling: int, seed: int) -> pd.DataFrame:
    """Return the rows of series of these lengths; the first channel is always plain."""
    rng = np.random.default_rng(seed)
    frames = []
    for series, length in enumerate(days):
        at = 1_767_571_200 + np.arange(max(2, round(length * 86_400 / sampling))) * sampling
        columns = {
            f"c{number}": channel(kind, at, number, series, rng)
            for number, kind in enumerate(("plain", *kinds))
        }
        times = pd.DatetimeIndex((at * 10**9).view("M8[ns]")).tz_localize("UTC").rename("timestamp")
        frames.append(pd.DataFrame(columns, times).assign(series=f"s{series}"))
    return pd.concat(frames)


def trained(frame: pd.DataFrame, sampling: int, window: int) -> Artifact:
    config = TrainConfig(
        model=ModelOptions(family="linear", window=window),
        data=DataOptions(interval_seconds=sampling),
        fit=FitOptions(refit=False),
        calendar=CalendarOptions(zone="America/New_York"),
    )
    return fit(frame, config=config)


def numbers(value: Any) -> list[float]:
    """Return every number in plain values."""
    if isinstance(value, dict):
        return [one for part in value.values() for one in numbers(part)]
    if isinstance(value, list | tuple):
        return [one for part in value for one in numbers(part)]
    return [float(value)] if isinstance(value, float | int) else []


def assert_finite_and_judges(artifact: Artifact, frame: pd.DataFrame) -> None:
    spec = artifact.spec
    for part in (spec.reference, spec.season, spec.drift, spec.threshold):
        if part is not None:
            assert all(math.isfinite(one) for one in numbers(asdict(part)))
    live = frame.copy()
    live.index = live.index + pd.Timedelta(days=70)
    chunk = chunk_of_frame(live, spec.channel_names)
    found = replay(FrameSource(chunk), Engine(artifact))
    assert len(found.verdicts) > 0


@pytest.fixture(autouse=True)
def _no_self_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the table of detectable faults, which takes most of the time."""
    monkeypatch.setattr(pipeline, "sensed", lambda artifact, *_: artifact)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3).map(tuple),
    days=st.sampled_from([(8.0,), (23.0,), (9.0, 2.5), (6.0, 0.2, 22.0)]),
    seed=st.integers(0, 99),
)
def test_sparse_channels_train_and_judge(kinds: tuple[str, ...], days: tuple[float, ...], seed: int) -> None:
    frame = frame_of(kinds, days, 3600, seed)
    assert_finite_and_judges(trained(frame, 3600, 8), frame)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_channel_trains_and_judges(kind: str) -> None:
    frame = frame_of((kind,), (22.0, 5.0), 3600, 1)
    assert_finite_and_judges(trained(frame, 3600, 8), frame)


def test_one_row_a_day_trains_and_judges() -> None:
    frame = frame_of(("wave", "constant"), (200.0, 90.0), 86_400, 2)
    assert_finite_and_judges(trained(frame, 86_400, 8), frame)
