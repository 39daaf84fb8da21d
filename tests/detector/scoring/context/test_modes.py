"""The mode of every row: by hand, against a plain loop, and whatever the cut."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detector.artifact.modes import Condition, Mode, Modes, check_modes
from detector.artifact.spec import Artifact, Scoring
from detector.engine.snapshot import decode_state, encode_state
from detector.rows.grid import Rows
from detector.rows.windows import GapFiller
from detector.scoring.context.modes import UNKNOWN, ModeRules, ModeTracker, RowModes
from detector.scoring.kinds import Kind
from detector.scoring.verdicts import State
from tests.detector.engine.test_engine import FOLLOWING, SHORT, engine_of, feed, outcome
from tests.support.artifacts import make_artifact
from tests.support.strategies import INTERVAL_NS, cuts_of, part, readings_of, streams

CHANNELS = ("speed", "flow")
OFF, RUN, OTHER = range(3)
MODES = Modes(
    (
        Mode("off", (Condition("speed", None, 5.0),), judge=(), settle_rows=2, usual_rows=4, passages=9),
        Mode("run", (Condition("speed", 100.0), Condition("flow", -50.0, 50.0)), settle_rows=3, steady=0.5),
    ),
    hold_rows=2,
    passing_rows=4,
)
MAX_GAP = 3


def followed(tracker: ModeTracker, filler: GapFiller, rows: Rows) -> NDArray[np.int32]:
    new_rows = filler.extend(rows)
    return tracker.follow(new_rows, new_rows.values).as_columns()


def rows_of(speed: list[float], slot: int = 0) -> Rows:
    values = np.stack([speed, np.zeros(len(speed))], axis=1)
    return Rows(np.full(len(speed), slot, np.int32), np.arange(len(speed)), values)


def test_a_start_and_a_stop_by_hand() -> None:
    nan = np.nan
    speed = [0, 2, 40, 70, 100, 120, nan, nan, 120, nan, nan, nan, 120, 3]
    found = followed(ModeTracker(MODES, CHANNELS), GapFiller(MAX_GAP), rows_of(speed))
    mode = [OFF, OFF, OTHER, OTHER, RUN, RUN, RUN, RUN, RUN, RUN, RUN, UNKNOWN, RUN, OFF]
    assert found[:, 0].tolist() == mode
    assert found[:, 1].tolist() == [-1, -1, OFF, OFF, *[-1] * 10]
    assert found[:, 2].tolist() == [0, 1, 0, 1, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0]
    assert found[:, 3].tolist() == [1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("speed", "flow", "mode"),
    [
        (120.0, 0.0, RUN),
        (120.0, 60.0, OTHER),
        (120.0, np.nan, UNKNOWN),
        (np.nan, 60.0, UNKNOWN),
        (50.0, np.nan, OTHER),
        (5.0, np.nan, OFF),
        (np.nan, np.nan, UNKNOWN),
    ],
)
def test_an_unknown_value_matters_only_where_it_leaves_the_mode_open(
    speed: float, flow: float, mode: int
) -> None:
    rows = Rows(np.zeros(1, np.int32), np.zeros(1, np.int64), np.array([[speed, flow]]))
    assert followed(ModeTracker(MODES, CHANNELS), GapFiller(MAX_GAP), rows)[0, 0] == mode


def by_a_loop(rows: Rows) -> NDArray[np.int32]:
    """The modes of one series, row by row, by the words of docs/context.md."""
    found, mode, known, left, age, unknown, before = [], UNKNOWN, UNKNOWN, UNKNOWN, 0, 0, None
    waits = 0
    for row, (speed, flow) in zip(rows.row.tolist(), rows.values.tolist(), strict=True):
        gap = 0 if before is None else row - before - 1
        missing = [(np.nan, np.nan)] * (gap if gap <= MAX_GAP else 0)
        if before is None or gap > MAX_GAP:
            mode, known, left, age, unknown = UNKNOWN, UNKNOWN, UNKNOWN, -1, 0
            waits = 0
        before = row
        for one, other in [*missing, (speed, flow)]:
            asked = OTHER
            if np.isnan(one):
                asked = UNKNOWN
            elif one <= 5:
                asked = OFF
            elif one >= 100 and not abs(other) > 50:
                asked = UNKNOWN if np.isnan(other) else RUN
            unknown = unknown + 1 if asked == UNKNOWN else 0
            known = known if asked == UNKNOWN else asked
            now = known if unknown <= MODES.hold_rows else UNKNOWN
            if now != mode:
                left, age = (mode if now == OTHER else UNKNOWN), 0
            else:
                age += 1
            mode = now
            waits = 0 if age >= {OFF: 2, RUN: 3, OTHER: 4, UNKNOWN: 2}[mode] else waits + 1
            found.append((mode, left if mode == OTHER else UNKNOWN, age, waits))
    return np.array(found, np.int32)


@st.composite
def machines(draw: st.DrawFn) -> Rows:
    """Rows of one series: stays on levels, ramps, unknown values, short and long gaps."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num = draw(st.integers(1, 120))
    level = rng.choice([0.0, 50.0, 120.0], num)[np.cumsum(rng.random(num) < 0.2) % num]
    values = np.stack([level, rng.choice([0.0, 60.0], num, p=[0.9, 0.1])], axis=1)
    values[rng.random((num, 2)) < draw(st.sampled_from([0.0, 0.1, 0.5]))] = np.nan
    row = np.cumsum(rng.choice([1, 1, 1, 1, 1, 2, 4, 5, 9], num))
    return Rows(np.zeros(num, np.int32), row, values)


