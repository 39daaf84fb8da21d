"""A fallback judges series of no model, however the stream is cut, and leaves all others as they are."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.records import Batch, Raw, RawColumns
from connectors.wide_json.decoder import FieldNames, JsonWideCodec
from connectors.wide_json.limits import Limits
from connectors.wide_json.open_channels import OpenCodec, OpenNames
from detector.artifact.fallback.statistical import name_of, statistical_model
from detector.delivery.routing.fallback import FallbackRouter
from detector.delivery.routing.router import Router
from detector.engine.engine import Engine, EngineOptions, knows
from detector.engine.group.columns import Columns
from detector.engine.group.fallback import FallbackKinds, KindLimits, open_series
from detector.engine.group.group import EngineGroup
from detector.engine.group.member import Member
from detector.engine.snapshot import SeriesState, decode_state, encode_state
from detector.scoring.cold.learnt_scales import ColdOptions
from tests.plant.kinds import INTERVAL_NS, NOW_MS, Told, members

WARMUP = 64
MACHINES = {
    "pump-1": ("flow", "pressure"),
    "fan-1": ("speed", "noise"),
    "fan-2": ("noise", "speed"),
    "saw-1": ("speed", "noise", "teeth"),
}


def member_of(channels: tuple[str, ...]) -> Member:
    options = EngineOptions(lateness_ns=INTERVAL_NS, cold=ColdOptions(enabled=True, warmup_rows=WARMUP))
    return Member(Engine(statistical_model(channels, INTERVAL_NS, WARMUP), options), is_fallback=True)


class Plant:
    """A group with its fallback, its decoder and its router, as the daemon joins them."""

    def __init__(
        self, models: tuple[Member, ...] = (), limits: KindLimits | None = None, channels: int = 100
    ) -> None:
        self.group = EngineGroup(models)
        self.names = OpenNames(channels)
        self.use_models(models)
        self.ended: list[str] = []
        self.kinds = FallbackKinds(
            self.group, member_of, limits or KindLimits(), lambda member: self.ended.append(member.name)
        )
        self.router = FallbackRouter(
            self.group,
            self.kinds,
            Router(self.group, most_logged=0),
            lambda: (*self.own, *self.names.names),
            lambda series: series in self.names.cut,
        )
        self.told: dict[str, Told] = defaultdict(Told)
        self.letters: set[int] = set()

    def use_models(self, models: tuple[Member, ...]) -> None:
        """Let messages be decoded for these models, as after a reload."""
        self.own = Columns.of([one.channels for one in models]).names
        inner = JsonWideCodec(self.own) if self.own else None
        self.codec = OpenCodec(inner, FieldNames(), Limits(), open_series(self.group), self.names)

    def batch_of(self, values: list[bytes], first: int) -> Batch:
        raw = [Raw("readings", 0, first + at, NOW_MS, None, one) for at, one in enumerate(values)]
        found = self.codec.decode_columns(RawColumns.of(raw))
        return Batch(found.readings, found.rejects, unknown_values=found.unknown_values)

    def judge(self, values: list[bytes], first: int = 0) -> Batch:
        batch = self.router.route(self.batch_of(values, first))
        self.letters |= {one.offset for one in batch.rejects}
        for part in self.group.step(batch.readings):
            self.told[part.member.name].add(part.result)
        return batch

    def saved(self) -> list[SeriesState]:
        self.group.save_all_soon()
        found = [
            decode_state(one.name, encode_state(one, 7)) for one in self.group.save(self.group.changed().slot)
        ]
        return [one[0] for one in found if one is not None]

    def as_told(self) -> dict[str, tuple[dict[tuple[str, int], bytes], list[tuple[str, str, int, str]]]]:
        return {name: one.as_told() for name, one in self.told.items()}


def message(series: str, row: int, values: dict[str, object]) -> bytes:
    return json.dumps({"series": series, "timestamp": NOW_MS + 10 * row, "values": values}).encode()


def stream(seed: int, rows: int) -> list[bytes]:
    """Machines in turn; some values and channels are absent, some are text, some messages are broken."""
    rng = np.random.default_rng(seed)
    found = []
    for row in range(rows):
        for name, channels in MACHINES.items():
            values: dict[str, object] = {
                one: round(float(rng.normal(50, 2)) + (40 if 185 <= row < 195 else 0), 3)
                for one in channels
                if row == 0 or rng.random() > 0.05
            }
            values |= {"mood": "good"} if rng.random() < 0.2 else {}
            values |= {"later": 1.0} if row > 20 and rng.random() < 0.2 else {}
            found.append(b"{oops" if row and rng.random() < 0.02 else message(name, row, values))
    return found


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 999), cuts=st.lists(st.integers(0, 800), max_size=10), at=st.integers(1, 799))
def test_no_cut_and_no_restart_changes_a_bit(seed: int, cuts: list[int], at: int) -> None:
    values = stream(seed, 200)
    whole, parts = Plant(members()), Plant(members())
    whole.judge(values)
    for start, stop in pairwise([0, *sorted(one for one in cuts if one < at), at]):
        parts.judge(values[start:stop], start)
    successor = Plant(members())
    successor.told, successor.letters = parts.told, parts.letters
    successor.group.restore(parts.saved(), 0, None)
    for start, stop in pairwise([at, *sorted(one for one in cuts if one > at), len(values)]):
        successor.judge(values[start:stop], start)
    assert successor.as_told() == whole.as_told()
    assert successor.letters == whole.letters
    assert {name_of(MACHINES[one]) for one in ("fan-1", "saw-1")} < set(whole.told)
    assert any(kind == "opened" for _, kind, _, _ in whole.told[name_of(MACHINES["fan-1"])].events)


def test_series_of_models_are_judged_as_without_a_fallback() -> None:
    values, with_fallback = stream(3, 200), Plant(members())
    with_fallback.judge(values)
    group, told = EngineGroup(members()), Told()
    codec, router = JsonWideCodec(group.columns.names), Router(group, most_logged=0)
    raw = [Raw("readings", 0, at, NOW_MS, None, one) for at, one in enumerate(values)]
    found = codec.decode_columns(RawColumns.of(raw))
    for part in group.step(router.route(Batch(found.readings, found.rejects)).readings):
        if part.member.name == "pump":
            told.add(part.result)
    assert with_fallback.as_told()["pump"] == told.as_told()
    assert len(told.verdicts) > 100


def test_a_kind_is_the_channels_of_the_first_message_in_any_order() -> None:
    plant = Plant()
    plant.judge(
        [message("fan-1", 0, {"speed": 1, "noise": 2}), message("fan-2", 0, {"noise": 1, "speed": 2})]
    )
    plant.judge(
        [message("fan-1", 1, {"speed": 1, "heat": 2}), message("fan-3", 1, {"speed": 1, "heat": 2})], 2
    )
    found = {kind.channels: kind.series for kind in plant.kinds.all()}
    assert found == {("noise", "speed"): ("fan-1", "fan-2"), ("heat", "speed"): ("fan-3",)}


def test_values_of_no_kind_are_unknown_and_a_message_of_such_alone_is_no_reading() -> None:
    plant = Plant()
    plant.judge([message("fan-1", 0, {"speed": 1})])
    batch = plant.judge([message("fan-1", 1, {"speed": 1, "heat": 2}), message("fan-1", 2, {"heat": 2})], 1)
    assert (len(batch.readings), batch.unknown_values) == (1, 2)


def test_what_is_beyond_the_bounds_stays_unassigned() -> None:
    plant = Plant(limits=KindLimits(kinds=1, series=2, channels=2))
    plant.judge(
        [
            message("wide-1", 0, {"a": 1, "b": 2, "c": 3}),
            message("fan-1", 0, {"speed": 1}),
            message("fan-2", 0, {"speed": 1}),
            message("fan-3", 0, {"speed": 1}),
            message("saw-1", 0, {"teeth": 1}),
        ]
    )
    plant.judge([message("fan-4", 1, {"speed": 1})], 5)
    assert [kind.series for kind in plant.kinds.all()] == [("fan-1", "fan-2")]
    assert plant.router.unassigned.series["name"] == 4


def test_faulty_messages_of_judged_series_are_dead_letters_and_of_others_not() -> None:
    plant = Plant()
    faulty = json.dumps({"series": "fan-1", "timestamp": "soon", "values": {"speed": 1}}).encode()
    plant.judge([faulty, message("fan-1", 0, {"speed": 1}), faulty, message("sign-1", 0, {"text": "hello"})])
    assert plant.letters == {2}
    plant.judge([faulty, b"{oops"], 4)
    assert plant.letters == {2, 4, 5}


def test_a_series_with_a_model_now_is_continued_by_it() -> None:
    plant = Plant()
    plant.judge([message("pump-1", row, {"flow": row % 5, "pressure": row % 3}) for row in range(200)])
    states = plant.saved()
    assert [one.model for one in states] == [name_of(("flow", "pressure"))]
    successor = EngineGroup(members())
    successor.restore(states, 0, None)
    assert knows(successor.members[0].engine, "pump-1")
    assert successor.home_of("pump-1") is successor.members[0]


def test_without_a_fallback_its_states_stay_as_they_are() -> None:
    plant = Plant()
    plant.judge([message("fan-1", row, {"speed": row % 5}) for row in range(100)])
    group = EngineGroup(members())
    assert [group.owner_of(one) for one in plant.saved()] == [None]


def test_a_kind_counts_the_normal_rows_from_which_it_has_learnt() -> None:
    plant = Plant()
    rng = np.random.default_rng(0)
    plant.judge([message("fan-1", row, {"speed": float(rng.normal())}) for row in range(500)])
    (kind,) = plant.kinds.all()
    assert 400 <= kind.rows <= 500


def test_a_model_and_an_open_series_may_share_the_name_of_a_channel() -> None:
    alone, beside = Plant(members()), Plant(members())
    rng = np.random.default_rng(1)
    rows = [{one: float(rng.normal()) for one in MACHINES["pump-1"]} for _ in range(60)]
    for at, values in enumerate(rows):
        pump = message("pump-1", at, dict(values))
        alone.judge([pump], 2 * at)
        batch = beside.judge([pump, message("fan-1", at, {"flow": 3.0, "noise": 2.0})], 2 * at)
        columns = list(beside.group.columns.names)
        of_fan = batch.readings.values[batch.readings.names.index("fan-1")]
        assert (of_fan[columns.index("flow")], of_fan[columns.index("noise")]) == (3.0, 2.0)
    assert beside.as_told()["pump"] == alone.as_told()["pump"]
    assert len(beside.told["pump"].verdicts) > 30


def test_a_fallback_keeps_its_series_when_a_model_for_them_comes() -> None:
    pump, press = members()
    plant = Plant((press,))
    plant.judge([message("pump-1", row, {"flow": row, "pressure": 2}) for row in range(5)])
    plant.group.add(pump, 0)
    plant.group.arrange([press, pump])
    plant.use_models((press, pump))
    faulty = json.dumps({"series": "pump-1", "timestamp": "soon", "values": {"flow": 1}}).encode()
    batch = plant.judge(
        [
            faulty,
            message("pump-1", 6, {"flow": 6, "pressure": 2}),
            message("pump-2", 6, {"flow": 6, "pressure": 2}),
        ],
        5,
    )
    assert sorted(batch.readings.names) == ["pump-1", "pump-2"]
    assert plant.letters == {5}
    homes = {name: plant.group.home_of(name) for name in ("pump-1", "pump-2")}
    assert homes["pump-2"] is pump
    assert [kind.series for kind in plant.kinds.all()] == [("pump-1",)]
    assert plant.router.unassigned.series["name"] == 0


def test_a_saved_series_whose_model_has_other_channels_is_left_to_nobody() -> None:
    plant = Plant()
    plant.judge([message("pump-1", row, {"heat": row % 5}) for row in range(100)])
    successor = Plant(members())
    successor.judge([message("fan-1", 0, {"heat": 1})])
    assert [successor.group.owner_of(one) for one in plant.saved()] == [None]


def test_a_series_is_no_longer_unassigned_once_a_fallback_judges_it() -> None:
    plant = Plant()
    plant.judge([message("fan-1", 0, {"text": "hello"})])
    assert plant.router.unassigned.series["name"] == 1
    plant.judge([message("fan-1", 1, {"speed": 1})], 1)
    assert plant.router.unassigned.series["name"] == 0


def test_a_model_that_is_taken_out_keeps_its_saved_states() -> None:
    pump, press = members()
    rows = [message("pump-1", row, {"flow": row % 5, "pressure": 2}) for row in range(60)]
    plant = Plant((pump, press))
    plant.judge(rows[:50])
    states = plant.saved()
    for successor in (Plant((members()[1],)), plant):
        if successor is plant:  # a reload takes the model out
            plant.group.remove(pump)
            plant.use_models((press,))
        else:
            assert [successor.group.owner_of(one) for one in states] == [None]
        successor.judge([*rows[50:], message("fan-1", 51, {"speed": 1})], 50)
        assert [kind.series for kind in successor.kinds.all()] == [("fan-1",)]
        assert [one.name for one in successor.saved()] == ["fan-1"]
        assert [one.name for one in successor.router.unassigned.most] == ["pump-1"]


def test_a_kind_without_series_makes_room_for_another_one() -> None:
    plant = Plant(limits=KindLimits(kinds=1))
    plant.judge([message("fan-1", 0, {"speed": 1}), message("saw-1", 0, {"teeth": 1})])
    plant.judge([message("saw-1", 1, {"teeth": 1})], 2)
    assert (plant.ended, plant.router.unassigned.series["name"]) == ([], 1)
    plant.group.drop([0])
    batch = plant.judge([message("saw-1", 2, {"teeth": 1}), message("bell-1", 2, {"tone": 1})], 3)
    assert (plant.ended, batch.readings.names) == ([name_of(("speed",))], ("saw-1",))
    assert [kind.series for kind in plant.kinds.all()] == [("saw-1",)]
    assert [member.channels for member in plant.group.members] == [("teeth",)]


def test_a_series_with_a_channel_too_many_is_left_unassigned() -> None:
    plant = Plant(channels=2)
    plant.judge(
        [message("fan-1", 0, {"speed": 1, "noise": 2}), message("saw-1", 0, {"speed": 1, "teeth": 3})]
    )
    plant.judge([message("fan-1", 1, {"speed": 1, "heat": 2}), message("fan-2", 1, {"speed": 1})], 2)
    assert {kind.channels: kind.series for kind in plant.kinds.all()} == {
        ("noise", "speed"): ("fan-1",),
        ("speed",): ("fan-2",),
    }
    assert [one.name for one in plant.router.unassigned.most] == ["saw-1"]
