"""Each series of a history has its own interval and lines; a series of two rates is refused by name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from detector import Detector
from detector.scoring.verdicts import State
from trainer import fit
from trainer.config import DataOptions, TrainConfig
from trainer.errors import TrainerError

SECOND = pd.Timedelta("1s")


def rows_of(num: int, step: pd.Timedelta, start: str = "2026-01-01", seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    index = pd.DatetimeIndex(pd.Timestamp(start, tz="UTC") + np.arange(num) * step, name="timestamp")
    wave = np.sin(np.arange(num) / 7)
    return pd.DataFrame({"a": 10 + wave, "b": 5 + 2 * wave}, index) + rng.normal(0, 0.1, (num, 2))


def trained(frame: pd.DataFrame, seconds: float | None = None) -> Detector:
    config = TrainConfig(data=DataOptions(interval_seconds=seconds))
    return Detector(fit(frame, model="linear", window=16, config=config))


@pytest.mark.parametrize("rates", [(1, 60), (60, 1), (1, 7, 900), (10, 11, 3600)])
def test_a_fault_is_found_in_every_series_whatever_its_rate(rates: tuple[int, ...]) -> None:
    """11 s is less than a tenth from 10 s: both have rows of the same length."""
    history = [
        rows_of(700, rate * SECOND, seed=at).assign(series=f"every {rate}") for at, rate in enumerate(rates)
    ]
    detector = trained(pd.concat(history))
    stream = [
        rows_of(300, rate * SECOND, "2026-03-01", seed=9).assign(series=f"every {rate}") for rate in rates
    ]
    for frame in stream:
        frame.iloc[200:220, 0] += 10.0
    scored = detector.score(pd.concat(stream)).reset_index()
    for frame, rate in zip(stream, rates, strict=True):
        mine = scored[scored["series"] == f"every {rate}"]
        bad = mine[mine["state"] == State.ANOMALOUS.label]["timestamp"]
        inside = bad.between(frame.index[199], frame.index[221])
        assert inside.sum() >= 10, rate
        judged = mine["state"].isin([State.OK.label, State.ANOMALOUS.label])
        assert judged.mean() > 0.85, rate


@pytest.mark.parametrize(("first", "then"), [(1, 60), (60, 1), (10, 3600)])
def test_a_series_of_two_rates_is_refused_by_name_and_trained_at_the_stated_one(
    first: int, then: int
) -> None:
    frame = pd.concat([rows_of(900, first * SECOND), rows_of(900, then * SECOND, "2026-02-01")])
    frame = frame.assign(series="pump-7")
    with pytest.raises(TrainerError, match=r"'pump-7' came at two rates") as refused:
        trained(frame)
    stated = max(first, then)
    assert f"state --interval {stated}s" in str(refused.value)
    scored = trained(frame, stated).score(frame)
    assert (scored["state"] == State.OK.label).sum() > 700


@pytest.mark.parametrize("phase", [0.0, 0.3, 0.5, 0.874, 0.95])
@pytest.mark.parametrize("interval", ["10s", "100ms"])
def test_jitter_loses_no_row_of_the_history_at_any_phase(interval: str, phase: float) -> None:
    step = pd.Timedelta(interval)
    frame = rows_of(600, step)
    jitter = np.random.default_rng(3).integers(-3, 4, len(frame)) * 10**6
    frame.index = frame.index + pd.to_timedelta(jitter, unit="ns") + phase * step
    detector = trained(frame)
    assert detector.artifact.spec.interval_ns == pytest.approx(step.value, rel=0.01)
    assert detector.artifact.spec.training["rows"] == pytest.approx(len(frame), abs=20)
    counts = detector.score(frame)["state"].value_counts()
    assert counts.get(State.GAP.label, 0) <= 2


def test_the_interval_of_series_that_send_one_after_the_other_is_that_within_a_series() -> None:
    parts = [
        rows_of(300, 10 * SECOND, f"2026-01-01 00:00:0{at}", at).assign(series=f"s{at}") for at in range(3)
    ]
    spec = trained(pd.concat(parts).sort_index()).artifact.spec
    assert spec.interval_ns == 10 * 10**9
    assert spec.intervals == {}
