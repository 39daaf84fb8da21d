"""Decisions of people in the stream: they take effect once, at a row that no cut and no restart moves."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.records import Readings
from detector.artifact.spec import Scoring
from detector.engine.engine import Engine, EngineOptions, StepResult
from detector.engine.snapshot import decode_state, encode_state
from detector.incidents.decision import Applied, Decision
from detector.incidents.incident import IncidentEvent, incident_id
from detector.incidents.rules import ChannelRule, IncidentRules
from tests.support.artifacts import make_artifact
from tests.support.strategies import INTERVAL_NS, NAMES, cuts_of, part, readings_of

OFFER = IncidentRules(for_rows=2, of_rows=3, quiet_rows=2, lasting_after_ns=12 * INTERVAL_NS)
LEARN = dataclasses.replace(OFFER, on_lasting="learn", lasting_after_ns=20 * INTERVAL_NS)
MIXED = dataclasses.replace(OFFER, channels={"fl*": ChannelRule(on_lasting="learn"), "p*": ChannelRule()})
RULES = [OFFER, LEARN, MIXED]
KINDS = [{}, {"scoring": Scoring(delay=3)}, {"scoring": Scoring(delay=2), "more": (("linear", 4),)}]


def engine_of(kind: dict, rules: IncidentRules = OFFER) -> Engine:
    artifact = make_artifact(**kind, threshold=2.5, interval_ns=INTERVAL_NS)
    return Engine(artifact, EngineOptions(rules=rules))


@st.composite
def levels(draw: st.DrawFn, num: int = 180) -> Readings:
    """Three series of quiet noise with shifts of level that last, and short gaps."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    series = np.arange(num) % 3
    turns = rng.random(num) < 0.04
    level = np.column_stack([np.cumsum(turns[at::3]) % 2 for at in range(3)]).ravel() * rng.choice([5.0, -6.0])
    values = rng.normal(0, 0.3, (num, 2))
    values[:, 0] += level
    steps = np.arange(num) // 3 + 2 * (np.arange(num) // 90)
    return readings_of(series, 1_000 + steps * INTERVAL_NS, values)


def outcome(results: Iterable[StepResult]) -> tuple[list, list, list]:
    """Verdicts with the exact bits of their scores, incident events and decisions, in a canonical order."""
    rows, events, decisions = [], [], []
    for result in results:
        v = result.verdicts
        rows += [
            (v.names[v.series[i]], int(v.timestamp_ns[i]), v.score[i].hex(), v.expected[i].tobytes())
            for i in range(len(v))
        ]
        events += [(event.incident.series, event.at_ns, repr(event)) for event in result.incidents]
        decisions += [(one.decision.series, one.at_ns, repr(one)) for one in result.decisions]
    return sorted(rows), sorted(events), sorted(decisions)


def feed(engine: Engine, readings: Readings, cuts: Sequence[int]) -> list[StepResult]:
    results = [engine.step(part(readings, start, stop)) for start, stop in itertools.pairwise(cuts)]
    return [*results, engine.flush()]


def numbered(decisions: Iterable[Decision]) -> list[tuple[int, Decision]]:
    return list(enumerate(decisions))


@st.composite
def decisions_about(draw: st.DrawFn, events: Sequence[IncidentEvent]) -> list[Decision]:
    """Some decisions about incidents of these events, and mutes, at any time of the stream."""
    opened = [event for event in events if event.kind == "opened"]
    found = []
    for number in range(draw(st.integers(1, 6))):
        action = draw(st.sampled_from(["accept", "accept", "reject", "mute"]))
        at_ns = 1_000 + draw(st.integers(0, 100)) * INTERVAL_NS + draw(st.integers(0, 9))
        if action == "mute" or not opened:
            series, until_ns = draw(st.sampled_from(NAMES)), at_ns + draw(st.integers(0, 40)) * INTERVAL_NS
            found.append(Decision(f"d{number}", "mute", series, at_ns, until_ns=until_ns))
        else:
            event = draw(st.sampled_from(opened))
            after_ns = event.at_ns + draw(st.integers(1, 25)) * INTERVAL_NS
            channels = draw(st.sampled_from([(), ("flow",), ("flow", "pressure")]))
            one = Decision(f"d{number}", action, event.incident.series, after_ns, event.incident.id, channels)
            found.append(one)
    return found