@given(rows=machines(), data=st.data())
def test_the_modes_are_those_of_a_loop_whatever_the_cut(rows: Rows, data: st.DataObject) -> None:
    tracker, filler = ModeTracker(MODES, CHANNELS), GapFiller(MAX_GAP)
    cuts = data.draw(cuts_of(len(rows)))
    parts = [
        followed(tracker, filler, Rows(rows.slot[a:b], rows.row[a:b], rows.values[a:b]))
        for a, b in itertools.pairwise(cuts)
        if a < b
    ]
    assert np.concatenate(parts).tolist() == by_a_loop(rows).tolist()


def test_rows_are_judged_as_their_mode_says() -> None:
    """By hand: 4 rows between off and running are a transition, more are overdue; rows settle."""
    rules = ModeRules(MODES, CHANNELS, window=4)
    mode = np.array([OFF, OFF, OTHER, OTHER, OTHER, OTHER, OTHER, RUN, RUN, RUN, RUN, UNKNOWN], np.int32)
    left = np.array([-1, -1, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1], np.int32)
    age = np.array([1, 2, 0, 1, 2, 3, 4, 0, 2, 3, 7, 9], np.int32)
    rows = RowModes(mode, left, age, age)
    assert rules.is_transition(rows).tolist() == [
        True,
        False,
        *[True] * 4,
        False,
        True,
        True,
        False,
        False,
        False,
    ]
    assert rules.is_idle(rows).tolist() == [True, True, *[False] * 10]
    assert rules.factors(rows).tolist() == [*[1.0] * 10, 0.5, 1.0]
    spoken = rules.speak(rows)
    assert spoken.kind == Kind.MODE
    assert np.flatnonzero(spoken.paged).tolist() == [6]
    assert spoken.cumulative[6] == pytest.approx(1.25)
    assert spoken.blame is not None
    assert spoken.blame[6].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("settle", [0, 5, 30])
@pytest.mark.parametrize("other", ["off", "other"])
@pytest.mark.parametrize("spread", [0.5, 1.0, 3.0])
def test_a_machine_that_hovers_at_a_bound_is_judged_again(other: str, settle: int, spread: float) -> None:
    rng = np.random.default_rng(settle)
    off = Condition("speed", None, 100.0 if other == "off" else 30.0)
    usual = 0 if other == "off" else 20
    low = Mode("off", (off,), judge=(), usual_rows=usual)
    run = Mode("run", (Condition("speed", 100.0),), settle_rows=settle, usual_rows=usual)
    modes = Modes((low, run), passing_rows=usual)
    speed = np.concatenate([rng.normal(150, 2, 500), rng.normal(100.2, spread, 1500)])
    tracker, rules = ModeTracker(modes, CHANNELS), ModeRules(modes, CHANNELS, window=16)
    rows = RowModes.of(followed(tracker, GapFiller(MAX_GAP), rows_of(speed.tolist())))
    judged = ~rules.unjudged(rows)[:, 1]
    assert judged[200:500].all()
    late = np.arange(2000) >= 1000
    assert judged[late & (rows.mode == RUN)].mean() > (0.99 if settle == 30 else 0.1)
    spoken = rules.speak(rows).paged
    assert not spoken[:500].any()
    assert spoken[late].any() == (usual > 0)


def test_a_change_after_it_has_settled_is_a_transition_as_ever() -> None:
    """Each cycle is shorter than the patience of three times the longest transition."""
    speed = ([0.0] * 12 + [50.0] * 3 + [120.0] * 8 + [50.0] * 3) * 20
    rules = ModeRules(MODES, CHANNELS, window=4)
    rows = RowModes.of(followed(ModeTracker(MODES, CHANNELS), GapFiller(MAX_GAP), rows_of(speed)))
    expected = np.array(([True] * 2 + [False] * 10 + [True] * 3 + [True] * 3 + [False] * 5 + [True] * 3) * 20)
    assert rules.is_transition(rows).tolist() == expected.tolist()
    assert not rules.speak(rows).paged.any()


def with_modes(artifact: Artifact, **changes: object) -> Artifact:
    """The artifact with modes of its first channel, whose values are small whole numbers."""
    modes = Modes(
        (
            Mode("low", (Condition("flow", None, -2.0),), judge=("pressure",), usual_rows=2, passages=5),
            Mode("high", (Condition("flow", 1.0),), settle_rows=2, steady=0.7, fresh=1.3),
        ),
        hold_rows=2,
        passing_rows=3,
    )
    return replace(artifact, spec=replace(artifact.spec, modes=replace(modes, **changes)))


