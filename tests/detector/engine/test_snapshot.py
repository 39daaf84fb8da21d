"""Any cut of any stream: save, restore elsewhere, go on. Nothing may be different."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.records import Readings
from detector.artifact.spec import PageLimit, Scoring
from detector.engine.engine import Engine, EngineOptions
from detector.engine.snapshot import SeriesState, decode_state, encode_state
from detector.incidents.rules import IncidentRules
from detector.scoring.verdicts import State, Verdicts
from tests.support.artifacts import make_artifact
from tests.support.strategies import EVERY_RULE, INTERVAL_NS, part, restless, streams

FOLLOWING = PageLimit(alarms_a_row=0.02, rise=1.4)
KINDS: list[dict[str, Any]] = [
    {},
    {"limit": FOLLOWING, "threshold": 1.05, "has_reference": True},
    {"scoring": Scoring(5, "mean"), "more": (("memory", 6), ("linear", 4)), "flatline_rows": 4},
    {
        "causal": True,
        "window": 16,
        "more": (("conv", 8), ("gru", 4)),
        "limit": FOLLOWING,
        "threshold": 0.6,
        "flatline_rows": 3,
    },
    {"executor": "numpy", "more": (("linear", 4),), "limit": FOLLOWING, "threshold": 0.6},
    {"stride": 3, "limit": FOLLOWING, "scoring": Scoring(delay=2)},
    {"more": (("conv", 8, 3), ("linear", 4)), "limit": FOLLOWING, "has_reference": True},
    {"rules": EVERY_RULE, "scoring": Scoring(delay=2)},
]


def engine_of(kind: dict[str, Any], lateness_rows: int = 2) -> Engine:
    rules = kind.get("rules", IncidentRules(for_rows=2, of_rows=3, quiet_rows=3))
    given = {key: value for key, value in kind.items() if key != "rules"}
    artifact = make_artifact(interval_ns=INTERVAL_NS, **{"threshold": 0.8, **given})
    return Engine(artifact, EngineOptions(lateness_ns=lateness_rows * INTERVAL_NS, rules=rules))


def outcome(engine: Engine, readings: Readings) -> dict[str, Any]:
    """The results for the readings and for the rest, by series."""
    results = [engine.step(readings), engine.flush()]
    rows = {}
    for result in results:
        verdicts = result.verdicts
        for at in range(len(verdicts)):
            key = (verdicts.names[verdicts.series[at]], int(verdicts.timestamp_ns[at]))
            assert key not in rows
            cells = (verdicts.score, verdicts.threshold, verdicts.expected, verdicts.contribution)
            cells += (verdicts.cumulative, verdicts.paged)
            rows[key] = (int(verdicts.state[at]), *(column[at].tobytes() for column in cells))
    incidents = {event for result in results for event in map(repr, result.incidents)}
    return {"rows": rows, "incidents": incidents}


def through_bytes(states: list[SeriesState]) -> list[SeriesState]:
    """What a reader of the state topic makes of them."""
    decoded = [decode_state(state.name, encode_state(state, 7)) for state in states]
    assert all(one is not None and one[1] == 7 for one in decoded)
    return [one[0] for one in decoded if one is not None]


def moved(engine: Engine, kind: dict[str, Any]) -> Engine:
    """A new engine with the state of all series of the old one."""
    states = engine.save(engine.changed().slot)
    fresh = engine_of(kind)
    fresh.restore(through_bytes(states), 0, None)
    return fresh


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "every rule" if "rules" in kind else str(kind))
@settings(max_examples=20)
@given(readings=st.one_of(streams(max_rows=150), st.just(restless(240))), cut=st.floats(0, 1))
def test_a_restored_engine_goes_on_bit_by_bit(kind: dict[str, Any], readings: Readings, cut: float) -> None:
    at = round(cut * len(readings))
    undisturbed, first = engine_of(kind), engine_of(kind)
    undisturbed.step(part(readings, 0, at))
    first.step(part(readings, 0, at))
    rest = part(readings, at, len(readings))
    assert outcome(moved(first, kind), rest) == outcome(undisturbed, rest)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_cut_in_an_open_incident_is_among_them(kind: dict[str, Any]) -> None:
    """The streams above are random; this one is cut where an incident is open and rows wait."""
    undisturbed, first = (engine_of({**kind, "threshold": 0.05}) for _ in range(2))
    for engine in (undisturbed, first):
        engine.step(regular(50))
        assert len(engine.open_incidents) == 1
    rest = regular(60, start=50)
    assert outcome(moved(first, {**kind, "threshold": 0.05}), rest) == outcome(undisturbed, rest)


def regular(num_rows: int, start: int = 0) -> Readings:
    values = np.random.default_rng(start).standard_normal((num_rows, 2))
    times = (start + np.arange(num_rows)) * INTERVAL_NS
    zeros = np.zeros(num_rows, np.int32)
    return Readings(("pump",), zeros, times, values, zeros, start + np.arange(num_rows))


def test_what_changed_since_it_was_saved_is_known() -> None:
    engine = engine_of({})
    assert len(engine.changed().slot) == 0
    engine.step(regular(10))
    changed = engine.changed()
    assert (changed.slot.tolist(), changed.since.tolist()) == ([0], [0])
    engine.save(changed.slot)
    assert len(engine.changed().slot) == 0
    engine.step(regular(5, start=10))
    assert engine.changed().since.tolist() == [10]
    engine.drop(frozenset([0]))
    assert len(engine.changed().slot) == 0


def test_a_stale_series_is_to_be_saved_at_once() -> None:
    artifact = make_artifact(interval_ns=INTERVAL_NS)
    engine = Engine(artifact, EngineOptions(stale_after_ns=10))
    engine.step(regular(10), now_ns=0)
    engine.save(engine.changed().slot)
    assert len(engine.tick(100).verdicts) == 1
    assert engine.changed().urgent.tolist() == [True]
    states = engine.save(engine.changed().slot)
    successor = Engine(artifact, EngineOptions(stale_after_ns=10))
    successor.restore(states, 0, 100)
    assert len(successor.tick(200).verdicts) == 0


@pytest.mark.parametrize("data", [b"", b"\x00", b"garbage", b"\x97\x01\xc0\x00\xc0\xc0\xc0\xc0"])
def test_a_damaged_record_is_no_state(data: bytes) -> None:
    assert decode_state("pump", data) is None


@pytest.mark.parametrize(("before", "after"), [(1, 10), (10, 1), (10, 60), (10, 10), (1, 1)])
@pytest.mark.parametrize("by_reload", [True, False])
def test_a_series_whose_interval_another_model_changes_warms_up_on_it(
    before: int, after: int, by_reload: bool
) -> None:
    """Also after a restart. The interval of the other series does not change, so that it goes on."""

    def model_of(rows: int) -> Engine:
        artifact = make_artifact(family="linear", interval_ns=INTERVAL_NS)
        intervals = {"p": rows * INTERVAL_NS} if rows > 1 else {}
        return Engine(replace(artifact, spec=replace(artifact.spec, intervals=intervals)))

    def fed(engine: Engine, start: int, num: int) -> Verdicts:
        row = np.repeat(np.arange(start, start + num), 2)
        series, zeros = np.tile(np.array([0, 1], np.int32), num), np.zeros(2 * num, np.int32)
        values = np.random.default_rng(start).standard_normal((2 * num, 2))
        readings = Readings(("p", "q"), series, row * INTERVAL_NS, values, zeros, np.arange(2 * num))
        return engine.step(readings).verdicts

    def of(found: Verdicts, name: str) -> tuple[np.ndarray, np.ndarray]:
        mine = found.series == found.names.index(name)
        return found.state[mine], np.diff(found.timestamp_ns[mine])

    old, new = model_of(before), model_of(after)
    fed(old, 0, 600)
    if by_reload:
        old.take_over(new)
        new = old
    else:
        new.restore(through_bytes(old.save(old.slots_of(["p", "q"]))), 0, None)
    found = fed(new, 600, 600)
    (states, steps), (others, _) = of(found, "p"), of(found, "q")
    assert set(steps.tolist()) == {after * INTERVAL_NS}
    assert (states[0] == State.WARMING) == (before != after)
    assert states[-1] != State.WARMING
    assert not (others == State.WARMING).any()
