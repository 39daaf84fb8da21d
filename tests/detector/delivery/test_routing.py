"""A group of engines judges as a process for each model does, however the stream is cut."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.wide_json.decoder import JsonWideCodec
from detector.delivery.routing.router import Router
from detector.delivery.unassigned import Admission
from detector.engine.engine import knows
from detector.engine.group.group import EngineGroup
from detector.engine.group.member import Member
from detector.errors import DetectorError
from tests.plant.kinds import NOW_MS, Told, batch_of, members, messages


def alone(member: Member, values: list[bytes]) -> tuple[Told, set[int]]:
    """What a process of this model alone tells, and the offsets of its dead letters with a series."""
    told, letters = Told(), set()
    admission = Admission(member.patterns, member.least_channels)
    batch = batch_of(JsonWideCodec(member.channels), values)
    letters = {one.offset for one in batch.rejects if one.reason == "not_json"}
    admitted = admission.admit(batch, partial(knows, member.engine))
    told.add(member.engine.step(admitted.readings))
    told.add(member.engine.flush())
    return told, letters


def together(group: EngineGroup, values: list[bytes], cuts: list[int]) -> tuple[dict[str, Told], set[int]]:
    """What a group tells of each model, of the stream in these parts."""
    told: dict[str, Told] = defaultdict(Told)
    router, codec, letters = Router(group, most_logged=0), JsonWideCodec(group.columns.names), set()
    for start, stop in pairwise([0, *sorted(cuts), len(values)]):
        batch = router.route(batch_of(codec, values[start:stop], start))
        letters |= {one.offset for one in batch.rejects if one.reason == "not_json"}
        for part in group.step(batch.readings):
            told[part.member.name].add(part.result)
    for part in group.flush():
        told[part.member.name].add(part.result)
    return told, letters


@settings(max_examples=12)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 160), max_size=12),
    st.sampled_from([1, 2]),
    st.sampled_from([0.0, 0.2, 0.6]),
)
@example(7, list(range(1, 160)), 2, 0.2)
def test_a_group_is_equal_to_the_bit_to_a_process_for_each_model(
    seed: int, cuts: list[int], least: int, missing: float
) -> None:
    values = messages(seed, 160, missing)
    told, letters = together(EngineGroup(members(least)), values, cuts)
    for member in members(least):
        expected, its_letters = alone(member, values)
        assert told[member.name].as_told() == expected.as_told()
        assert letters == its_letters


def test_the_example_has_incidents_of_both_models() -> None:
    told, letters = together(EngineGroup(members(2)), messages(7, 600), [100])
    assert all(any(kind == "opened" for _, kind, _, _ in one.events) for one in told.values())
    assert {series for one in told.values() for series, _ in one.verdicts} == {
        "pump-1",
        "pump-2",
        "press-1",
        "press-2",
    }
    assert letters


def line(series: str, *channels: str, second: int = 0) -> bytes:
    values = ", ".join(f'"{name}": 1.0' for name in channels)
    stamp = NOW_MS + 1_000 * second
    return f'{{"series": "{series}", "timestamp": {stamp}, "values": {{{values}}}}}'.encode()


def routed(group: EngineGroup, router: Router, *values: bytes, first: int = 0) -> dict[str, list[int]]:
    """Model -> offsets of the readings that it got."""
    batch = router.route(batch_of(JsonWideCodec(group.columns.names), list(values), first))
    return {part.member.name: part.readings.offset.tolist() for part in group.step(batch.readings)}


def test_the_first_model_that_fits_takes_a_series_and_keeps_it() -> None:
    group = EngineGroup(members(2, patterns=False))
    router = Router(group, most_logged=0)
    found = routed(
        group,
        router,
        line("a", "pressure"),
        line("a", "pressure", "speed"),
        line("b", "pressure", "flow"),
        line("c", "noise", "speed"),
    )
    assert found == {"pump": [2], "press": [1]}
    assert {one.name for one in router.unassigned.most} == {"c"}
    assert dict(router.unassigned.messages) == {"name": 0, "channels": 2}
    later = routed(group, router, line("a", "flow", "pressure"), line("b", "pressure"), first=4)
    assert later == {"pump": [5], "press": [4]}
    assert dict(router.unassigned.series) == {"name": 0, "channels": 1}


def test_values_of_another_model_are_unknown_ones_and_alone_no_reading() -> None:
    group = EngineGroup(members())
    router = Router(group, most_logged=0)
    assert routed(group, router, line("pump-1", "flow", "speed"), line("fan-1", "speed")) == {"pump": [0]}
    codec = JsonWideCodec(group.columns.names)
    batch = router.route(batch_of(codec, [line("pump-1", "force", "speed"), line("pump-1", "mood")], 2))
    assert len(batch.readings) == 0
    assert batch.unknown_values == 2
    assert [(one.reason, one.offset) for one in batch.rejects] == [("no_known_channel", 3)]
    assert router.unassigned.messages["name"] == 1


def test_two_models_of_one_name_are_refused() -> None:
    pump, _ = members()
    with pytest.raises(DetectorError, match="'pump'; give one of them a `name`"):
        EngineGroup([pump, members()[0]])