KINDS = [
    {},
    {"scoring": Scoring(delay=5), "more": SHORT, "flatline_rows": 5},
    {"threshold": 1.2, "limit": FOLLOWING, "scoring": Scoring(delay=2), "stride": 2, "has_reference": True},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(max_examples=10)
@given(data=st.data(), readings=streams(max_rows=200))
def test_any_cut_and_any_restart_give_the_same(kind: dict, data: st.DataObject, readings: object) -> None:
    artifact = with_modes(make_artifact(**kind, interval_ns=INTERVAL_NS))
    expected = feed(engine_of(artifact), readings, [0, len(readings)])
    cuts = data.draw(cuts_of(len(readings)))
    assert feed(engine_of(artifact), readings, cuts) == expected
    engine, results = engine_of(artifact), []
    for start, stop in itertools.pairwise(cuts):
        results.append(engine.step(part(readings, start, stop)))
        known = engine._parts.series.known()
        states = [decode_state(state.name, encode_state(state, 0)) for state in engine.save(known)]
        engine = engine_of(artifact)
        engine.restore([found[0] for found in states if found is not None], 0, None)
    assert outcome([*results, engine.flush()]) == expected


def test_modes_in_which_all_is_judged_alike_change_nothing() -> None:
    rng = np.random.default_rng(0)
    readings = readings_of(np.arange(600) % 3, np.arange(600) // 3 * INTERVAL_NS, rng.normal(0, 1, (600, 2)))
    plain = make_artifact(interval_ns=INTERVAL_NS, has_reference=True)
    modes = Modes((Mode("low", (Condition("flow", None, 0.0),)),))
    marked = replace(plain, spec=replace(plain.spec, modes=modes))
    expected, found = (engine_of(one).step(readings).verdicts for one in (plain, marked))
    for name in ("score", "state", "cumulative", "contribution", "expected"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()
    assert set(expected.mode.tolist()) == {-1}
    assert set(found.mode.tolist()) == {0, 1}


def verdicts_of(speed: list[float], **changes: object) -> tuple[object, object]:
    artifact = with_modes(make_artifact(), **changes)
    values = np.stack([speed, np.sin(np.arange(len(speed)))], axis=1)
    num = np.arange(len(speed))
    result = engine_of(artifact).step(readings_of(np.zeros(len(speed), int), num * 10**9, values))
    return result.verdicts, result.incidents


def test_a_passage_that_takes_too_long_opens_an_incident_about_it() -> None:
    verdicts, incidents = verdicts_of([-3.0] * 20 + [0.0] * 8 + [2.0] * 30)
    state = [State(one).label for one in verdicts.state.tolist()]
    assert state[20:22] == ["transition"] * 2
    assert set(state[22:28]) == {"anomalous"}
    assert state[28:30] == ["transition"] * 2
    opened = next(event.incident for event in incidents if event.incident.reason == "mode")
    assert opened.passage is not None
    assert (opened.passage.left, opened.passage.usual_ns) == ("low", 2 * 10**9)
    assert opened.start_ns == 22 * 10**9
    assert opened.channels[0].name == "flow"


def test_a_channel_that_is_not_judged_cannot_raise_the_score() -> None:
    calm, _ = verdicts_of([-3.0] * 40)
    wild, _ = verdicts_of([-3.0 - 50.0 * (at % 3) for at in range(40)])
    assert wild.score[20:].tobytes() == calm.score[20:].tobytes()
    assert wild.actual[22, 0] < -50
    assert np.isnan(wild.contribution[20:, 0]).all()


def test_nothing_judged_is_idle_and_no_score() -> None:
    modes = (Mode("low", (Condition("flow", None, -2.0),), judge=()),)
    verdicts, incidents = verdicts_of([-3.0] * 40, modes=modes, passing_rows=0)
    assert {State(one).label for one in verdicts.state.tolist()} <= {"idle"}
    assert np.isnan(verdicts.score).all()
    assert not incidents


@pytest.mark.parametrize(
    ("modes", "words"),
    [
        (Modes(()), "0 modes"),
        (Modes((Mode("a", (Condition("sped", 1.0),)),)), "no such channel"),
        (Modes((Mode("a", (Condition("speed"),)),)), "needs a lower or an upper bound"),
        (Modes((Mode("a", (Condition("speed", 2.0, 1.0),)),)), "the lower one first"),
        (Modes((Mode("a", ()),)), "no condition"),
        (Modes((Mode("other", (Condition("speed", 1.0),)),)), "name of its own"),
        (Modes((Mode("a", (Condition("speed", 1.0),), judge=("x*",)),)), "no channel"),
        (Modes((Mode("a", (Condition("speed", 1.0),), steady=0.0),)), "factors"),
    ],
)
def test_modes_that_cannot_work_are_refused(modes: Modes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_modes(modes, CHANNELS)
