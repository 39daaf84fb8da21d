"""The season of whole histories: high levels are levels, and many series have one too."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from detector.artifact.season import Calendar
from detector.calibration.evidence_limits import with_evidence_limits
from tests.support.artifacts import make_artifact
from trainer.context.fit_season import fit_season
from trainer.data.history import History, Segment
from trainer.data.series_rate import Rate

INTERVAL = 1200 * 10**9
A_DAY = 72
MONDAY = 4 * A_DAY


@contextmanager
def history_of(values: NDArray[np.float64]) -> Iterator[History]:
    """The rows of several series from a Monday on, float64 [series, n, C]."""
    num, length, width = values.shape
    segments = tuple(Segment(f"s{at}", MONDAY, at * length, length) for at in range(num))
    with tempfile.TemporaryFile() as file:
        file.write(values.tobytes())
        file.flush()
        yield History(file, tuple(f"c{at}" for at in range(width)), Rate(INTERVAL), segments, "")


@pytest.mark.parametrize("level", [5.0, 12.0, 50.0, 400.0])
def test_a_level_far_out_that_recurs_is_the_level_of_its_time(level: float) -> None:
    spec = make_artifact(("c0",), interval_ns=INTERVAL).spec
    rng = np.random.default_rng(1)
    row = np.arange(21 * A_DAY)
    is_on = (row % A_DAY >= 24) & (row % A_DAY < 42)
    with history_of((rng.normal(size=len(row)) + level * is_on)[None, :, None]) as history:
        season, _ = fit_season(spec, history, Calendar())
    assert season is not None
    assert season.sums is not None
    curve = np.array(season.profiles[0].level[0])
    assert np.ptp(curve) == pytest.approx(level, abs=2.5)
    limited = with_evidence_limits(replace(spec, season=season), "1/week").season
    assert limited is not None
    assert limited.sums is not None
    assert 0.0 < limited.sums.threshold[0] < 60.0


@pytest.mark.parametrize("size", [8.0, 100.0, 900.0])
def test_a_faulty_day_hides_no_season(size: float) -> None:
    spec = make_artifact(("c0",), interval_ns=INTERVAL).spec
    row = np.arange(14 * A_DAY)
    wave = 2.0 * np.sin(2 * np.pi * row / A_DAY)
    values = wave + 0.3 * np.random.default_rng(2).normal(size=len(row))
    values[6 * A_DAY : 7 * A_DAY] = size
    with history_of(values[None, :, None]) as history:
        season, _ = fit_season(spec, history, Calendar())
    assert season is not None
    assert np.ptp(season.profiles[0].level[0]) == pytest.approx(4.0, abs=0.6)
    assert max(season.profiles[0].spread[0]) < 1.0
