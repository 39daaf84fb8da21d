"""Rows by slots where there are too many to score: what recurs is chosen, and the rest evenly."""

from __future__ import annotations

import numpy as np
import pytest

from detector.artifact.season import Calendar
from detector.artifact.spec import Artifact
from detector.scoring.context.profile import WeekClock
from tests.trainer.context.test_fit_season import A_DAY, INTERVAL, MONDAY, history_of
from tests.trust.seasonal import Plant, fitted_plant
from trainer import pipeline
from trainer.context import fit_usual_error, slot_runs
from trainer.context.slot_runs import chosen_runs, runs_of

SLOT = 3 * INTERVAL // 10**9
CLOCK = WeekClock(Calendar("America/New_York"), SLOT)
"""Three rows a slot, 24 slots a day; Monday is 2026-01-05 or earlier, so no clocks change."""


@pytest.mark.parametrize("block", [1, 7, 72, 1 << 14])
@pytest.mark.parametrize("seed", range(3))
def test_runs_are_the_rows_of_each_slot_in_order(
    block: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_runs, "_BLOCK", block)
    rng = np.random.default_rng(seed)
    length = int(rng.integers(5, 300))
    with history_of(np.zeros((1, 400, 1))) as history:
        whole = history.segments[0]
        cut = int(rng.integers(1, length))
        parts = [whole.cut(0, cut), whole.cut(cut + 9, cut + 9 + length)]
        segments = tuple(one for one in parts if one is not None)
        runs = runs_of(history, segments, CLOCK)
    rows = np.concatenate([one.row + np.arange(one.length) for one in runs.segments])
    asked = np.concatenate([one.row + np.arange(one.length) for one in segments])
    assert np.array_equal(rows, asked)
    day, slot = CLOCK.slots(asked * INTERVAL)
    lengths = [one.length for one in runs.segments]
    assert np.array_equal(np.repeat(runs.day, lengths), day)
    assert np.array_equal(np.repeat(runs.slot, lengths), slot)
    keys = list(zip(runs.day.tolist(), runs.slot.tolist(), strict=True))
    assert len(keys) - len(set(keys)) <= 1  # a gap may lie within a slot


@pytest.mark.parametrize("period", ["day", "week"])
@pytest.mark.parametrize("seed", range(3))
def test_what_recurs_is_chosen_and_the_rest_evenly(period: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    days, most = 35, 35 * A_DAY // 6
    values = rng.normal(size=(1, days * A_DAY, 2))
    values[0, rng.integers(0, days * A_DAY)] = 50.0  # one fault is none
    row = MONDAY + np.arange(days * A_DAY)
    day, slot = CLOCK.slots(row * INTERVAL)
    at = int(rng.integers(0, 24))
    is_job = (slot == at) & ((period == "day") | (CLOCK.weekdays(day) == int(rng.integers(0, 7))))
    values[0, is_job] += np.arange(is_job.sum())[:, None] % 3 * 12.0
    with history_of(values) as history:
        segments, even = chosen_runs(history, history.segments, CLOCK, most)
    chosen = np.concatenate([one.row + np.arange(one.length) for one in segments])
    jobs = np.unique(day[is_job])
    kept = jobs[-12:] if period == "day" else jobs[-5:]
    assert set(row[is_job & np.isin(day, kept)]) <= set(chosen.tolist())
    assert len(chosen) == len(set(chosen.tolist())) <= most + 3
    counts = np.bincount([one for _, one in even], minlength=24)
    assert counts.sum() >= 0.3 * most / 3
    spans = np.diff(sorted(one * 24 + other for one, other in even))
    assert spans.max() <= 2 * spans.min() + 1


def test_a_weekly_job_is_expected_whether_all_rows_are_scored_or_a_fifth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "sensed", lambda artifact, *_: artifact)
    plant = Plant(0, zone="Europe/Berlin", sampling=300, days=37, job=True, noise=0.25)
    job = 2 * 96 + 3 * 4
    of_all = factors_of(fitted_plant(plant))
    monkeypatch.setattr(fit_usual_error, "_MOST_ROWS", 37 * 288 // 5)
    of_some = factors_of(fitted_plant(plant))
    assert of_some[job] == pytest.approx(of_all[job], rel=0.3)
    assert len(of_some.keys() - of_all.keys()) <= 2
    other_days = {day * 96 + 3 * 4 for day in (0, 1, 3, 4, 5, 6)}
    assert not other_days & of_some.keys()


def factors_of(artifact: Artifact) -> dict[int, float]:
    """Return the factor of each slot of the week at which errors are usual."""
    assert artifact.spec.season is not None
    usual = artifact.spec.season.usual_error
    return dict(zip(usual.slots, usual.factors, strict=True))
