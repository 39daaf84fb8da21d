"""Generated plants: the same wherever they are made, and with the faults that they state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.plants.draws import Draws
from benchmarks.plants.faults import FAULTS
from benchmarks.plants.machines import KINDS
from benchmarks.plants.plant import CHOOSING, CONFIRMING, Line, Machine, PlantOptions, events_frame, line_of
from benchmarks.plants.schedule import Schedule

SMALL = PlantOptions(3, ("pump", "tank"), history_weeks=1, live_weeks=2)


def lines_of(plant: PlantOptions) -> list[Line]:
    """Every line of a plant."""
    return [line_of(plant, kind) for kind in plant.kinds]


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    return lines_of(SMALL)


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_depends_on_seed_machine_and_row_alone(kind: str) -> None:
    machine = Machine(SMALL, kind, "one")
    values = machine.values(np.arange(900))
    for name, part in Machine(SMALL, kind, "one").values(np.arange(400, 700)).items():
        if kind != "compressor":  # its cycle is counted from its first row
            np.testing.assert_allclose(part, values[name][400:700], atol=1e-6)
        assert np.isfinite(part).all()
    assert all(
        (values[name] != other).any()
        for name, other in Machine(SMALL, kind, "two").values(np.arange(900)).items()
    )


def test_draws_are_white_and_smooth_as_stated() -> None:
    draws, rows = Draws(1, "one"), np.arange(50_000)
    white, smooth = draws.white("w", rows), draws.smooth("s", rows, 10)
    assert abs(np.corrcoef(white[1:], white[:-1])[0, 1]) < 0.02
    assert np.corrcoef(smooth[10:], smooth[:-10])[0, 1] == pytest.approx(np.exp(-1), abs=0.05)
    assert [white.std(), smooth.std()] == pytest.approx([1, 1], abs=0.05)
    assert abs(np.corrcoef(white, Draws(2, "one").white("w", rows))[0, 1]) < 0.02


def test_machines_keep_their_hours() -> None:
    schedule, rows = Schedule(stops_a_week=2.0), np.arange(4 * 2016)
    on = schedule.running(Draws(1, "one"), rows)
    second = rows * 300
    assert not on[second % 604_800 >= 5 * 86_400].any()
    assert not on[(second % 86_400) < 6 * 3600].any()
    hours = on.reshape(-1, 288).sum(axis=1) / 12
    assert 10 <= hours[hours > 0].min() < hours.max() == 16


def test_a_fault_changes_its_channel_in_its_time_and_nothing_else(lines: list[Line]) -> None:
    healthy = lines_of(replace(SMALL, machines=SMALL.machines, sizes=(0.0,)))
    for line, other in zip(lines, healthy, strict=True):
        pd.testing.assert_frame_equal(line.history, other.history)
        differs = line.live.drop(columns="series").ne(other.live.drop(columns="series"))
        differs &= line.live.drop(columns="series").notna()
        inside = pd.DataFrame(False, index=differs.index, columns=differs.columns)
        for event in line.events:
            times = line.live.index.as_unit("ns").asi8
            mine = (line.live.series == event.series).to_numpy()
            inside.loc[mine & (times >= event.start_ns) & (times < event.end_ns), event.channel] = True
        assert not (differs & ~inside).to_numpy().any()
        assert differs.to_numpy().any()


def test_the_first_machines_of_a_line_are_healthy_and_the_others_have_every_kind(lines: list[Line]) -> None:
    assert {event.series for line in lines for event in line.events}.isdisjoint({"pump-1", "tank-1"})
    many = [event for line in lines_of(replace(SMALL, live_weeks=6)) for event in line.events]
    assert {event.kind for event in many} == set(FAULTS)
    sized = {event.size for event in many if event.size == event.size}
    assert sized == set(SMALL.sizes)
    for event in many:
        assert event.active
        assert event.start_ns <= event.active[0][0] < event.active[-1][1] <= event.end_ns


def test_rows_and_cells_are_missing(lines: list[Line]) -> None:
    for line in lines:
        given = len(line.history) / (SMALL.machines * SMALL.weeks_rows)
        assert 0.9 < given < 1.0
        assert 0 < line.history.isna().to_numpy().mean() < 0.01


def test_no_default_is_confirmed_on_the_plants_that_chose_it() -> None:
    assert {one.seed for one in CHOOSING}.isdisjoint({one.seed for one in CONFIRMING})
    assert {kind for one in CONFIRMING for kind in one.kinds} - {k for one in CHOOSING for k in one.kinds}


def test_events_are_listed_with_their_last_row(lines: list[Line]) -> None:
    events = lines[0].events
    frame = events_frame(events, lines[0].interval_ns)
    assert list(frame.columns) == ["series", "channel", "start", "end", "kind", "size"]
    rows = (frame.end - frame.start) // pd.Timedelta(lines[0].interval_ns, unit="ns") + 1
    assert rows.tolist() == [(one.end_ns - one.start_ns) // lines[0].interval_ns for one in events]


def test_faults_of_closed_hours_are_spread_over_the_next_open_ones() -> None:
    """A machine runs for 16 of 24 hours. The first of them does not have most of the faults."""
    plant = PlantOptions(5, ("pump",), machines=30, history_weeks=1, live_weeks=4)
    hours = np.array([pd.Timestamp(event.start_ns).hour for event in line_of(plant, "pump").events])
    counts = np.bincount(hours, minlength=24)
    assert len(hours) > 60
    assert counts[:6].sum() == 0
    assert counts[6] < 3 * len(hours) / 16
