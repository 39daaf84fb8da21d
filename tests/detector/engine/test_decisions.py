"""Decisions of people in the stream: they take effect once, at a row that no cut and no restart moves."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.records import Readings
from detector.artifact.spec import Scoring
from detector.delivery.decision_records import decode_decision
from detector.delivery.messages import MessageEncoder, Topics
from detector.engine.decided.decisions import Decisions
from detector.engine.engine import Engine, EngineOptions, StepResult
from detector.engine.snapshot import decode_state, encode_state
from detector.incidents.decision import OPINIONS, Applied, Decision
from detector.incidents.incident import Incident, IncidentEvent
from detector.incidents.rules import ChannelRule, IncidentRules
from detector.notify.notice import parse
from detector.scoring.context.evidences import Evidences
from tests.support.artifacts import make_artifact
from tests.support.strategies import INTERVAL_NS, NAMES, cuts_of, part, readings_of

OFFER = IncidentRules(for_rows=2, of_rows=3, quiet_rows=2, lasting_after_ns=12 * INTERVAL_NS)
LEARN = dataclasses.replace(OFFER, on_lasting="learn", lasting_after_ns=20 * INTERVAL_NS)
MIXED = dataclasses.replace(OFFER, channels={"fl*": ChannelRule(on_lasting="learn"), "p*": ChannelRule()})
RULES = [OFFER, LEARN, MIXED]
LATER = {"scoring": Scoring(delay=2), "more": (("linear", 4),)}
ENCODER = MessageEncoder(Topics.of("out"), "pump", "1", ("flow", "pressure"))
KINDS: list[dict[str, Any]] = [{"family": "linear"}, {"family": "linear", **LATER}]


def engine_of(kind: dict[str, Any], rules: IncidentRules = OFFER) -> Engine:
    """An engine whose model expects the centre of every channel, whatever it sees."""
    artifact = make_artifact(**kind, threshold=1.0, interval_ns=INTERVAL_NS)
    with torch.no_grad():
        for weights in artifact.module.parameters():
            weights.zero_()
    return Engine(artifact, EngineOptions(rules=rules))


@st.composite
def levels(draw: st.DrawFn, num: int = 180) -> Readings:
    """Three series of quiet noise with shifts of level that last, and short gaps."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    series = np.arange(num) % 3
    turns = rng.random(num) < 0.04
    level = np.column_stack([np.cumsum(turns[at::3]) % 2 for at in range(3)]).ravel() * rng.choice(
        [5.0, -6.0]
    )
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


@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(max_examples=6)
@given(data=st.data(), rules=st.sampled_from(RULES), readings=levels())
def test_any_cut_with_decisions_gives_bit_equal_verdicts_and_events(
    kind: dict[str, Any], data: st.DataObject, rules: IncidentRules, readings: Readings
) -> None:
    whole, pieces, plain = (engine_of(kind, rules) for _ in range(3))
    events = [event for result in feed(plain, readings, [0, len(readings)]) for event in result.incidents]
    decisions = data.draw(decisions_about(events))
    whole.decide(numbered(decisions))
    pieces.decide(numbered(decisions))
    expected = outcome(feed(whole, readings, [0, len(readings)]))
    assert outcome(feed(pieces, readings, data.draw(cuts_of(len(readings))))) == expected


@settings(max_examples=10)
@given(data=st.data(), rules=st.sampled_from(RULES), readings=levels())
def test_a_restart_takes_every_decision_in_exactly_once(
    data: st.DataObject, rules: IncidentRules, readings: Readings
) -> None:
    """The series is saved at one cut; another engine reads all decisions again and replays from there."""
    kind = data.draw(st.sampled_from(KINDS))
    plain, whole = engine_of(kind, rules), engine_of(kind, rules)
    events = [event for result in feed(plain, readings, [0, len(readings)]) for event in result.incidents]
    decisions = numbered(data.draw(decisions_about(events)))
    whole.decide(decisions)
    expected = outcome(feed(whole, readings, [0, len(readings)]))
    saved_at, published = sorted((data.draw(st.integers(3, 180)), data.draw(st.integers(3, 180))))
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


@st.composite
def with_opinions(draw: st.DrawFn, decisions: list[Decision]) -> list[Decision]:
    """The same decisions with opinions between them, about incidents that exist and that do not."""
    found = list(decisions)
    for number in range(draw(st.integers(1, 8))):
        one = draw(st.sampled_from([*decisions, Decision("", "mute", NAMES[0], 1_000, "no such")]))
        at_ns = one.at_ns + draw(st.integers(-20, 20)) * INTERVAL_NS
        action = draw(st.sampled_from(OPINIONS))
        said = Decision(f"o{number}", action, one.series, at_ns, one.incident or "none", who="ada")
        found.insert(draw(st.integers(0, len(found))), said)
    return found