@pytest.mark.parametrize("rules", RULES, ids=["offer", "learn", "mixed"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(max_examples=5)
@given(data=st.data(), readings=levels())
def test_any_cut_with_decisions_gives_bit_equal_verdicts_and_events(
    kind: dict, rules: IncidentRules, data: st.DataObject, readings: Readings
) -> None:
    whole, pieces, plain = (engine_of(kind, rules) for _ in range(3))
    events = [event for result in feed(plain, readings, [0, len(readings)]) for event in result.incidents]
    decisions = data.draw(decisions_about(events))
    whole.decide(numbered(decisions))
    pieces.decide(numbered(decisions))
    expected = outcome(feed(whole, readings, [0, len(readings)]))
    assert outcome(feed(pieces, readings, data.draw(cuts_of(len(readings))))) == expected


@pytest.mark.parametrize("rules", RULES, ids=["offer", "learn", "mixed"])
@settings(max_examples=5)
@given(data=st.data(), readings=levels())
def test_a_restart_takes_every_decision_in_exactly_once(
    rules: IncidentRules, data: st.DataObject, readings: Readings
) -> None:
    """The series is saved at one cut; another engine reads all decisions again and replays from there."""
    kind = data.draw(st.sampled_from(KINDS))
    plain, whole = engine_of(kind, rules), engine_of(kind, rules)
    events = [event for result in feed(plain, readings, [0, len(readings)]) for event in result.incidents]
    decisions = numbered(data.draw(decisions_about(events)))
    whole.decide(decisions)
    expected = outcome(feed(whole, readings, [0, len(readings)]))
    saved_at, published = sorted((data.draw(st.integers(0, 180)), data.draw(st.integers(0, 180))))
    first, second = engine_of(kind, rules), engine_of(kind, rules)
    first.decide(decisions)
    results = [first.step(part(readings, 0, saved_at))]
    states = [decode_state(one.name, encode_state(one, 0)) for one in first.save(first.slots_of(NAMES))]
    results.append(first.step(part(readings, saved_at, published)))
    for number in range(len(NAMES)):
        mine = [found[0] for found in states if found is not None and found[0].name == NAMES[number]]
        second.restore(mine, number, None)
    second.decide(decisions)
    second.step_in_silence(part(readings, saved_at, published))
    results += [second.step(part(readings, published, len(readings))), second.flush()]
    assert outcome(results) == expected


def shifted(shift: float, back_at: int | None = None, num: int = 400, at: int = 200) -> Readings:
    """One series: noise, then `flow` is `shift` higher from row `at` on, and normal again from `back_at`."""
    rng = np.random.default_rng(5)
    values = rng.normal(0, 0.3, (num, 2))
    values[at:back_at, 0] += shift
    return readings_of(np.zeros(num, int), 1_000 + np.arange(num) * INTERVAL_NS, values)


def accepted_at(row: int, start_row: int = 200, action: str = "accept", **more: object) -> Decision:
    start_ns = 1_000 + start_row * INTERVAL_NS
    name = NAMES[0]
    at_ns = 1_000 + row * INTERVAL_NS
    return Decision("d", action, name, at_ns, incident_id("pump", name, start_ns), **more)


def run(readings: Readings, *decisions: Decision, rules: IncidentRules = OFFER) -> list[StepResult]:
    engine = engine_of({}, rules)
    engine.decide(numbered(decisions))
    return feed(engine, readings, [0, len(readings)])


def kinds(results: Iterable[StepResult]) -> list[str]:
    return [event.kind for result in results for event in result.incidents]


def applied(results: Iterable[StepResult]) -> list[Applied]:
    return [one for result in results for one in result.decisions]


@pytest.mark.parametrize("shift", [4.0, -7.0, 12.0])
def test_after_an_acceptance_the_old_level_is_what_is_unusual(shift: float) -> None:
    results = run(shifted(shift, back_at=330), accepted_at(260))
    events = [event for result in results for event in result.incidents]
    assert [event.kind for event in events][:4] == ["opened", "escalated", "lasting", "accepted"]
    over = next(event for event in events if event.kind == "resolved").incident
    assert (over.ending, over.state) == ("accepted", "resolved")
    (one,) = applied(results)
    (learnt,) = one.learnt
    assert learnt.name == "flow" and learnt.old == pytest.approx(0, abs=0.1)
    assert learnt.new == pytest.approx(shift, abs=0.15)
    v = results[0].verdicts
    row = (v.timestamp_ns - 1_000) // INTERVAL_NS
    assert v.score[(row >= 260) & (row < 330)].max() < 1, "the accepted level is normal"
    assert v.score[(row >= 332) & (row < 340)].min() > 1, "the old level is not"
    again = [event for event in events if event.kind == "opened"][1].incident
    assert again.start_ns >= 1_000 + 330 * INTERVAL_NS
    assert again.channels[0].expected == pytest.approx(shift, abs=1.5)
