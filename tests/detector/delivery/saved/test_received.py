"""Notes beside offsets: when each process of a group got readings, and which of them reports silence."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.admin.group_notes import Noted
from connectors.records import Batch, Readings
from detector.delivery.saved.received import Place, Received, decode
from detector.engine.engine import Engine, EngineOptions
from detector.incidents.rules import IncidentRules, WatchdogRules
from tests.support.artifacts import make_artifact

SECOND, DAY_NS = 10**9, 86_400 * 10**9
NOON = 1_800_000_000 * SECOND
PLACES = [("t", number) for number in range(4)]
RULES = IncidentRules(watchdog=WatchdogRules(60 * SECOND, 60 * SECOND))


@dataclass
class Share:
    """The partitions of a process, and those of the group, which are all of PLACES."""

    own: dict[Place, int]
    notes: dict[Place, str] = field(default_factory=dict)

    def held(self) -> dict[Place, int]:
        return self.own

    def all(self) -> frozenset[Place]:
        return frozenset(PLACES)


@dataclass
class Looks:
    every_seconds: float = 1.0
    found: Noted | None = None

    def latest(self) -> Noted | None:
        return self.found


def readings(*names: str, partition: int) -> Readings:
    n = len(names)
    return Readings(
        names, np.arange(n, dtype=np.int32), np.full(n, NOON), np.zeros((n, 2)),
        np.full(n, partition, np.int32), np.arange(n),
    )  # fmt: skip


def noted(at_ns: int, *, offset: int = 10, **heard_ms: int) -> Noted:
    """One look: partition p of topic t has `p<n>` of model pump."""
    notes = {
        ("t", int(name[1:])): (offset, json.dumps({"received": {"pump": at_ms}}))
        for name, at_ms in heard_ms.items()
    }
    return Noted(at_ns, notes)


def test_the_live_readings_of_a_batch_are_noted_by_partition_and_model() -> None:
    share = Share({("t", 0): 0, ("t", 1): 1}, {("t", 0): '{"received":{"press":5}}'})
    received = Received(share, Looks(), DAY_NS)
    engine = Engine(make_artifact(), EngineOptions(rules=RULES))
    batch = Batch(readings("a", "b", partition=0), tick_ns=NOON)
    received.follow(batch, {"pump": engine}, {"a": "pump", "b": ""}.__getitem__)
    assert decode(share.notes["t", 0]).received == {"press": 5, "pump": NOON // 10**6}
    assert decode(share.notes["t", 1]).received == {}


def test_a_process_that_knows_no_series_of_a_model_in_a_partition_leaves_the_report_to_the_next() -> None:
    """Its patterns may have changed, or its saved state is lost: it could never open the incident."""
    ms = NOON // 10**6
    look = noted(NOON, p0=ms - 5_000, p1=ms - 3_000)
    engines, found = [], {}
    for number in range(2):
        share = Share({("t", number): number}, {("t", number): look.notes["t", number][1]})
        engine = Engine(make_artifact(), EngineOptions(rules=RULES))
        received = Received(share, Looks(found=look), DAY_NS)
        engines.append((share, engine, received))
    engines[1][1].step(readings("a", partition=1), NOON)
    for number, (share, engine, received) in enumerate(engines):
        received.follow(Batch(readings(partition=number), tick_ns=NOON), {"pump": engine}, lambda _: "pump")
        found[number] = share.notes["t", number]
    assert [decode(found[number]).received for number in range(2)] == [{}, {"pump": ms - 3_000}]
    look = Noted(NOON + SECOND, {("t", number): (11, text) for number, text in found.items()})
    told = []
    for _, _, received in engines:
        received._looks = Looks(found=look)
        told.append(received.elsewhere("pump", NOON + SECOND))
    assert [one.is_ours for one in told] == [False, True]
    assert told[1].received_ns == NOON - 5 * SECOND, (
        "an offset that moves is no reading where there are notes"
    )


def test_nothing_is_dropped_while_a_partition_is_replayed_nor_before_a_first_reading_is_judged() -> None:
    share = Share({("t", 0): 0}, {("t", 0): '{"received":{"pump":5}}'})
    received = Received(share, Looks(), DAY_NS)
    engine = Engine(make_artifact(), EngineOptions(rules=RULES))
    nothing = Batch(readings(partition=0), tick_ns=NOON)
    engine.note_replay(True)
    received.follow(nothing, {"pump": engine}, lambda _: "pump")
    assert decode(share.notes["t", 0]).received == {"pump": 5}
    engine.note_replay(False)
    received.follow(replace(nothing, readings=readings("a", partition=0)), {"pump": engine}, lambda _: "pump")
    assert decode(share.notes["t", 0]).received == {"pump": NOON // 10**6}
    engine.step(readings("a", partition=0), NOON)
    received.follow(replace(nothing, tick_ns=NOON + SECOND), {"pump": engine}, lambda _: "pump")
    assert decode(share.notes["t", 0]).received == {"pump": NOON // 10**6}
    engine.drop([0])
    received.follow(replace(nothing, tick_ns=NOON + 2 * SECOND), {"pump": engine}, lambda _: "pump")
    assert share.notes["t", 0] == '{"received":{}}'


def test_without_a_watchdog_nothing_is_noted() -> None:
    share = Share({("t", 0): 0})
    engine = Engine(make_artifact(), EngineOptions())
    batch = Batch(readings("a", partition=0), tick_ns=NOON)
    Received(share, Looks(), DAY_NS).follow(batch, {"pump": engine}, lambda _: "pump")
    assert share.notes == {}


def test_the_process_with_the_first_partition_that_ever_had_a_reading_reports() -> None:
    ms = NOON // 10**6
    look = noted(NOON, p1=ms - 5_000, p2=ms - 3_000)
    told = []
    for own in ({("t", 0): 0}, {("t", 1): 1}, {("t", 2): 2, ("t", 3): 3}):
        received = Received(Share(own), Looks(found=look), DAY_NS)
        received.elsewhere("pump", NOON)
        share = Share(own, {place: look.notes[place][1] for place in own if place in look.notes})
        told.append(Received(share, Looks(found=look), DAY_NS).elsewhere("pump", NOON))
    assert [one.is_ours for one in told] == [False, True, False]
    assert [one.partition for one in told] == [None, 1, None]
    assert [one.received_ns for one in told] == [(ms - 3_000) * 10**6] * 2 + [(ms - 5_000) * 10**6]


def test_a_partition_whose_series_are_forgotten_does_not_choose_the_reporter() -> None:
    ms = NOON // 10**6
    look = noted(NOON, p0=ms - 2 * 86_400_000, p1=ms)
    share = Share({("t", 1): 1}, {("t", 1): look.notes["t", 1][1]})
    assert Received(share, Looks(found=look), DAY_NS).elsewhere("pump", NOON).is_ours
    assert not Received(share, Looks(found=look), 0).elsewhere("pump", NOON).is_ours


def test_who_cannot_look_does_not_report_unless_it_holds_everything() -> None:
    share = Share({("t", 1): 1}, {("t", 1): '{"received":{"pump":5}}'})
    looks = Looks()
    received = Received(share, looks, DAY_NS)
    assert not received.elsewhere("pump", NOON).is_ours
    looks.found = noted(NOON, p1=5)
    assert received.elsewhere("pump", NOON).is_ours
    assert not received.elsewhere("pump", NOON + 60 * SECOND).is_ours, "the look is a minute old"
    share.own = {place: place[1] for place in PLACES}
    assert received.elsewhere("pump", NOON + 60 * SECOND).is_ours


def test_after_a_time_without_looks_a_silence_counts_from_the_first_look_on() -> None:
    """The notes are those of before: nobody could read, which is an outage and no silence."""
    share, looks = Share({("t", 0): 0}), Looks(found=noted(NOON, p0=NOON // 10**6))
    received = Received(share, looks, DAY_NS)
    engine = Engine(make_artifact(), EngineOptions(rules=RULES))
    models = {"pump": engine}
    engine.step(readings("a", partition=0), NOON)
    received.follow(Batch(readings("a", partition=0), tick_ns=NOON), models, lambda _: "pump")

    def opened(second: int, *, can_look: bool) -> list[str]:
        now_ns = NOON + second * SECOND
        if can_look:
            looks.found = noted(now_ns, p0=NOON // 10**6)
        received.follow(Batch(readings(partition=0), tick_ns=now_ns), models, lambda _: "pump")
        return [one.incident.series for one in engine.tick(now_ns).incidents]

    assert not any(opened(second, can_look=False) for second in range(1, 120))
    assert not any(opened(second, can_look=True) for second in range(120, 181))
    assert opened(181, can_look=True) == ["*"]


@given(st.integers(-10_000_000, 10_000_000))
def test_a_wrong_clock_of_another_host_moves_nothing_once_it_was_looked_at(skew_ms: int) -> None:
    """From the second look on, a note that changes counts at the time of the look."""
    ms, looks = NOON // 10**6 + skew_ms, Looks()
    received = Received(Share({("t", 0): 0}), looks, DAY_NS)
    looks.found = noted(NOON, p1=ms)
    assert received.elsewhere("pump", NOON).received_ns == min(NOON, ms * 10**6)
    looks.found = noted(NOON + SECOND, p1=ms + 1)
    assert received.elsewhere("pump", NOON + SECOND).received_ns == NOON + SECOND
    looks.found = noted(NOON + 2 * SECOND, p1=ms + 1)
    assert received.elsewhere("pump", NOON + 2 * SECOND).received_ns == NOON + SECOND


def test_a_process_of_an_older_version_is_received_by_its_offsets() -> None:
    looks = Looks(found=Noted(NOON, {("t", 1): (10, "")}))
    received = Received(Share({("t", 0): 0}), looks, DAY_NS)
    assert received.elsewhere("pump", NOON).received_ns == -1
    looks.found = Noted(NOON + SECOND, {("t", 1): (11, "")})
    assert received.elsewhere("pump", NOON + SECOND).received_ns == NOON + SECOND


@given(st.text(max_size=40))
def test_texts_of_other_programs_are_no_notes(text: str) -> None:
    assert decode(text).received == {} or json.loads(text)["received"]


def test_notes_stay_below_what_a_broker_takes() -> None:
    share, received_by = Share({("t", 0): 0}), [f"model-{number:04d}" for number in range(300)]
    received = Received(share, Looks(), DAY_NS)
    engine = Engine(make_artifact(), EngineOptions(rules=RULES))
    for second, model in enumerate(received_by):
        batch = Batch(readings("a", partition=0), tick_ns=NOON + second * SECOND)
        received.follow(batch, {"pump": engine}, lambda _, model=model: model)
    assert len(share.notes["t", 0].encode()) <= 2_000
    assert received_by[-1] in decode(share.notes["t", 0]).received
