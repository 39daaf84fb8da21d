"""The season of whole histories: high levels are levels, and many series have one too."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from detector.artifact.season import Calendar
from detector.calibration.evidence_limits import with_evidence_limits
from tests.support.artifacts import make_artifact
from trainer.context import slot_means as by_slots
from trainer.context.fit_season import fit_season
from trainer.data.history import History, Segment
from trainer.data.series_rate import Rate
from trainer.fitting.newest_rows import NewestRows
from trainer.season_card import clock_section

INTERVAL = 1200 * 10**9
A_DAY = 72
MONDAY = 4 * A_DAY


@contextmanager
def history_of(values: NDArray[np.float64], interval_ns: int = INTERVAL) -> Iterator[History]:
    """The rows of several series from a Monday on, float64 [series, n, C]."""
    num, length, width = values.shape
    monday = 4 * 86_400 * 10**9 // interval_ns
    segments = tuple(Segment(f"s{at}", monday, at * length, length) for at in range(num))
    with tempfile.TemporaryFile() as file:
        file.write(values.tobytes())
        file.flush()
        yield History(file, tuple(f"c{at}" for at in range(width)), Rate(interval_ns), segments, "")


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


@pytest.mark.parametrize(("num", "days"), [(30, 40), (9, 40), (1, 90)])
def test_a_history_above_the_limit_has_a_season_and_all_baselines(
    num: int, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_slots, "_MOST_CELLS", 80 * 72 * 2)
    spec = make_artifact(("c0", "c1"), interval_ns=INTERVAL).spec
    rng = np.random.default_rng(num)
    level = rng.normal(0.0, 20.0, (num, 1, 2))
    wave = 2.0 * np.sin(2 * np.pi * np.arange(days * A_DAY) / A_DAY)[None, :, None]
    values = level + wave + 0.3 * rng.normal(size=(num, days * A_DAY, 2))
    with history_of(values) as history:
        means = by_slots.slot_means(spec, history, Calendar(), 1200)
        season, _ = fit_season(spec, history, Calendar())
    assert 28 <= len(means.day) <= 80
    assert season is not None
    assert [one.period for one in season.profiles] == ["day", "day"]
    assert list(season.baselines) == [f"s{at}" for at in range(num)]
    assert np.allclose(list(season.baselines.values()), level[:, 0], atol=0.5)


@pytest.mark.parametrize("most", [1, 7, 20, 100])
@pytest.mark.parametrize("seed", range(3))
def test_the_newest_rows_are_kept(most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(num, 2)) for num in rng.integers(1, 15, 30)]
    newest = NewestRows(most)
    for part in parts:
        newest.add(part)
    assert np.array_equal(newest.rows(), np.concatenate(parts)[-most:])
    assert newest._num < most + 15


@pytest.mark.parametrize(
    ("days", "outcome", "words"),
    [
        (3, "short", ("needs 4 whole days", "for weekdays 3 weeks")),
        (6, "days", ("too short for weekdays of their own", "The history has no Sun:")),
        (10, "days", ("too short for weekdays of their own",)),
        (21, "found", ("| c0 | day |",)),
    ],
)
def test_the_card_states_what_a_history_is_too_short_for(
    days: int, outcome: str, words: tuple[str, ...]
) -> None:
    spec = make_artifact(("c0",), interval_ns=INTERVAL).spec
    row = np.arange(days * A_DAY)
    values = 2.0 * np.sin(2 * np.pi * row / A_DAY) + 0.3 * np.random.default_rng(2).normal(size=len(row))
    with history_of(values[None, :, None]) as history:
        season, found = fit_season(spec, history, Calendar())
    card = clock_section(replace(spec, season=season, training={"season": found}))
    assert found == outcome
    assert all(one in card for one in words), card
    assert ("too short" in card) == (days < 21)
    assert ("The history has no" in card) == (days == 6)


def test_rows_of_seconds_have_the_limits_of_minutes() -> None:
    """A channel that wanders for minutes does so whatever its sampling."""
    a_minute, days = 6, 8
    num = days * 1440 * a_minute
    keep = 0.5 ** (1 / (30 * a_minute))
    steps = np.sqrt(1 - keep**2) * np.random.default_rng(3).normal(size=num)
    wander = lfilter([1.0], [1.0, -keep], steps)
    wave = 3.0 * np.sin(2 * np.pi * np.arange(num) / (1440 * a_minute))
    fine = (wave + wander)[None, :, None]
    limits = []
    for values, interval_ns in ((fine, 10 * 10**9), (fine[:, ::a_minute], 60 * 10**9)):
        spec = make_artifact(("c0",), interval_ns=interval_ns).spec
        with history_of(values, interval_ns) as history:
            season, _ = fit_season(spec, history, Calendar())
        limited = with_evidence_limits(replace(spec, season=season), "1/week").season
        assert limited is not None
        assert limited.sums is not None
        limits.append((limited.sums.allowance[0], limited.sums.threshold[0] * interval_ns / 60e9))
    assert limits[0] == pytest.approx(limits[1], rel=0.15)
