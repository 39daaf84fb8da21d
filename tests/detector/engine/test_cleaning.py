"""Rows of an open incident are no past: exact for any cut, bounded, and ended by what people decide."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.records import Readings
from detector.artifact.spec import Scoring
from detector.engine.engine import Engine, EngineOptions, StepResult
from detector.engine.snapshot import decode_state, encode_state
from detector.incidents.decision import Decision
from detector.incidents.rules import IncidentRules
from tests.detector.engine.test_engine import FOLLOWING, outcome
from tests.support.artifacts import make_artifact
from tests.support.strategies import INTERVAL_NS, cuts_of, part, readings_of

RULES = IncidentRules(for_rows=2, of_rows=3, quiet_rows=2)
OFF = dataclasses.replace(RULES, clean_windows=False)
LEARN = dataclasses.replace(RULES, on_lasting="learn", lasting_after_ns=150 * INTERVAL_NS)
END_ROWS = 250
"""Two windows, the memory of the running means, and the end of evidence that adds up."""


def engine_of(rules: IncidentRules = RULES, seed: int = 0) -> Engine:
    artifact = make_artifact(
        threshold=1.3, limit=FOLLOWING, has_reference=True, interval_ns=INTERVAL_NS, seed=seed, window=12
    )
    return Engine(artifact, EngineOptions(rules=rules))


@st.composite
def faulty(draw: st.DrawFn, num_rows: int = 200) -> Readings:
    """Three series of quiet noise with faults of any place, length, size, side and shape; some holes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.normal(0, 0.3, (3, num_rows, 2))
    for one in values:
        for _ in range(draw(st.integers(1, 2))):
            add_fault(one, int(rng.integers(30, num_rows)), int(rng.integers(1, 150)), rng)
    number = np.arange(3 * num_rows)
    keep = rng.random(len(number)) > draw(st.sampled_from([0.0, 0.05]))
    series, row = number[keep] % 3, number[keep] // 3
    return readings_of(series.astype(np.int64), 1_000 + row * INTERVAL_NS, values[series, row])


def add_fault(rows: np.ndarray, start: int, length: int, rng: np.random.Generator) -> None:
    """A level, a ramp, a stuck channel or noise of another size, in one channel."""
    size, channel = rng.choice([-1.0, 1.0]) * rng.uniform(2, 12), int(rng.integers(2))
    part_of = rows[start : start + length, channel]
    shapes = {
        "level": part_of + size,
        "ramp": part_of + np.linspace(0, size, len(part_of)),
        "stuck": np.full(len(part_of), size),
        "noise": part_of * abs(size),
    }
    rows[start : start + length, channel] = shapes[str(rng.choice(list(shapes)))]


def fed(engine: Engine, readings: Readings, cuts: Sequence[int]) -> list[StepResult]:
    bounds = itertools.pairwise(cuts)
    return [*(engine.step(part(readings, start, stop)) for start, stop in bounds), engine.flush()]


@pytest.mark.parametrize("rules", [RULES, LEARN], ids=["offer", "learn"])
@settings(max_examples=3)
@given(data=st.data(), readings=faulty(), seed=st.integers(0, 3))
def test_any_cut_gives_bit_equal_results(
    rules: IncidentRules, data: st.DataObject, readings: Readings, seed: int
) -> None:
    whole, pieces = engine_of(rules, seed), engine_of(rules, seed)
    expected = outcome(fed(whole, readings, [0, len(readings)]))
    assert outcome(fed(pieces, readings, data.draw(cuts_of(len(readings))))) == expected
    assert pieces.counters == whole.counters


@settings(max_examples=4)
@given(readings=faulty(), every=st.integers(20, 400))
def test_a_restart_changes_nothing(readings: Readings, every: int) -> None:
    expected = outcome(fed(engine_of(), readings, [0, len(readings)]))
    engine, results = engine_of(), []
    for start in range(0, len(readings), every):
        results.append(engine.step(part(readings, start, min(start + every, len(readings)))))
        saved = engine.save(engine._parts.series.known())
        states = [decode_state(state.name, encode_state(state, 0)) for state in saved]
        engine = engine_of()
        engine.restore([found[0] for found in states if found is not None], 0, None)
    assert outcome([*results, engine.flush()]) == expected


def one_series(values: np.ndarray) -> Readings:
    row = np.arange(len(values))
    return readings_of(np.zeros(len(values), np.int64), 1_000 + row * INTERVAL_NS, values)


def level(size: float, start: int = 60, end: int = 300, num_rows: int = 700) -> Readings:
    values = np.random.default_rng(1).normal(0, 0.3, (num_rows, 2))
    values[start:end, 0] += size
    return one_series(values)


def scores(results: Sequence[StepResult]) -> np.ndarray:
    return np.concatenate([result.verdicts.score for result in results])


def test_it_acts_on_rows_of_incidents_alone_and_can_be_switched_off() -> None:
    readings = level(5.0)
    on, off = (scores(fed(engine_of(rules), readings, [0, len(readings)])) for rules in (RULES, OFF))
    differs = np.flatnonzero(~np.isclose(on, off, equal_nan=True))
    assert differs[0] > 60 + 4, "from the next part of 32 rows on"
    assert differs[-1] < 300 + 64
    assert (on[60:300] >= off[60:300]).all(), "a row that departs is judged by the rows as they came too"
    quiet = level(0.0)
    same = [outcome(fed(engine_of(rules), quiet, [0, len(quiet)])) for rules in (RULES, OFF)]
    assert same[0] == same[1]


