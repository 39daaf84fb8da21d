"""The silence of a stream that several processes read: each engine is told what the others received."""

from __future__ import annotations

import numpy as np

from detector.engine.engine import Engine, note_elsewhere
from detector.incidents.stream.silence import Elsewhere
from tests.detector.incidents.test_silence import MINUTE, NOON, at, changes, engine_of, handed_over


def told(engine: Engine, minute: float, is_ours: bool = True, partition: int | None = None) -> None:
    note_elsewhere(engine, Elsewhere(NOON + round(minute * MINUTE), is_ours, partition))


def test_while_another_process_hears_something_the_stream_is_not_silent_but_a_series_may_be() -> None:
    engine = engine_of(series_min=5, stream_min=2)
    engine.step(at(1, "a"), NOON)
    found = []
    for minute in range(1, 12):
        told(engine, minute)
        found += changes(engine.tick(NOON + minute * MINUTE))
    assert found == [("opened", "a", "silent")]
    assert changes(engine.step(at(60, "a"), NOON + 12 * MINUTE)) == [("resolved", "a", "silent")]


def test_one_process_reports_and_what_another_hears_resolves_it() -> None:
    reporter, other = engine_of(5, 2), engine_of(5, 2)
    for engine, is_ours in ((reporter, True), (other, False)):
        engine.step(at(1, "a"), NOON)
        told(engine, 0, is_ours)
    assert changes(reporter.tick(NOON + 3 * MINUTE)) == [("opened", "*", "stream_silent")]
    assert changes(other.tick(NOON + 3 * MINUTE)) == []
    assert changes(other.tick(NOON + 30 * MINUTE)) == [], "nor are its series silent by themselves"
    told(reporter, 31)
    (resolved,) = reporter.tick(NOON + 31 * MINUTE).incidents
    assert (resolved.kind, resolved.incident.end_ns) == ("resolved", NOON + 31 * MINUTE)
    assert changes(reporter.tick(NOON + 32 * MINUTE)) == []
    assert changes(reporter.tick(NOON + 34 * MINUTE)) == [("opened", "*", "stream_silent")]


def test_what_was_received_before_the_incident_opened_does_not_resolve_it() -> None:
    """A look at the others comes late: it may tell of a reading of before."""
    engine = engine_of(5, 2)
    engine.step(at(1, "a"), NOON)
    assert changes(engine.tick(NOON + 3 * MINUTE)) == [("opened", "*", "stream_silent")]
    told(engine, 2.5)
    assert changes(engine.tick(NOON + 4 * MINUTE)) == []
    assert [one.series for one in engine.open_incidents] == ["*"]


def test_a_series_of_the_partition_of_the_reporter_carries_the_incident() -> None:
    engine = engine_of(5, 2)
    engine.step(at(1, "a", partition=7), NOON)
    engine.step(at(1, "b", partition=3), NOON)
    told(engine, 0, partition=3)
    (opened,) = engine.tick(NOON + 3 * MINUTE).incidents
    engine.drop([7])
    assert [one.id for one in engine.open_incidents] == [opened.incident.id]
    successor = handed_over(engine, 3, NOON + 4 * MINUTE)
    told(successor, 0, is_ours=False)
    assert [one.id for one in successor.open_incidents] == [opened.incident.id]
    assert changes(successor.tick(NOON + 60 * MINUTE)) == []


def test_whoever_takes_over_while_the_stream_is_silent_does_not_report_it_again() -> None:
    """The new member restores the series that carries the incident. The old one has it no more."""
    before = engine_of(5, 2)
    before.step(at(1, "a"), NOON)
    assert changes(before.tick(NOON + 3 * MINUTE)) == [("opened", "*", "stream_silent")]
    after = handed_over(before, 0, NOON + 4 * MINUTE)
    before.drop([0])
    for minute in range(5, 20):
        for engine in (before, after):
            told(engine, 0, is_ours=engine is after)
            assert changes(engine.tick(NOON + minute * MINUTE)) == []
    assert changes(after.step(at(40, "a"), NOON + 20 * MINUTE)) == [("resolved", "*", "stream_silent")]


def test_no_time_counts_toward_forgetting_while_another_process_reports_the_silence() -> None:
    engine = Engine(
        engine_of(5, 2).artifact,
        engine_of(5, 2).options.__class__(rules=engine_of(5, 2).options.rules, forget_after_ns=30 * MINUTE),
    )
    engine.step(at(1, "a"), NOON)
    told(engine, 0, is_ours=False)
    forgotten = [engine.tick(NOON + minute * MINUTE).forgotten for minute in range(1, 90)]
    assert not any(forgotten)
    assert np.array_equal(engine.latest.names, ["a"])
