"""Saved states of several models: each finds its engine again, or waits until its model is back."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from connectors.wide_json.decoder import JsonWideCodec
from detector.delivery.recovery import Saved
from detector.delivery.routing.router import Router
from detector.engine.engine import knows
from detector.engine.group.group import EngineGroup
from detector.engine.group.member import Member
from detector.engine.group.resumable import owner_of
from detector.engine.snapshot import SeriesState, decode_state, encode_state
from tests.plant.kinds import Told, batch_of, members, messages

VALUES = messages(11, 300)
SERIES = {"pump-1", "pump-2", "press-1", "press-2"}


def judged(group: EngineGroup, start: int, stop: int, told: dict[str, Told] | None = None) -> None:
    router, codec = Router(group, most_logged=0), JsonWideCodec(group.columns.names)
    batch = router.route(batch_of(codec, VALUES[start:stop], start))
    for part in group.step(batch.readings):
        if told is not None:
            told.setdefault(part.member.name, Told()).add(part.result)


def saved(group: EngineGroup) -> list[SeriesState]:
    """The states of all series, through bytes and back."""
    group.save_all_soon()
    found = []
    for state in group.save(group.changed().slot):
        decoded = decode_state(state.name, encode_state(state, 7))
        assert decoded is not None
        assert decoded[1] == 7
        found.append(decoded[0])
    return found


def test_a_group_that_resumes_goes_on_with_the_same_bits() -> None:
    whole, parts = dict[str, Told](), dict[str, Told]()
    group = EngineGroup(members())
    for start, stop in pairwise((0, 150, 300)):
        judged(group, start, stop, whole)
    group = EngineGroup(members())
    judged(group, 0, 150, parts)
    states = saved(group)
    assert {(one.name, one.model) for one in states} == {(one, one.split("-")[0]) for one in SERIES}
    successor = EngineGroup(members())
    successor.restore(states, 0, None)
    assert set(successor.names) == SERIES
    judged(successor, 150, 300, parts)
    assert {name: one.as_told() for name, one in parts.items()} == {
        name: one.as_told() for name, one in whole.items()
    }


def test_only_series_of_changed_engines_are_changed_and_each_is_saved_once() -> None:
    group = EngineGroup(members())
    judged(group, 0, 60)
    changed = group.changed()
    assert len(set(changed.slot.tolist())) == len(SERIES)
    first = group.save(changed.slot[:1])
    assert len(first) == 1
    assert len(group.changed().slot) == len(SERIES) - 1
    group.drop({0})
    assert len(group.changed().slot) == 0
    assert list(group.names) == []


def test_a_state_of_a_model_that_is_not_configured_is_left_out() -> None:
    group = EngineGroup(members())
    judged(group, 0, 150)
    records = {one.name.encode(): encode_state(one, 9) for one in saved(group)}
    pumps = EngineGroup(members()[:1])
    found = Saved.of(pumps, records)
    assert found.names == {"pump-1", "pump-2"}
    assert set(found.holds) == {"pump-1", "pump-2"}
    pumps.restore([state for one in records.items() if (state := _state(*one))], 0, None)
    assert set(pumps.names) == {"pump-1", "pump-2"}
    alone = members()[0].engine
    assert {name for name in SERIES if owner_of(alone, _state(name.encode(), records[name.encode()]))} == {
        "pump-1",
        "pump-2",
    }


def _state(name: bytes, value: bytes) -> SeriesState:
    decoded = decode_state(name.decode(), value)
    assert decoded is not None
    return decoded[0]


def test_a_state_without_a_name_goes_to_the_first_model_with_its_channels() -> None:
    group = EngineGroup(members())
    judged(group, 0, 150)
    states = [replace(one, model="") for one in saved(group)]
    assert encode_state(states[0], 1) != encode_state(replace(states[0], model="pump"), 1)
    successor = EngineGroup(members())
    successor.restore(states, 0, None)
    assert {name: home.name for name in SERIES if (home := successor.home_of(name))} == {
        name: name.split("-")[0] for name in SERIES
    }


def test_a_series_that_has_other_patterns_today_goes_to_the_model_that_they_name() -> None:
    group = EngineGroup(members())
    judged(group, 0, 150)
    states = saved(group)
    pump, press = members()
    moved = EngineGroup([Member(pump.engine, ("pump-1",)), Member(press.engine, ("press-*", "pump-2"))])
    moved.restore(states, 0, None)
    assert knows(pump.engine, "pump-1")
    assert not knows(pump.engine, "pump-2")
    assert knows(press.engine, "pump-2")
    nobody = EngineGroup([Member(members()[0].engine, ("pump-1",))])
    nobody.restore(states, 0, None)
    assert set(nobody.names) == {"pump-1", "pump-2"}  # it is silent, and forgotten later


def test_series_of_a_model_that_came_are_urgent_for_a_while() -> None:
    pump, press = members()
    group = EngineGroup([pump])
    judged(group, 0, 60)
    group.save(group.changed().slot)
    group.add(press, 100)
    judged(group, 60, 120)
    changed = group.changed()
    assert bool(changed.urgent.any())
    group.save(changed.slot)
    judged(group, 120, 300)
    judged(group, 0, 1)
    assert not group.changed().urgent.any()
    group.remove(press)
    assert group.home_of("press-1") is None
    assert group.columns.names == pump.channels


def test_a_series_whose_partition_is_lost_goes_on_from_another_partition() -> None:
    group = EngineGroup(members())
    judged(group, 0, 150)
    router, codec = Router(group, most_logged=0), JsonWideCodec(group.columns.names)
    batch = router.route(batch_of(codec, VALUES[150:200], 150))
    group.drop({0})
    moved = replace(batch.readings, partition=batch.readings.partition + 1)
    assert sum(len(part.readings) for part in group.step(moved)) == len(batch.readings)
    assert set(group.names) == set(batch.readings.names)