@settings(max_examples=12)
@given(data=st.data(), rules=st.sampled_from(RULES), readings=levels())
def test_opinions_among_decisions_change_nothing_not_even_what_is_saved(
    data: st.DataObject, rules: IncidentRules, readings: Readings
) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    plain, without, with_them = (engine_of(kind, rules) for _ in range(3))
    events = [event for result in feed(plain, readings, [0, len(readings)]) for event in result.incidents]
    everything = numbered(data.draw(with_opinions(data.draw(decisions_about(events)))))
    with_them.decide(everything)
    without.decide([(number, one) for number, one in everything if one.action not in OPINIONS])
    cuts = data.draw(cuts_of(len(readings)))
    assert outcome(feed(with_them, readings, cuts)) == outcome(feed(without, readings, cuts))
    first, second = (engine.save(engine.slots_of(NAMES)) for engine in (with_them, without))
    assert [encode_state(one, 0) for one in first] == [encode_state(one, 0) for one in second]


def shifted(shift: float, back_at: int | None = None, num: int = 400, at: int = 200) -> Readings:
    """One series: noise, then `flow` is `shift` higher from row `at` on, and normal again from `back_at`."""
    rng = np.random.default_rng(5)
    values = rng.normal(0, 0.3, (num, 2))
    values[at:back_at, 0] += shift
    return readings_of(np.zeros(num, int), 1_000 + np.arange(num) * INTERVAL_NS, values)


def opened_in(readings: Readings) -> Incident:
    """The first incident that opens by itself."""
    events = [
        event for result in feed(engine_of({}), readings, [0, len(readings)]) for event in result.incidents
    ]
    return next(event.incident for event in events if event.kind == "opened")


def about(readings: Readings, action: str, row: int, **more: object) -> Decision:
    """A decision about the first incident that applies from a row on."""
    return Decision("d", action, NAMES[0], time_of(row), opened_in(readings).id, **more)


def time_of(row: int) -> int:
    return 1_000 + row * INTERVAL_NS


def run(readings: Readings, *decisions: Decision, rules: IncidentRules = OFFER) -> list[StepResult]:
    engine = engine_of({}, rules)
    engine.decide(numbered(decisions))
    return feed(engine, readings, [0, len(readings)])


