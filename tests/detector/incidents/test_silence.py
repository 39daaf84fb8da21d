"""The watchdog: silence by the service's clock, on engines that get the time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from connectors.records import Readings
from detector.engine.engine import Engine, EngineOptions, StepResult
from detector.engine.snapshot import SeriesState, decode_state, encode_state
from detector.incidents.decision import Decision
from detector.incidents.filters.maintenance import Maintenance, OneOff
from detector.incidents.rules import IncidentRules, WatchdogRules
from detector.scoring.verdicts import State
from tests.support.artifacts import make_artifact
from tests.support.strategies import INTERVAL_NS

MINUTE = 60 * 10**9
NOON = 1_800_000_000 * 10**9
"""The service's clock starts here; event time starts at 0 in these tests, so that nobody mixes them up."""


def engine_of(series_min: int = 5, stream_min: int = 0, **rules: object) -> Engine:
    watchdog = WatchdogRules(series_min * MINUTE, stream_min * MINUTE)
    artifact = make_artifact(interval_ns=INTERVAL_NS, threshold=1e9)
    return Engine(artifact, EngineOptions(rules=IncidentRules(watchdog=watchdog, **rules)))  # type: ignore[arg-type]


def at(row: int, *names: str, partition: int = 0) -> Readings:
    """One reading of each series, in the row."""
    num = len(names)
    return Readings(
        names, np.arange(num, dtype=np.int32), np.full(num, 1_000 + row * INTERVAL_NS), np.zeros((num, 2)),
        np.full(num, partition, np.int32), row * 10 + np.arange(num),
    )  # fmt: skip


def goes_on(engine: Engine, name: str, until_min: int) -> list[StepResult]:
    """The series sends readings every minute, up to and with `until_min`."""
    return [engine.step(at(100 + minute, name), NOON + minute * MINUTE) for minute in range(1, until_min + 1)]


def changes(result: StepResult) -> list[tuple[str, str, str]]:
    return [(event.kind, event.incident.series, event.incident.reason) for event in result.incidents]


def test_a_series_that_is_silent_for_longer_than_its_limit_opens_one_incident() -> None:
    engine = engine_of(5)
    engine.step(at(1, "a", "b"), NOON)
    goes_on(engine, "a", 5)
    assert changes(engine.tick(NOON + 5 * MINUTE)) == []
    result = engine.tick(NOON + 5 * MINUTE + 1)
    assert changes(result) == [("opened", "b", "silent")]
    incident = result.incidents[0].incident
    assert (incident.start_ns, incident.opened_ns) == (1_000 + INTERVAL_NS, NOON + 5 * MINUTE + 1)
    assert changes(engine.tick(NOON + 6 * MINUTE)) == []
    assert [one.series for one in engine.open_incidents] == ["b"]


@pytest.mark.parametrize("ahead", [0, 1, 1200])
def test_a_clock_that_stands_is_silence_until_it_runs_again(ahead: int) -> None:
    """Whether the readings repeat the newest time or one far ahead, which is held."""
    engine = engine_of(5)
    goes_on(engine, "a", 3)
    events = []
    for minute in range(4, 20):
        events += changes(engine.step(at(103 + ahead, "a"), NOON + minute * MINUTE))
        events += changes(engine.tick(NOON + minute * MINUTE + 1))
    assert events == [("opened", "a", "silent")]
    assert changes(engine.step(at(200, "a"), NOON + 20 * MINUTE)) == [("resolved", "a", "silent")]


def test_a_clock_that_stands_makes_the_series_stale() -> None:
    engine = Engine(make_artifact(interval_ns=INTERVAL_NS), EngineOptions(stale_after_ns=5 * MINUTE))
    goes_on(engine, "a", 3)
    for minute in range(4, 12):
        engine.step(at(103, "a"), NOON + minute * MINUTE)
    assert engine.latest.state.tolist() == [State.STALE]
    engine.step(at(112, "a"), NOON + 12 * MINUTE)
    engine.step(at(113, "a"), NOON + 13 * MINUTE)
    assert engine.latest.state.tolist() != [State.STALE]


