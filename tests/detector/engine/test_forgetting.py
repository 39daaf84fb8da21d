"""Series that vanish: what is forgotten, when, and what stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.records import Readings
from detector.engine.engine import Engine, EngineOptions, StepResult
from detector.incidents.rules import IncidentRules, WatchdogRules
from tests.support.artifacts import make_artifact
from tests.support.strategies import INTERVAL_NS, NAMES, readings_of

SECOND = 10**9
NOON = 1_800_000_000 * SECOND
LIMIT = 1_200 * SECOND


def engine_of(limit_ns: int = LIMIT, threshold: float = 0.8, watchdog: WatchdogRules | None = None) -> Engine:
    rules = IncidentRules(for_rows=2, of_rows=3, quiet_rows=3, watchdog=watchdog or WatchdogRules())
    options = EngineOptions(forget_after_ns=limit_ns, rules=rules, stale_after_ns=300 * SECOND)
    return Engine(make_artifact(interval_ns=INTERVAL_NS, threshold=threshold), options)


def rows(series: tuple[int, ...], first: int, num: int, size: float = 1.0) -> Readings:
    """Readings of these series, one a row and series, always the same for the same rows."""
    at = np.arange(first, first + num)
    values = size * np.sin(np.outer(at, [1.0, 1.7]))
    which = np.tile(series, num)
    return readings_of(
        which, 1_000 + np.repeat(at, len(series)) * INTERVAL_NS, np.repeat(values, len(series), 0)
    )


def listen(engine: Engine, seconds: int, now_ns: int, readings: Readings | None = None) -> list[StepResult]:
    """Let the service listen for so long; with readings of the first series, if they are given."""
    found = []
    for second in range(0, seconds, 30):
        step = Readings.empty(2) if readings is None else readings
        found.append(engine.step(step, now_ns + (second + 30) * SECOND))
    return found


def forgotten(results: list[StepResult]) -> list[str]:
    return [one.name for result in results for one in result.forgotten]


@pytest.mark.parametrize("limit_s", [2, 60, 1_200])
def test_a_series_is_forgotten_after_its_time_and_not_before(limit_s: int) -> None:
    engine = engine_of(limit_s * SECOND)
    engine.step(rows((0, 1), 0, 20), NOON)
    tick_ns = limit_s * SECOND // 40
    for tick in range(1, 43):
        found = forgotten([engine.step(rows((0,), 20 + tick, 1), NOON + tick * tick_ns)])
        assert found == ([NAMES[1]] if tick == 41 else [])
    assert engine.latest.names == (NAMES[0],)
    assert engine.counters.forgotten == 1


def test_without_a_limit_or_a_clock_nothing_is_forgotten() -> None:
    for engine, has_clock in ((engine_of(0), True), (engine_of(), False)):
        engine.step(rows((0, 1), 0, 20), NOON if has_clock else None)
        for hour in range(1, 60):
            engine.step(rows((0,), 20 + hour, 1), NOON + hour * LIMIT if has_clock else None)
        assert set(engine.latest.names) == set(NAMES[:2])


def test_a_pause_of_the_process_or_a_jump_of_its_clock_is_no_silence() -> None:
    engine = engine_of()
    engine.step(rows((0, 1), 0, 20), NOON)
    for jump in (10 * LIMIT, -5 * LIMIT, 100 * LIMIT):
        assert not engine.tick(NOON + jump).forgotten
    assert len(engine.latest.names) == 2


def test_while_the_whole_stream_is_reported_silent_no_series_is_forgotten() -> None:
    engine = engine_of(watchdog=WatchdogRules(0, 300 * SECOND))
    engine.step(rows((0, 1), 0, 20), NOON)
    assert forgotten(listen(engine, 3_000, NOON)) == []
    assert [one.reason for one in engine.open_incidents] == ["stream_silent"]
    later = NOON + 3_000 * SECOND
    engine.step(rows((0,), 30, 1), later)
    found = listen(engine, 1_320, later, rows((0,), 31, 1))
    assert forgotten(found) == [NAMES[1]]  # the stream goes on, and one series does not
    assert engine.open_incidents == ()


def test_all_that_is_open_resolves_as_retired_and_its_memory_goes() -> None:
    engine = engine_of(threshold=1e-6, watchdog=WatchdogRules(300 * SECOND, 0))
    engine.step(rows((0, 1), 0, 30, size=5.0), NOON)
    found = listen(engine, 1_320, NOON, rows((0,), 31, 1))
    opened = {e.incident.id: e.incident for r in found for e in r.incidents if e.kind == "opened"}
    gone = next(result for result in found if result.forgotten)
    of_it = [event for event in gone.incidents if event.incident.series == NAMES[1]]
    ended = [event for event in of_it if event.kind != "judged"]  # its last row is judged at last
    assert {event.incident.reason for event in ended} == {"score", "silent"}
    for event in ended:
        assert (event.kind, event.incident.state, event.incident.ending) == (
            "resolved",
            "resolved",
            "retired",
        )
        assert event.incident.end_ns is not None
        assert event.incident.end_ns >= event.incident.start_ns
    assert {event.incident.id for event in ended} >= {
        i for i, one in opened.items() if one.series == NAMES[1]
    }
    assert {one.series for one in engine.open_incidents} == {NAMES[0]}
    assert engine._parts.incidents.track(NAMES[1]) is None
    assert len(engine._parts.series) == 1


def test_the_last_readings_of_a_series_get_their_row_before_it_is_forgotten() -> None:
    for delay in (0, 3):
        artifact = make_artifact(interval_ns=INTERVAL_NS)
        artifact = replace(
            artifact, spec=replace(artifact.spec, scoring=replace(artifact.spec.scoring, delay=delay))
        )
        engine = Engine(artifact, EngineOptions(forget_after_ns=LIMIT))
        first = engine.step(rows((0, 1), 0, 20), NOON)
        found = listen(engine, 1_320, NOON, rows((0,), 20, 1))
        starts = [time for result in (first, *found) for time in times_of(result, NAMES[1])]
        assert starts == sorted(set(starts))
        assert len(starts) == 20
        assert engine.counters.rows == 20 + 20 + 1 - 1  # the newest row of the first series is open


def times_of(result: StepResult, name: str) -> list[int]:
    verdicts = result.verdicts
    return [
        int(verdicts.timestamp_ns[at])
        for at in range(len(verdicts))
        if verdicts.names[verdicts.series[at]] == name and verdicts.state[at] != 7
    ]


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3))
def test_a_series_that_comes_again_is_a_new_one(before: int, after: int, slots: int) -> None:
    """Whoever has taken its slot meanwhile: its rows are those of a fresh engine."""
    engine, fresh = engine_of(), engine_of()
    engine.step(rows((1,), 0, before, size=4.0), NOON)
    engine.step(rows((0,), 0, 1), NOON)
    now = NOON
    for _ in range(44):
        now += 30 * SECOND
        engine.step(rows((0,), 1, 1), now)
    assert engine.latest.names == (NAMES[0],)
    if slots:
        engine.step(rows((2,), 0, slots), now)
    again = rows((1,), 10_000, after)
    results = [(one.step(again), one.flush()) for one in (engine, fresh)]
    seen = [
        [
            (int(r.verdicts.timestamp_ns[at]), int(r.verdicts.state[at]), r.verdicts.score[at].tobytes())
            for r in pair
            for at in range(len(r.verdicts))
            if r.verdicts.names[r.verdicts.series[at]] == NAMES[1]
        ]
        for pair in results
    ]
    assert seen[0] == seen[1]
    assert len(seen[0]) == after


def test_the_silence_of_a_series_is_saved_and_goes_on_elsewhere() -> None:
    engine = engine_of()
    engine.step(rows((0, 1), 0, 20), NOON)
    for part in range(3):  # three processes, each for a little more than a third of the limit
        found = listen(engine, 450, NOON)
        names = forgotten(found)
        assert names == ([] if part < 2 else [NAMES[0], NAMES[1]])
        slots = engine.slots_of(engine.latest.names)
        states, engine = engine.save(slots), engine_of()
        engine.restore(states, 0, NOON)


def test_other_processes_of_a_long_silence_are_asked_to_save_it() -> None:
    engine = engine_of()
    engine.step(rows((0, 1), 0, 20), NOON)
    saves = 0
    for result in range(39):
        engine.tick(NOON + (result + 1) * 30 * SECOND)
        changed = engine.changed()
        saves += int(changed.urgent.sum())
        engine.save(changed.slot)
    assert 2 * 25 <= saves <= 2 * 34


def open_one(engine: Engine, series: tuple[int, ...] = (0, 1)) -> None:
    """Incidents of these series that only silence can end."""
    engine.step(rows(series, 0, 30, size=5.0), NOON)
    assert {one.series for one in engine.open_incidents} == {NAMES[at] for at in series}


@pytest.mark.parametrize("after_s", [60, 600])
def test_an_open_incident_of_a_series_that_falls_silent_says_so_once_and_ends_retired(after_s: int) -> None:
    engine = engine_of(threshold=1e-6)
    engine.use_rules(replace(engine.options.rules, unjudged_after_ns=after_s * SECOND))
    open_one(engine)
    last_ns = int(engine.latest.timestamp_ns.max())
    found = [
        engine.step(rows((0,), 30 + at, 1, size=5.0), NOON + (at + 1) * 30 * SECOND)
        for at in range((LIMIT // SECOND + 90) // 30)
    ]
    told = [(at, one) for at, result in enumerate(found) for one in result.incidents]
    [(at, unjudged)] = [(at, one) for at, one in told if one.kind == "unjudged"]
    assert unjudged.incident.series == NAMES[1]
    assert unjudged.incident.unjudged is not None
    assert (unjudged.incident.unjudged.why, unjudged.incident.unjudged.since_ns) == ("no_data", last_ns)
    assert (at + 1) * 30 - 30 <= after_s < (at + 1) * 30
    assert told[-1][1].incident.ending == "retired"
    assert engine.open_incidents[0].unjudged is None  # the series that sends is judged


def test_what_silence_told_is_saved_and_not_told_again_after_a_restart() -> None:
    engine = engine_of(threshold=1e-6)
    open_one(engine, (1,))
    told = [one for result in listen(engine, 660, NOON) for one in result.incidents]
    assert [one.kind for one in told] == ["unjudged"]
    again = engine_of(threshold=1e-6)
    assert engine.changed().urgent.all()
    again.restore(engine.save(engine.slots_of([NAMES[1]])), 0, NOON)
    assert again.open_incidents == engine.open_incidents
    assert [one for result in listen(again, 480, NOON) for one in result.incidents] == []
    back = again.step(rows((1,), 30, 40, size=5.0), NOON + 510 * SECOND)
    assert back.incidents[0].kind == "judged"


def test_a_muted_series_and_a_silent_stream_tell_nothing_of_their_incidents() -> None:
    engine = engine_of(threshold=1e-6, watchdog=WatchdogRules(0, 300 * SECOND))
    open_one(engine)
    told = [one for result in listen(engine, 1_200, NOON) for one in result.incidents]
    assert [(one.kind, one.incident.reason) for one in told] == [("opened", "stream_silent")]
    muted = engine_of(threshold=1e-6)
    open_one(muted, (1,))
    slots = muted.slots_of([NAMES[1]])
    muted._parts.incidents.mutes.set(int(slots[0]), NOON - SECOND, NOON + LIMIT)
    assert [one for result in listen(muted, 900, NOON) for one in result.incidents] == []
