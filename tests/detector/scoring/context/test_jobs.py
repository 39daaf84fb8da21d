"""A job that must come: its absence is told once, and any cut gives the same bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.artifact.season import Calendar, Job, Season
from detector.artifact.spec import Spec
from detector.scoring.context.spoken import ScaledRows, Spoken
from detector.scoring.recurring.jobs import JobEvidence
from tests.support.artifacts import make_artifact

MINUTE, DAY = 60 * 10**9, 1440
MONDAY = 1_767_571_200 // 60
SLOT, LIMIT = 12, 2.0
TOLD = range(SLOT * 15 + 30, SLOT * 15 + 45)
"""The minutes of a Monday at which an absence is told."""


def spec() -> Spec:
    made = make_artifact(interval_ns=MINUTE).spec
    jobs = (Job("m", 0, SLOT, 1, LIMIT), Job("n", 0, SLOT + 40, 0, LIMIT))
    return replace(made, season=Season(Calendar(), 900, jobs=jobs))


def series(days: int, comes: bool, at: int = SLOT * 15) -> np.ndarray:
    """Return rows of a minute of some days, whose job of ten minutes starts at a minute of each Monday."""
    values = 0.1 * np.random.default_rng(1).normal(size=(days * DAY, len(spec().channels)))
    if comes:
        for day in range(0, days, 7):
            values[day * DAY + at : day * DAY + at + 10, 1] += 3.0
    return values.astype(np.float32)


def told(
    values: np.ndarray, edges: tuple[int, ...] = (), calendar: Calendar | None = None, name: str = "m"
) -> list[Spoken]:
    model = spec()
    assert model.season is not None
    found = JobEvidence(model.season, model)
    if calendar is not None:
        found.use_calendar(calendar)
    found.name(np.array([0, 1], np.int32), [name, "unknown"])
    minutes, said = MONDAY + np.arange(len(values)), []
    for rows in np.split(np.arange(len(values)), sorted(edges)):
        both = np.concatenate([rows, rows])
        slot = np.repeat(np.array([0, 1], np.int32), len(rows))
        quiet = np.zeros(len(both), np.bool_)
        said.append(found.add(ScaledRows(slot, minutes[both], minutes[both] * MINUTE, values[both], quiet)))
    return said


def minutes_told(said: Spoken) -> list[int]:
    assert not said.paged[len(said.paged) // 2 :].any()  # a series that the history lacks has no job
    return np.flatnonzero(said.paged).tolist()


def test_an_absence_is_told_after_its_slots_with_the_channel_to_blame() -> None:
    [said] = told(series(8, False))
    assert minutes_told(said) == [*TOLD, *(7 * DAY + at for at in TOLD)]
    assert said.blame is not None
    assert (said.blame[said.paged] == np.eye(len(spec().channels))[1]).all()
    assert np.isnan(said.blame[~said.paged]).all()
    assert (said.cumulative[said.paged] > 1.0).all()


@pytest.mark.parametrize("minute", [SLOT * 15 - 15, SLOT * 15 - 4, SLOT * 15, SLOT * 15 + 25])
def test_a_job_that_comes_early_or_late_is_no_absence(minute: int) -> None:
    [said] = told(series(8, True, minute))
    assert minutes_told(said) == []


def test_nothing_is_told_on_muted_days_of_unknown_rows_and_of_other_series() -> None:
    assert minutes_told(told(series(1, False), (), Calendar("UTC", {"2026-01-05": -1}))[0]) == []
    assert minutes_told(told(series(1, False), (), None, "other")[0]) == []
    holes = series(1, False)
    holes[SLOT * 15 : SLOT * 15 + 6, 1] = np.nan
    assert minutes_told(told(holes)[0]) == []
    holes[SLOT * 15 : SLOT * 15 + 3, 1] = 0.0
    assert minutes_told(told(holes)[0]) == [*TOLD]


@given(st.lists(st.integers(1, 8 * DAY - 1), max_size=12), st.booleans())
@settings(max_examples=25, deadline=None)
def test_the_cut_changes_no_bit(edges: list[int], comes: bool) -> None:
    values = series(8, comes)
    [whole] = told(values)
    near = [at + DAY * 7 for at in (TOLD.start - 20, TOLD.start + 3)]
    cut = told(values, (*edges, *near))
    for name in ("paged", "cumulative", "blame"):
        parts = [np.split(getattr(one, name), 2) for one in cut]
        joined = np.concatenate([*(first for first, _ in parts), *(second for _, second in parts)])
        np.testing.assert_array_equal(getattr(whole, name), joined)
