"""Wear is found although the history holds a fault, and a week as ever is none."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from detector.artifact.drift import check_drift, drift_from, drift_section
from detector.calibration.evidence_limits import with_evidence_limits
from detector.scoring.context.drift import DriftEvidence
from detector.scoring.context.spoken import ScaledRows
from tests.support.artifacts import make_artifact
from trainer.context.fit_drift import fit_drift
from trainer.data.history import Segment

INTERVAL_NS = 3_600 * 10**9
DAY = 24


class Values:
    """A history of one series in memory."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self._values = values
        self.segments = (Segment("a", 0, 0, len(values)),)

    def read(self, start: int, stop: int) -> NDArray[np.float64]:
        return self._values[start:stop]


@pytest.mark.parametrize("budget", ["1/day", "1/week", "1/year"])
def test_thresholds_follow_the_budget(budget: str) -> None:
    values = np.cumsum(np.random.default_rng(0).normal(0, 0.1, 60 * DAY))[:, None]
    spec = make_artifact(("x",), interval_ns=INTERVAL_NS).spec
    asked = replace(spec, threshold=replace(spec.threshold, alarm_budget=budget))
    trained, other = fit_drift(asked, Values(values)), fit_drift(spec, Values(values))
    assert trained is not None
    assert other is not None
    found = with_evidence_limits(replace(spec, drift=other), budget).drift
    assert found is not None
    assert found.limits.threshold == pytest.approx(trained.limits.threshold)
    old = replace(other, limits=replace(other.limits, tails=((0.0,),) * 5))
    assert with_evidence_limits(replace(spec, drift=old), budget).drift == old


def paged_of(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows page, of a model whose history is the first 60 days."""
    spec = make_artifact(("x",), interval_ns=INTERVAL_NS).spec
    drift = fit_drift(spec, Values(values[: 60 * DAY, None]))
    assert drift is not None
    evidence = DriftEvidence(drift, spec)
    evidence.name(np.array([0], np.int32), ["a"])
    hours = np.arange(len(values))
    nothing = np.zeros(len(values), np.int32)
    rows = ScaledRows(
        nothing, hours, hours * INTERVAL_NS, values[:, None].astype(np.float32), nothing.astype(np.bool_)
    )
    return evidence.add(rows).paged


@pytest.mark.parametrize("days", [1, 2, 3])
@pytest.mark.parametrize("size", [0.0, 3.0, -5.0, 20.0])
@pytest.mark.parametrize("slow", [0.0, 1.5])
def test_a_fault_in_the_history_does_not_hide_wear(size: float, days: int, slow: float) -> None:
    rng = np.random.default_rng(days)
    hours = np.arange(120 * DAY)
    values = rng.normal(0, 0.5, len(hours)) + slow * np.sin(hours / DAY * 2 * np.pi)
    values[10 * DAY : (10 + days) * DAY] += size
    values[60 * DAY :] += 0.1 * (hours[60 * DAY :] - 60 * DAY) / DAY
    paged = paged_of(values)
    found = np.flatnonzero(paged[60 * DAY :])[0] / DAY
    assert 0.25 <= found <= 9.0
    assert not paged[: 60 * DAY].any() or size


@pytest.mark.parametrize("noise", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("step", [1.0, 4.0])
def test_a_week_as_ever_is_no_wear(noise: float, step: float) -> None:
    hours = np.arange(120 * DAY)
    values = np.random.default_rng(1).normal(0, noise, len(hours)) + step * (hours // DAY % 7 < 5)
    assert not paged_of(values).any()


@pytest.mark.parametrize("days", [0, 2, 6])
def test_a_channel_that_a_series_hardly_sent_is_not_watched(days: int) -> None:
    values = np.random.default_rng(2).normal(0, 1, (80 * DAY, 2))
    values[:, 1] += 3.0
    values[: (60 - days) * DAY, 1] = np.nan
    spec = make_artifact(("x", "y"), interval_ns=INTERVAL_NS).spec
    drift = fit_drift(spec, Values(values[: 60 * DAY]))
    assert drift is not None
    assert drift.levels["a"][1] is None
    raw = json.loads(json.dumps(asdict(drift)))
    check_drift(raw, 2)
    assert drift_from(raw) == drift
    assert "Not in y" in drift_section(drift, ("x", "y"))
    evidence = DriftEvidence(drift, spec)
    evidence.name(np.array([0], np.int32), ["a"])
    hours, nothing = np.arange(80 * DAY), np.zeros(80 * DAY, np.int32)
    scaled = values.astype(np.float32)
    rows = ScaledRows(nothing, hours, hours * INTERVAL_NS, scaled, nothing.astype(np.bool_))
    assert not evidence.add(rows).paged.any()