def changes(results: Iterable[StepResult]) -> list[tuple[str, int]]:
    """Kinds of events, each with its row."""
    events = [event for result in results for event in result.incidents]
    return [(event.kind, (event.at_ns - 1_000) // INTERVAL_NS) for event in events]


def kinds(results: Iterable[StepResult]) -> list[str]:
    return [kind for kind, _ in changes(results)]


def applied(results: Iterable[StepResult]) -> list[Applied]:
    return [one for result in results for one in result.decisions]


def scores(results: Sequence[StepResult], start: int, stop: int) -> np.ndarray:
    v = results[0].verdicts
    row = (v.timestamp_ns - 1_000) // INTERVAL_NS
    return v.score[(row >= start) & (row < stop)]


@pytest.mark.parametrize("shift", [4.0, -7.0, 12.0])
def test_after_an_acceptance_the_old_level_is_what_is_unusual(shift: float) -> None:
    readings = shifted(shift, back_at=330)
    results = run(readings, about(readings, "accept", 260))
    events = [event for result in results for event in result.incidents]
    over = next(event for event in events if event.kind == "resolved")
    assert (over.incident.ending, over.incident.state, over.at_ns) == ("accepted", "resolved", time_of(260))
    (one,) = applied(results)
    (learnt,) = one.learnt
    assert (learnt.name, one.at_ns, one.by) == ("flow", time_of(260), "person")
    assert learnt.old == pytest.approx(0, abs=0.1)
    assert learnt.new == pytest.approx(shift, abs=0.15)
    assert scores(results, 260, 330).max() < 1, "the accepted level is normal"
    assert scores(results, 338, 400).min() > 1, "the old level is not"
    again = [event.incident for event in events if event.kind == "opened"][1]
    assert again.start_ns >= time_of(330)
    assert again.channels[0].expected == pytest.approx(shift, abs=0.2)


def test_without_a_decision_a_lasting_fault_stays_open_and_is_offered_once() -> None:
    readings = shifted(5.0, back_at=330)
    found = changes(run(readings))
    assert [kind for kind, _ in found if kind != "escalated"] == ["opened", "lasting", "resolved"]
    rows = dict(found)
    assert rows["lasting"] == (opened_in(readings).start_ns - 1_000) // INTERVAL_NS + 12
    assert rows["resolved"] >= 330


def test_hold_offers_nothing_and_learn_says_what_it_learnt() -> None:
    readings = shifted(5.0)
    held = run(readings, rules=dataclasses.replace(OFFER, on_lasting="hold"))
    assert set(kinds(held)) <= {"opened", "escalated"}
    results = run(readings, rules=LEARN)
    (event,) = (one for result in results for one in result.incidents if one.kind == "accepted")
    decision = event.incident.decision
    assert decision is not None
    assert decision.by == "policy"
    assert decision.learnt[0].new == pytest.approx(5.0, abs=0.15)
    assert event.at_ns - event.incident.start_ns >= LEARN.lasting_after_ns
    assert scores(results, (event.at_ns - 1_000) // INTERVAL_NS, 400).max() < 1


@pytest.mark.parametrize("policies", [("learn", "hold"), ("offer", "learn")])
def test_the_policy_of_the_channel_to_blame_counts(policies: tuple[str, str]) -> None:
    """`flow` is to blame; the policy of `pressure` is another one."""
    own, other = policies
    channels = {"fl*": ChannelRule(on_lasting=own), "pressure": ChannelRule(on_lasting=other)}
    found = kinds(run(shifted(5.0), rules=dataclasses.replace(LEARN, channels=channels)))
    assert ("accepted" in found, "lasting" in found) == (own == "learn", own == "offer")


def test_a_rejected_incident_is_never_offered_nor_learnt_and_ends_when_it_is_over() -> None:
    readings = shifted(5.0, back_at=330)
    for rules in (OFFER, LEARN):
        results = run(readings, about(readings, "reject", 206), rules=rules)
        assert [kind for kind in kinds(results) if kind != "escalated"] == ["opened", "rejected", "resolved"]
        over = results[0].incidents[-1].incident
        assert over.ending == "over"
        assert over.is_rejected


def test_a_muted_series_opens_nothing_until_the_mute_ends() -> None:
    readings = shifted(5.0)
    mute = Decision("m", "mute", NAMES[0], time_of(150), until_ns=time_of(300))
    results = run(readings, mute)
    assert changes(results)[0] == ("opened", 300)
    (one,) = applied(results)
    assert one.at_ns == time_of(150)


def test_a_mute_keeps_an_open_incident_and_pages_it_no_more() -> None:
    readings = shifted(3.0)
    readings.values[260:, 0] += 30.0  # it gets worse
    plain, mute = run(readings), Decision("m", "mute", NAMES[0], time_of(205), until_ns=time_of(900))
    assert "escalated" in kinds(plain)
    assert "lasting" in kinds(plain)
    assert kinds(run(readings, mute)) == ["opened"]


@pytest.mark.parametrize("action", ["accept", "reject"])
def test_a_decision_about_an_incident_that_is_over_is_ignored(action: str) -> None:
    readings = shifted(5.0, back_at=260)
    results = run(readings, about(readings, action, 350))
    assert results[0].incidents == run(readings)[0].incidents
    assert [(one.outcome, one.reason) for one in applied(results)] == [
        ("ignored", "its incident is not open")
    ]


@pytest.mark.parametrize("channels", [("flwo",), ("flwo", "preessure")])
@pytest.mark.parametrize("row", [210, 320])
def test_an_acceptance_that_moves_no_level_changes_nothing(channels: tuple[str, ...], row: int) -> None:
    readings = shifted(5.0)
    results = run(readings, about(readings, "accept", row, channels=channels))
    plain = run(readings)
    assert changes(results) == changes(plain)
    assert scores(results, 0, 400).tobytes() == scores(plain, 0, 400).tobytes()
    assert [(one.outcome, one.reason) for one in applied(results)] == [("ignored", "no level changed")]


def test_what_cannot_be_learnt_is_offered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    readings, unknown = shifted(5.0), lambda track, num: np.full(num, np.nan)
    monkeypatch.setattr("detector.engine.decided.acceptance.level_of", unknown)
    monkeypatch.setattr(Evidences, "departed", lambda self, slot: np.full(2, np.nan))
    found = kinds(run(readings, rules=LEARN))
    assert [kind for kind in found if kind != "escalated"] == ["opened", "lasting"]


def test_a_second_rejection_says_so() -> None:
    readings = shifted(5.0)
    first = about(readings, "reject", 230)
    found = applied(run(readings, first, dataclasses.replace(first, id="again", at_ns=time_of(240))))
    assert [one.reason for one in found] == [None, "it was rejected before"]


@pytest.mark.parametrize("until", [150, 160])
def test_a_mute_that_is_over_when_it_comes_is_expired_and_one_in_force_is_ended(until: int) -> None:
    readings = shifted(5.0)
    late = Decision("late", "mute", NAMES[0], time_of(150), until_ns=time_of(until))
    live = engine_of({})
    results = [live.step(part(readings, 0, 191))]
    live.decide([(0, late)])
    results.append(live.step(part(readings, 191, 193)))
    live.decide([(1, Decision("long", "mute", NAMES[0], time_of(0), until_ns=time_of(900)))])
    results.append(live.step(part(readings, 193, 260)))
    assert "opened" not in kinds(results)
    live.decide([(2, dataclasses.replace(late, id="end"))])
    results += [live.step(part(readings, 260, 400)), live.flush()]
    assert [one.reason for one in applied(results)] == ["expired", None, None]
    assert changes(results)[0] == ("opened", 259)  # the row that was still open


def test_a_series_that_comes_later_than_decisions_about_it_publishes_none_of_them() -> None:
    readings = shifted(5.0)
    old = [
        Decision("a", "accept", NAMES[0], 5, "some incident"),
        Decision("b", "reject", NAMES[0], 6, "some incident"),
        Decision("c", "mute", NAMES[0], 7, until_ns=8),
    ]
    ahead = Decision("d", "mute", NAMES[0], 9, until_ns=time_of(300))
    results = run(readings, *old, ahead)
    found = {one.decision.id: one.reason for one in applied(results)}
    assert found == {**dict.fromkeys("abc", "older than the series"), "d": None}
    assert changes(results)[0] == ("opened", 300)
    told = [json.loads(one.value or b"") for one in ENCODER.decisions(tuple(applied(results)))]
    assert [one["decision"]["id"] for one in told] == ["d"]


def test_an_ignored_decision_is_a_message_with_its_reason_and_no_replay_repeats_it() -> None:
    readings = shifted(5.0, back_at=260)
    results = run(readings, about(readings, "accept", 350))
    (message,) = ENCODER.decisions(tuple(applied(results)))
    assert message.value is not None
    told = json.loads(message.value)
    assert (message.topic, told["event"], told["state"]) == ("out.alerts", "ignored", "ignored")
    assert told["reason"] == told["decision"]["reason"] == "its incident is not open"
    assert told["decision"]["outcome"] == "ignored"
    assert decode_decision(message.value) is None
    assert not parse(message.value).is_told


def test_series_of_other_processes_cost_nothing_and_mutes_that_are_over_are_not_kept() -> None:
    readings, decisions = shifted(5.0), Decisions()
    engine = engine_of({})
    engine._decisions = decisions
    strangers = [Decision(f"s{at}", "mute", f"other-{at}", 5, until_ns=10) for at in range(50)]
    mutes = [
        Decision(f"m{at}", "mute", NAMES[0], time_of(at), until_ns=time_of(at + 1)) for at in range(5, 195, 5)
    ]
    engine.decide(numbered([*strangers, *mutes[:20]]))
    taken = list(applied([engine.step(part(readings, 0, 150))]))
    assert not decisions.is_new
    engine.decide([(100 + at, one) for at, one in enumerate(mutes[20:])])
    taken += applied([engine.step(part(readings, 150, 200))])
    assert [one.decision.id for one in taken] == [one.id for one in mutes]
    assert len(decisions.given[NAMES[0]]) == len(mutes) - 20
    assert len(decisions.fresh) == len(strangers), "they wait for the process to get these series"


@pytest.mark.parametrize("late", [0, 7, 33])
def test_a_late_decision_replays_from_the_row_at_which_it_was_applied(late: int) -> None:
    """It arrives after its time; a replay that gets the row of its event gives the same results."""
    readings = shifted(6.0, back_at=330)
    decision = about(readings, "accept", 230)
    live = engine_of({})
    results = [live.step(part(readings, 0, 231 + late))]
    live.decide([(7, decision)])
    results += [live.step(part(readings, 231 + late, 400)), live.flush()]
    (one,) = applied(results)
    assert one.at_ns == time_of(230 + late)  # the row before is closed by the first reading after it
    replayed = run(readings, dataclasses.replace(decision, at_ns=one.at_ns))
    assert outcome(replayed)[:2] == outcome(results)[:2]


def test_the_same_topic_read_again_changes_nothing_and_a_new_topic_counts_again() -> None:
    readings = shifted(5.0)
    engine = engine_of({})
    mute = Decision("m", "mute", NAMES[0], time_of(10), until_ns=time_of(20))
    for source in (3, 3, 4):
        engine.decide([(0, mute)], source)
        engine.decide([(0, mute)], source)
    taken = applied(engine.step(part(readings, at, at + 50)) for at in range(0, 150, 50))
    assert len(taken) == 1
    engine.decide([(0, dataclasses.replace(mute, id="n"))], 5)
    assert [one.decision.id for one in engine.step(part(readings, 150, 200)).decisions] == ["n"]