def test_rows_that_wait_for_later_windows_are_not_cleaned() -> None:
    kind = {"threshold": 1.3, "has_reference": True, "interval_ns": INTERVAL_NS}
    readings = level(5.0)
    engines = [
        Engine(make_artifact(**kind, scoring=Scoring(delay=2)), EngineOptions(rules=rules))
        for rules in (RULES, OFF)
    ]
    on, off = (outcome(fed(engine, readings, [0, len(readings)])) for engine in engines)
    assert on == off


@settings(max_examples=4)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(2, 300), model=st.integers(0, 2))
def test_healthy_rows_after_any_fault_end_the_incident(seed: int, length: int, model: int) -> None:
    # The random reference of model 3 alarms without any fault; those of 0 to 2 stay below .4 of the limit.
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 0.3, (60 + length + 2 * END_ROWS, 2))
    add_fault(values, 60, length, rng)
    engine = engine_of(seed=model)
    readings = one_series(values)
    results = fed(engine, readings, [0, len(readings)])
    ends = [
        (event.at_ns - 1_000) // INTERVAL_NS
        for result in results
        for event in result.incidents
        if event.kind == "resolved" and (event.incident.start_ns - 1_000) // INTERVAL_NS < 60 + length
    ]
    assert all(end <= 60 + length + END_ROWS for end in ends)
    assert not [one for one in engine.open_incidents if one.start_ns < 1_000 + (60 + length) * INTERVAL_NS]
    late = slice(60 + length + END_ROWS, None)
    alone = scores(fed(engine_of(OFF, model), readings, [0, len(readings)]))
    np.testing.assert_array_equal(scores(results)[late], alone[late])


@pytest.mark.parametrize("size", [4.0, -6.0])
def test_an_acceptance_ends_it_at_once(size: float) -> None:
    readings, at = level(size, end=700), 1_000 + 190 * INTERVAL_NS
    first = engine_of()
    first.step(part(readings, 0, 190))
    (incident,) = first.open_incidents
    cleaned = first._parts.window_scorer._clean_past
    assert cleaned is not None
    assert cleaned.are_active(np.zeros(1, np.int32)).all()
    series = incident.series
    found = []
    for rules in (RULES, OFF):
        engine = engine_of(rules)
        engine.decide([(0, Decision("one", "accept", series, at, incident=incident.id, channels=("flow",)))])
        found.append(fed(engine, readings, [0, len(readings)]))
    applied = [one for result in found[0] for one in result.decisions]
    assert [one.outcome for one in applied] == ["applied"]
    on, off = (scores(one)[190:] for one in found)
    np.testing.assert_array_equal(on, off)


@pytest.mark.parametrize("ends", [0, 1_500], ids=["the fault is over", "the fault goes on"])
def test_a_clock_that_goes_back_during_an_incident_ends_nothing_else(ends: int) -> None:
    """The rows of the incident are in the future then: nothing is cleaned, and rows are judged again."""
    begin, back = 10**18, 10**18 - 10**13
    values = level(6.0, end=190, num_rows=190).values
    engine = engine_of()
    number = np.arange(190)
    engine.step(readings_of(np.zeros(190, np.int64), begin + number * INTERVAL_NS, values))
    assert len(engine.open_incidents) == 1
    later = level(6.0, start=0, end=ends, num_rows=1_500).values
    times = back + np.arange(1_500) * INTERVAL_NS
    results = [
        engine.step(
            readings_of(np.zeros(37, np.int64), times[at : at + 37], later[at : at + 37]),
            begin + at * INTERVAL_NS,
        )
        for at in range(0, 1_480, 37)
    ]
    assert np.isfinite(scores(results)[-500:]).all()


@pytest.mark.parametrize("window", [10, 12])
def test_a_reload_during_an_incident_goes_on(window: int) -> None:
    readings = level(6.0, end=400, num_rows=700)
    engine = engine_of()
    engine.step(part(readings, 0, 190))
    assert len(engine.open_incidents) == 1
    other = make_artifact(
        threshold=1.3, limit=FOLLOWING, has_reference=True, interval_ns=INTERVAL_NS, seed=1, window=window
    )
    engine.take_over(Engine(other, EngineOptions(rules=RULES)))
    results = [engine.step(part(readings, at, at + 30)) for at in range(190, 700, 30)]
    assert np.isfinite(scores(results)[-200:]).all()
    assert not engine.open_incidents


def test_page_levels_stand_while_small_departures_hold_an_incident_and_not_after_it() -> None:
    readings = level(6.0, end=400)
    engine = engine_of()
    one, stands = np.zeros(1, np.int32), []
    for at in range(0, 700, 10):
        engine.step(part(readings, at, at + 10))
        page_level = engine._parts.row_scorer.page_level
        assert page_level is not None
        stands.append(bool(page_level.are_within(one)[0]))
    assert not any(stands[:6])
    assert all(stands[12:40])
    assert not any(stands[-15:])
