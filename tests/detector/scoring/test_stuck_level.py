"""Runs of equal values that end by themselves: a channel is then only stuck when it stands still longer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from detector.artifact.spec import PageLimit
from detector.engine.engine import Engine
from detector.scoring.verdicts import State
from tests.support.artifacts import make_artifact
from tests.support.strategies import readings_of

LIMIT = PageLimit(alarms_a_row=1e-4, rise=1.5)
FLATLINE = 12


def stuck_rows(runs: list[tuple[int, int]], num: int, limit: PageLimit | None, cut: int) -> np.ndarray:
    """Which rows of a series of noise are stuck, where a channel stands still in `runs` (start, rows)."""
    values = np.random.default_rng(len(runs)).standard_normal((num, 2))
    for start, rows in runs:
        values[start : start + rows, 1] = values[start, 1]
    engine = Engine(make_artifact(threshold=1e6, flatline_rows=FLATLINE, limit=limit))
    bounds = [0, *range(cut, num, cut), num]
    zeros = np.zeros(num, np.int64)
    results = [
        engine.step(readings_of(zeros[a:b], np.arange(a, b) * 10**9, values[a:b]))
        for a, b in itertools.pairwise(bounds)
    ]
    results.append(engine.flush())
    return np.concatenate([result.verdicts.state for result in results]) == State.FLATLINE


@pytest.mark.parametrize("rows", [13, 15])
def test_short_runs_that_come_again_are_no_longer_stuck(rows: int) -> None:
    runs = [(at, rows) for at in range(50, 1_400, 60)]
    free, limited = (stuck_rows(runs, 1_500, limit, 1_500) for limit in (None, LIMIT))
    assert sum(free[at : at + rows].any() for at, _ in runs) == len(runs)
    assert limited[50 : 50 + rows].any()
    assert sum(limited[at : at + rows].any() for at, _ in runs) <= 3
    np.testing.assert_array_equal(stuck_rows(runs, 1_500, LIMIT, 37), limited)


@pytest.mark.parametrize("rows", [100, 400])
def test_a_channel_that_stays_stuck_is_so_until_it_moves_and_the_next_time_too(rows: int) -> None:
    runs = [(100, rows), (700, rows)]
    limited = stuck_rows(runs, 1_300, LIMIT, 1_300)
    for at, _ in runs:
        assert limited[at + FLATLINE + 8 : at + rows].all()
        assert not limited[at + rows : at + rows + 20].any()


def test_a_short_run_hides_no_long_one() -> None:
    limited = stuck_rows([(50, 13), (120, 13), (200, 200)], 500, LIMIT, 500)
    assert limited[240:400].all()
