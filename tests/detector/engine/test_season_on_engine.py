"""The season in the engine: any cut, snapshots and replay give the same bits; switches and special days."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from connectors.records import Readings
from detector.artifact.season import Calendar, Job, Profile, Season, UsualError
from detector.artifact.spec import Artifact
from detector.artifact.sum_limits import SumLimits
from detector.engine.engine import Engine, EngineOptions
from detector.engine.snapshot import decode_state, encode_state
from detector.incidents.rules import IncidentRules
from detector.scoring.kinds import Kind
from detector.scoring.verdicts import Verdicts
from tests.support.artifacts import make_artifact

ROWS, FIRST, LAST = 400, 200, 300
MONDAY_NS = 1_767_571_200 * 10**9
JOBS = tuple(Job("a", weekday, slot, 1, 1e3) for weekday in range(7) for slot in (3, 9, 15))
"""So wide a limit that no job ever comes."""


def artifact() -> Artifact:
    made = make_artifact(interval_ns=600 * 10**9)
    channels, center = len(made.spec.channels), made.spec.column("center")
    curve = tuple(np.sin(2 * np.pi * np.arange(24) / 24).tolist())
    profile = Profile((0,) * 7, (curve,), ((0.5,) * 24,), 0.9)
    empty, zero = (0.0,) * channels, (0.25,) * channels
    sums = SumLimits((10.0,) * channels, zero, empty, (), proof_rows=4)
    season = Season(
        Calendar("Europe/Berlin"),
        3600,
        (profile,) * channels,
        empty,
        {"a": empty},
        sums,
        UsualError((9,), (2.0,)),
        JOBS,
    )
    assert np.isfinite(center).all()
    return replace(made, spec=replace(made.spec, season=season))


def readings(made: Artifact) -> Readings:
    """A season, and from FIRST to LAST the same at the wrong hour: three units of the model too high."""
    spec = made.spec
    time_ns = MONDAY_NS // spec.interval_ns * spec.interval_ns + np.arange(ROWS) * spec.interval_ns
    scaled = 0.05 * np.random.default_rng(1).normal(size=(ROWS, len(spec.channels)))
    hour = (time_ns // 10**9 / 3600 + 1 - 0.5) % 24
    scaled += np.sin(2 * np.pi * hour / 24)[:, None]
    scaled[FIRST:LAST] += 3.0
    values = scaled * spec.column("scale") + spec.column("center")
    zero = np.zeros(ROWS, np.int32)
    return Readings(("a",), zero, time_ns, values, zero, np.arange(ROWS))


def part(rows: Readings, first: int, last: int) -> Readings:
    s = slice(first, last)
    return Readings(
        rows.names, rows.series[s], rows.timestamp_ns[s], rows.values[s], rows.partition[s], rows.offset[s]
    )


def verdicts(engine: Engine, rows: Readings, size: int, start: int = 0) -> list[Verdicts]:
    return [engine.step(part(rows, at, min(at + size, ROWS))).verdicts for at in range(start, ROWS, size)]


def columns(found: list[Verdicts]) -> list[np.ndarray]:
    names = ("timestamp_ns", "score", "cumulative", "kind", "paged", "expected", "contribution")
    return [np.concatenate([getattr(one, name) for one in found]) for name in names]


def test_a_level_at_the_wrong_hour_is_evidence_of_the_season() -> None:
    made = artifact()
    [time_ns, _, cumulative, kind, paged, *_] = columns(verdicts(Engine(made), readings(made), 50))
    row = (time_ns - time_ns[0]) // made.spec.interval_ns
    fault = (row >= FIRST + 12) & (row < LAST)
    assert (cumulative[fault] > 1).all()
    assert paged[fault].all()
    assert not (cumulative[row < FIRST] > 1.1).any()
    assert (kind[(row < FIRST) & ~paged] == Kind.WINDOW).all()


def test_jobs_that_do_not_come_are_evidence_of_the_season_once_a_slot() -> None:
    made = artifact()
    [time_ns, _, _, kind, paged, _, blame] = columns(verdicts(Engine(made), readings(made), 50))
    hour = (time_ns // 10**9 // 3600 + 1) % 24
    before = (time_ns - time_ns[0]) // made.spec.interval_ns < FIRST
    told = np.isin(hour, (5, 11, 17)) & before & (time_ns - time_ns[0] > 6 * 3600 * 10**9)
    assert told.any()
    assert paged[told].all()
    assert (kind[told] == Kind.SEASON).all()
    assert (blame[told][:, 1] == 1.0).all()
    others = before & ~np.isin(hour, (5, 11, 17))
    assert not (paged & (kind == Kind.SEASON))[others].any()


@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_cut_and_a_restart_change_no_bit(size: int) -> None:
    made = artifact()
    rows = readings(made)
    whole = columns(verdicts(Engine(made), rows, ROWS))
    cut = columns(verdicts(Engine(made), rows, size))
    for one, other in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(one, other)
    old, new = Engine(made), Engine(made)
    first = [old.step(part(rows, 0, 250)).verdicts]
    saved = [decode_state(one.name, encode_state(one, 0)) for one in old.save(old.slots_of(["a"]))]
    new.restore([one[0] for one in saved if one is not None], 0, None)
    for one, other in zip(whole, columns(first + verdicts(new, rows, size, 250)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_without_the_season_takes_the_series_over() -> None:
    """Their cells do not fit each other: the series warms up, and no cell is read as another one."""
    made, plain = artifact(), make_artifact(interval_ns=600 * 10**9)
    rows = readings(made)
    for one, other in ((made, plain), (plain, made)):
        old, new = Engine(one), Engine(other)
        old.step(part(rows, 0, 250))
        assert old.origin.layout != new.origin.layout
        old.take_over(new)
        after = verdicts(old, rows, 50, 250)
        assert np.isnan(after[0].score[:3]).all()
        assert not (np.concatenate([found.cumulative for found in after]) > 1e3).any()


def test_a_switch_and_a_muted_day_silence_the_season() -> None:
    made = artifact()
    rows = readings(made)
    for rules in (
        IncidentRules(without=("season",)),
        IncidentRules(
            special_days=(("2026-01-05", -1), ("2026-01-06", -1), ("2026-01-04", -1), ("2026-01-07", -1))
        ),
    ):
        engine = Engine(made, EngineOptions(rules=rules))
        [_, _, cumulative, kind, *_] = columns(verdicts(engine, rows, 50))
        assert not (cumulative > 1).any()
        assert (kind == Kind.WINDOW).all()
