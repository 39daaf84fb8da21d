"""A healthy new machine of another size gives no incident on its first day; a planted fault is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from connectors.records import Readings
from detector.engine.engine import Engine, EngineOptions
from detector.incidents.incident import Incident
from detector.scoring.cold.learnt_scales import ColdOptions
from tests.trust.world import World, model_of

WORLDS = (World(1), World(2, "white"))
LEVEL, SPREAD = 3.0, 2.0
JUMP = 8.0
"""In spreads of the channel of the new machine."""


def larger(values: np.ndarray) -> np.ndarray:
    """Rows of a machine with three times the level and twice the spread."""
    mean = values.mean(axis=0)
    return LEVEL * mean + SPREAD * (values - mean)


COLD = EngineOptions(cold=ColdOptions(enabled=True))


def incidents_of(world: World, values: np.ndarray, options: EngineOptions = COLD) -> list[Incident]:
    """What opens, or becomes worse, in rows of a machine that the model does not know."""
    num = len(values)
    times = np.array([world.time_of(row) for row in range(num)], np.int64)
    readings = Readings(
        ("new",), np.zeros(num, np.int32), times, values, np.zeros(num, np.int32), np.arange(num)
    )
    engine = Engine(model_of(world), options)
    events = [*engine.step(readings).incidents, *engine.flush().incidents]
    return [event.incident for event in events if event.kind in ("opened", "escalated")]


def first_day(world: World) -> int:
    """Rows of the warm-up, of the wait for two parts, and of a day."""
    cold = model_of(world).spec.cold
    assert cold is not None
    return cold.warmup + 96 + world.rows_in(24.0)


@pytest.mark.parametrize("world", WORLDS, ids=lambda one: f"{one.kind}-{one.seed}")
def test_a_healthy_new_machine_opens_nothing_on_its_first_day(world: World) -> None:
    values = larger(world.normal("machine-new", first_day(world)))
    assert incidents_of(world, values) == []


def test_without_it_the_same_day_is_a_critical_incident() -> None:
    world = WORLDS[0]
    values = larger(world.normal("machine-new", first_day(world)))
    found = incidents_of(world, values, EngineOptions())
    assert "critical" in [one.severity for one in found]


@pytest.mark.parametrize("world", WORLDS, ids=lambda one: f"{one.kind}-{one.seed}")
def test_a_jump_in_any_channel_of_a_cold_machine_is_found_at_once_as_a_warning(world: World) -> None:
    at = first_day(world) - world.rows_in(24.0) + 60
    healthy = larger(world.normal("machine-new", at + 60))
    for channel, name in enumerate(world.channels):
        values = healthy.copy()
        values[at:, channel] += JUMP * healthy[:, channel].std()
        [opened, *more] = incidents_of(world, values)
        assert world.row_of(opened.start_ns) == at, name
        assert {one.severity for one in (opened, *more)} == {"warning"}
        assert opened.channels[0].name == name


@pytest.mark.parametrize("world", WORLDS[:1], ids=lambda one: f"{one.kind}-{one.seed}")
def test_a_stuck_sensor_and_an_impossible_value_need_no_warmup(world: World) -> None:
    healthy = larger(world.normal("machine-new", 200))
    stuck, impossible = healthy.copy(), healthy.copy()
    stuck[40:180, 0] = stuck[39, 0]
    [found] = incidents_of(world, stuck)
    assert (found.reason, found.severity, found.channels[0].name) == (
        "flatline",
        "warning",
        world.channels[0],
    )
    artifact = model_of(world)
    channels = tuple(replace(one, valid_min=-50.0) for one in artifact.spec.channels)
    engine = Engine(replace(artifact, spec=replace(artifact.spec, channels=channels)), COLD)
    impossible[60:70, 1] = -100.0
    times = np.array([world.time_of(row) for row in range(200)], np.int64)
    zeros = np.zeros(200, np.int32)
    events = engine.step(Readings(("new",), zeros, times, impossible, zeros, np.arange(200))).incidents
    assert [(one.kind, one.incident.reason) for one in events][:1] == [("opened", "out_of_range")]