def test_its_next_reading_resolves_it_at_the_event_time_of_the_reading() -> None:
    engine = engine_of(5)
    engine.step(at(1, "a", "b"), NOON)
    goes_on(engine, "a", 5)
    opened = engine.tick(NOON + 6 * MINUTE).incidents[0]
    (resolved,) = engine.step(at(40, "b"), NOON + 7 * MINUTE).incidents
    assert (resolved.kind, resolved.incident.id) == ("resolved", opened.incident.id)
    assert resolved.at_ns == resolved.incident.end_ns == 1_000 + 40 * INTERVAL_NS
    assert engine.open_incidents == ()


def test_a_stream_that_stops_opens_one_incident_instead_of_one_a_series() -> None:
    engine = engine_of(series_min=5, stream_min=2)
    engine.step(at(1, "a", "b", "c"), NOON)
    assert changes(engine.tick(NOON + 2 * MINUTE)) == []
    assert changes(engine.tick(NOON + 2 * MINUTE + 1)) == [("opened", "*", "stream_silent")]
    assert changes(engine.tick(NOON + 60 * MINUTE)) == []
    assert changes(engine.step(at(90, "b"), NOON + 61 * MINUTE)) == [("resolved", "*", "stream_silent")]
    assert changes(engine.tick(NOON + 63 * MINUTE)) == []
    assert engine.open_incidents == ()


def test_after_a_pause_of_the_stream_every_series_has_its_whole_time_again() -> None:
    engine = engine_of(series_min=2, stream_min=30)
    engine.step(at(1, "a", "b"), NOON)
    assert changes(engine.step(at(2, "a"), NOON + 10 * MINUTE)) == []
    assert changes(engine.step(at(3, "a"), NOON + 12 * MINUTE)) == []
    assert changes(engine.step(at(4, "a"), NOON + 12 * MINUTE + 1)) == [("opened", "b", "silent")]


def test_a_series_that_stops_while_others_go_on_is_silent_though_the_stream_is_watched_too() -> None:
    engine = engine_of(series_min=5, stream_min=2)
    engine.step(at(0, "a", "b"), NOON)
    found = [changes(result) for result in goes_on(engine, "a", 8)]
    assert [one for one in found if one] == [[("opened", "b", "silent")]]


def test_the_rows_after_the_gap_warm_up_instead_of_being_flagged() -> None:
    engine = engine_of(1, quiet_rows=1)
    sharp = Engine(make_artifact(interval_ns=INTERVAL_NS, threshold=1e-9), engine.options)
    for row in range(12):
        sharp.step(at(row, "a"), NOON)
    assert sharp.step(at(12, "a"), NOON).verdicts.state.tolist() == [State.ANOMALOUS]
    sharp.tick(NOON + 2 * MINUTE)
    back = [sharp.step(at(row, "a"), NOON + 3 * MINUTE) for row in range(40, 48)]
    states = [state for result in back[1:] for state in result.verdicts.state.tolist()]
    assert states == [State.WARMING] * 7
    assert changes(back[0]) == [("resolved", "a", "silent")]
    assert all(changes(result) == [] for result in back[1:])


def test_a_series_that_falls_silent_in_maintenance_is_told_of_when_it_is_over() -> None:
    window = Maintenance(OneOff(NOON, NOON + 10 * MINUTE), ("b",))
    engine = engine_of(5, maintenance=(window,))
    engine.step(at(1, "a", "b"), NOON)
    assert all(changes(result) == [] for result in goes_on(engine, "a", 9))
    assert changes(engine.tick(NOON + 10 * MINUTE)) == [("opened", "b", "silent")]


def test_without_the_rule_and_without_a_clock_nothing_is_silent() -> None:
    engine = engine_of(0)
    engine.step(at(1, "a"), NOON)
    assert changes(engine.tick(NOON + 10**6 * MINUTE)) == []
    backtest = engine_of(1, 1)
    assert changes(backtest.step(at(1, "a"))) == []
    assert changes(backtest.step(at(10**6, "a"))) == []


def test_a_series_of_a_lost_partition_is_watched_by_another_member() -> None:
    engine = engine_of(5, 5)
    engine.step(at(1, "a", partition=3), NOON)
    engine.drop(frozenset([3]))
    assert changes(engine.tick(NOON + 60 * MINUTE)) == []


