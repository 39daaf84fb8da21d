"""A series that is not judged says so: since when, for how many rows, and whether that is long."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.records import Readings
from detector.artifact.spec import Scoring
from detector.engine.engine import Engine, EngineOptions
from detector.engine.judged_rows import LEAST_ROWS
from detector.engine.snapshot import decode_state, encode_state
from detector.rows.clock_rules import RATE_STEPS
from detector.scoring.verdicts import State, Verdicts
from tests.support.artifacts import make_artifact
from tests.support.strategies import INTERVAL_NS, NAMES, cuts_of, part, readings_of, streams

WINDOW = 8
KINDS: list[dict[str, Any]] = [{"flatline_rows": 3}, {"scoring": Scoring(delay=3), "more": (("linear", 4),)}]


def engine_of(**kind: Any) -> Engine:
    return Engine(
        make_artifact(family="linear", interval_ns=INTERVAL_NS, **kind), EngineOptions(stale_after_ns=10**6)
    )


def found_in(engine: Engine) -> dict[str, tuple[int, int, bool, bool]]:
    """Rows without a judged one, the first of them, never judged, masked: by series."""
    latest = engine.latest
    unjudged = latest.unjudged
    columns = (
        unjudged.num,
        np.where(unjudged.num > 0, unjudged.since_ns, -1),
        unjudged.never,
        unjudged.masked,
    )
    return dict(zip(latest.names, zip(*(one.tolist() for one in columns), strict=True), strict=True))


def expected_of(parts: list[Verdicts]) -> dict[str, tuple[int, int, bool, bool]]:
    """The same, row by row."""
    found: dict[str, tuple[int, int, bool, bool]] = {}
    for verdicts in parts:
        for at in range(len(verdicts)):
            name = verdicts.names[verdicts.series[at]]
            num, since, never, _ = found.get(name, (0, -1, True, False))
            if not np.isnan(verdicts.score[at]) or verdicts.state[at] in (State.FLATLINE, State.OUT_OF_RANGE):
                found[name] = (0, -1, False, bool(np.isnan(verdicts.actual[at]).any()))
            else:
                found[name] = (num + 1, since if num else int(verdicts.timestamp_ns[at]), never, False)
    return found


@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(max_examples=15)
@given(data=st.data(), readings=streams(max_rows=80))
def test_any_cut_counts_the_rows_since_the_last_judged_one(
    kind: dict[str, Any], data: st.DataObject, readings: Readings
) -> None:
    engine = engine_of(**kind)
    bounds = itertools.pairwise(data.draw(cuts_of(len(readings))))
    results = [engine.step(part(readings, start, stop)) for start, stop in bounds]
    results.append(engine.flush())
    expected = expected_of([result.verdicts for result in results])
    found = found_in(engine)
    assert {name: found[name] for name in expected} == expected
    counters = engine.counters
    assert counters.judged + sum(counters.unjudged) == sum(counters.states)
    assert counters.unjudged[State.OK] == counters.unjudged[State.ANOMALOUS] == 0


@settings(max_examples=15)
@given(readings=streams(max_rows=80), share=st.floats(0, 1))
def test_a_restart_forgets_nothing(readings: Readings, share: float) -> None:
    first, second = engine_of(), engine_of()
    first.step(readings)
    states = [decode_state(one.name, encode_state(one, 7)) for one in first.save(first.changed().slot)]
    second.restore([one[0] for one in states if one is not None], 0, None)
    assert found_in(second) == found_in(first)


def rows_at(rows: np.ndarray, missing: float = 0.0) -> Readings:
    """Readings of the first series in these rows."""
    rng = np.random.default_rng(1)
    values = rng.standard_normal((len(rows), 2))
    values[rng.random(len(rows)) < missing] = np.nan
    return readings_of(np.zeros(len(rows), int), np.asarray(rows) * INTERVAL_NS, values)


def is_long(engine: Engine) -> tuple[bool, bool]:
    """Whether the first series is not judged for long, and whether it never was."""
    unjudged = engine.latest.unjudged
    return bool(unjudged.is_long[0]), bool(unjudged.never[0])


@pytest.mark.parametrize("step", [2, 3, 5, 60, 3600])
def test_a_series_with_few_values_is_told_although_it_warms_up_for_ever(step: int) -> None:
    engine = engine_of()
    engine.step(rows_at(np.arange(0, 5 * WINDOW) * step, missing=0.9))
    latest = engine.latest
    assert latest.state[0] in (State.WARMING, State.GAP)
    assert is_long(engine) == (True, True)
    assert latest.unjudged_seconds[0] == (latest.timestamp_ns[0] - latest.unjudged.since_ns[0]) / 1e9 > 0


@pytest.mark.parametrize("num", [1, LEAST_ROWS - 1, WINDOW, WINDOW + 3])
def test_a_series_that_warms_up_is_not_told(num: int) -> None:
    engine = engine_of()
    for row in range(num + 1):  # at no time in between either
        engine.step(rows_at(np.array([row])))
        assert not is_long(engine)[0]
    assert np.isnan(engine.latest.unjudged_seconds[0])


@pytest.mark.parametrize("pause", [10, 1_000, 100_000])
def test_a_series_that_pauses_every_night_is_not_told(pause: int) -> None:
    engine = engine_of()
    for day in range(5):
        for row in range(2 * WINDOW):
            engine.step(rows_at(np.array([day * (2 * WINDOW + pause) + row])))
            assert not is_long(engine)[0]


@pytest.mark.parametrize("step", [5, 60])
def test_a_series_that_changes_its_rate_is_told_until_it_is_judged_again(step: int) -> None:
    engine = engine_of()
    engine.step(rows_at(np.arange(4 * WINDOW)))
    assert is_long(engine) == (False, False)
    last = 4 * WINDOW + step * np.arange(1, 4 * WINDOW)
    engine.step(rows_at(last[: RATE_STEPS - 1]))
    assert is_long(engine) == (True, False)
    assert engine.latest.unjudged_seconds[0] == pytest.approx(step * INTERVAL_NS * (RATE_STEPS - 3) / 1e9)
    engine.step(rows_at(last[RATE_STEPS - 1 :]))
    assert is_long(engine) == (False, False)
    engine.step(rows_at(last[-1] + np.arange(1, 4 * WINDOW)))
    assert is_long(engine) == (False, False)


def test_a_stale_series_gains_no_row() -> None:
    engine = engine_of()
    engine.step(rows_at(np.arange(5)), 0)
    before = found_in(engine)
    engine.tick(10**9)
    engine.tick(2 * 10**9)
    assert engine.latest.state[0] == State.STALE
    assert found_in(engine) == before
    assert engine.counters.unjudged[State.STALE] == 0


def test_dropped_partitions_are_forgotten() -> None:
    engine = engine_of()
    engine.step(rows_at(np.arange(0, 400, 10), missing=0.9))
    assert is_long(engine) == (True, True)
    engine.drop([0])
    engine.step(rows_at(np.arange(500, 503)))
    assert engine.latest.names == NAMES[:1]
    assert is_long(engine) == (False, True)