def handed_over(engine: Engine, partition: int, now_ns: int) -> Engine:
    """A successor with what the engine saved of its series, through bytes."""
    states: list[SeriesState] = []
    for state in engine.save(engine.changed().slot):
        found = decode_state(state.name, encode_state(state, 0))
        assert found is not None
        states.append(found[0])
    successor = Engine(engine.artifact, engine.options)
    successor.restore(states, partition, now_ns)
    return successor


@pytest.mark.parametrize(("stream_min", "reason"), [(0, "silent"), (2, "stream_silent")])
def test_what_is_silent_is_saved_at_once_and_its_successor_resolves_it(stream_min: int, reason: str) -> None:
    engine = engine_of(5, stream_min)
    engine.step(at(1, "a"), NOON)
    engine.save(engine.changed().slot)
    (opened,) = engine.tick(NOON + 6 * MINUTE).incidents
    assert engine.changed().urgent.tolist() == [True]
    successor = handed_over(engine, 0, NOON + 7 * MINUTE)
    assert [one.id for one in successor.open_incidents] == [opened.incident.id]
    assert changes(successor.tick(NOON + 30 * MINUTE)) == []  # it is not emitted twice
    (resolved,) = successor.step(at(50, "a"), NOON + 31 * MINUTE).incidents
    assert (resolved.kind, resolved.incident.id, resolved.incident.reason) == (
        "resolved",
        opened.incident.id,
        reason,
    )
    assert successor.changed().urgent.tolist() == [True]  # no replay would emit it again


@pytest.mark.parametrize("stream_min", [0, 2])
def test_a_replay_passes_silence_by(stream_min: int) -> None:
    engine = engine_of(5, stream_min)
    engine.step(at(1, "a"), NOON)
    engine.tick(NOON + 6 * MINUTE)
    successor = handed_over(engine, 0, NOON + 7 * MINUTE)
    successor.step_in_silence(at(50, "a"))
    assert len(successor.open_incidents) == 1
    assert [kind for kind, _, _ in changes(successor.step(at(51, "a"), NOON + 8 * MINUTE))] == ["resolved"]


def test_a_late_reading_is_a_sign_of_life() -> None:
    engine = engine_of(5)
    engine.step(at(30, "a", "b"), NOON)
    goes_on(engine, "a", 6)
    assert changes(engine.step(at(2, "b"), NOON + 7 * MINUTE)) == [("resolved", "b", "silent")]
    assert engine.counters.grid.late == 1


def test_other_limits_hold_from_the_next_tick_on_and_what_is_open_stays() -> None:
    engine = engine_of(5)
    engine.step(at(1, "a", "b"), NOON)
    goes_on(engine, "b", 6)
    assert [one.series for one in engine.open_incidents] == ["a"]
    engine.use_rules(IncidentRules())
    assert changes(engine.tick(NOON + 99 * MINUTE)) == []
    assert changes(engine.step(at(3, "a"), NOON + 99 * MINUTE)) == [("resolved", "a", "silent")]


@pytest.mark.parametrize("given_again", [False, True])
def test_a_machine_that_is_switched_off_right_after_a_mute_raises_nothing_until_the_mute_ends(
    given_again: bool,
) -> None:
    engine = engine_of(5)
    engine.step(at(1, "a", "b"), NOON)
    mute = Decision("m", "mute", "b", NOON, until_ns=NOON + 30 * MINUTE)
    engine.decide([(0, mute)])
    assert all(changes(result) == [] for result in goes_on(engine, "a", 27))
    if given_again:  # a later mute of no length ends it
        engine.decide([(1, replace(mute, id="end", until_ns=NOON))])
        assert changes(engine.tick(NOON + 28 * MINUTE)) == [("opened", "b", "silent")]
        return
    assert changes(engine.tick(NOON + 30 * MINUTE - 1)) == []
    assert changes(engine.tick(NOON + 30 * MINUTE)) == [("opened", "b", "silent")]


def test_a_mute_that_begins_later_or_that_is_of_another_series_holds_no_silence_back() -> None:
    engine = engine_of(5)
    engine.step(at(1, "a", "b"), NOON)
    later = Decision("m", "mute", "b", NOON + 10 * MINUTE, until_ns=NOON + 30 * MINUTE)
    engine.decide([(0, later), (1, replace(later, series="a", at_ns=NOON))])
    goes_on(engine, "a", 5)
    assert changes(engine.tick(NOON + 5 * MINUTE + 1)) == [("opened", "b", "silent")]
