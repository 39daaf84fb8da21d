"""The incident rules on the engine: the same under any cut; without any the plain rule; valid ranges."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.records import Readings
from detector.artifact.spec import PageLimit
from detector.engine.engine import Engine, EngineOptions
from detector.incidents.decision import Decision
from detector.incidents.incident import IncidentEvent
from detector.incidents.rules import SUPPRESSIONS, ChannelRule, IncidentRules
from detector.scoring.verdicts import State
from tests.support.artifacts import make_artifact
from tests.support.strategies import (
    EVERY_RULE,
    INTERVAL_NS,
    NAMES,
    cuts_of,
    part,
    readings_of,
    restless,
    streams,
)
from tests.support.verdicts import incidents_with, verdicts


def engine_of(rules: IncidentRules, threshold: float = 0.8, limit: PageLimit | None = None) -> Engine:
    artifact = make_artifact(interval_ns=INTERVAL_NS, threshold=threshold, limit=limit)
    return Engine(artifact, EngineOptions(lateness_ns=2 * INTERVAL_NS, rules=rules))


def events_of(engine: Engine, readings: Readings, cuts: list[int]) -> dict[str, list[IncidentEvent]]:
    """What happened to each series, in its order."""
    parts = [engine.step(part(readings, start, stop)) for start, stop in pairwise(cuts)]
    found: dict[str, list[IncidentEvent]] = {name: [] for name in NAMES}
    for result in [*parts, engine.flush()]:
        for event in result.incidents:
            found[event.incident.series].append(event)
    return found


@settings(max_examples=12)
@given(data=st.data(), readings=st.one_of(streams(max_rows=150), st.just(restless(600))))
def test_with_every_rule_on_any_cut_gives_the_same_incidents_and_counts(
    data: st.DataObject, readings: Readings
) -> None:
    cuts = data.draw(cuts_of(len(readings)))
    whole, cut = engine_of(EVERY_RULE), engine_of(EVERY_RULE)
    expected = events_of(whole, readings, [0, len(readings)])
    assert repr(events_of(cut, readings, cuts)) == repr(expected)
    assert cut.counters.suppressed == whole.counters.suppressed


def test_the_property_is_not_empty_every_rule_holds_some_row_back() -> None:
    engine = engine_of(EVERY_RULE, threshold=1.5, limit=PageLimit(alarms_a_row=0.02, rise=1.4))
    readings = restless()
    engine.decide([(0, Decision("d", "mute", NAMES[0], 0, until_ns=int(readings.timestamp_ns[1_000])))])
    events = events_of(engine, readings, [0, len(readings)])
    assert {reason for reason in SUPPRESSIONS if engine.counters.suppressed[reason]} == set(SUPPRESSIONS)
    incidents = [event.incident for found in events.values() for event in found]
    assert {True, False} == {one.flapping for one in incidents}
    assert {"maintenance", "cooldown"} <= {rule for one in incidents for rule in one.held_by}


def test_replayed_rows_are_not_counted_as_suppressed_again() -> None:
    engine, readings = engine_of(EVERY_RULE), restless()
    engine.step_in_silence(part(readings, 0, 1500))
    assert set(engine.counters.suppressed.values()) == {0}
    engine.step(part(readings, 1500, 3000))
    assert engine.counters.suppressed["direction"] > 0


def plain(scores: list[float], for_rows: int, of_rows: int, quiet_rows: int) -> list[tuple[str, int, int]]:
    """The rule of m of n by itself, row by row: (what, row, first bad row)."""
    known: list[int] = []
    found, start, calm = [], -1, 0
    for row, score in enumerate(scores):
        if score != score:
            continue
        if start >= 0:
            calm = calm + 1 if score <= 0.8 else 0
            if calm == quiet_rows:
                found.append(("resolved", row, start))
                start, known = -1, []
            continue
        known = [*known, row][-of_rows:]
        bad = [one for one in known if scores[one] > 1]
        if len(bad) >= for_rows:
            start, calm = bad[0], 0
            found.append(("opened", row, start))
    return found


@given(
    scores=st.lists(st.sampled_from([0.1, 0.9, 1.5, float("nan")]), max_size=60),
    for_rows=st.integers(1, 3),
    more=st.integers(0, 2),
    quiet_rows=st.integers(1, 3),
    cut=st.integers(0, 60),
)
def test_without_further_rules_incidents_are_those_of_m_of_n_alone(
    scores: list[float], for_rows: int, more: int, quiet_rows: int, cut: int
) -> None:
    incidents = incidents_with(IncidentRules(for_rows, for_rows + more, quiet_rows=quiet_rows))
    rows = verdicts(scores)
    index = np.arange(len(rows))
    events = incidents.update(rows.take(index < cut)) + incidents.update(rows.take(index >= cut))
    row_ns = 10 * 10**9
    found = [(e.kind, e.at_ns // row_ns, e.incident.start_ns // row_ns) for e in events]
    assert found == plain(scores, for_rows, for_rows + more, quiet_rows)
    assert not any(event.incident.held_by or event.incident.flapping for event in events)
    assert set(incidents.suppressed.values()) == {0}


def with_flow(*values: float) -> Readings:
    num = len(values)
    cells = np.column_stack([values, np.zeros(num)])
    return readings_of(np.zeros(num, int), 1_000 + np.arange(num) * INTERVAL_NS, cells)


def test_a_valid_range_of_the_rules_replaces_that_of_the_model_bound_by_bound() -> None:
    engine = engine_of(IncidentRules(channels={"flow": ChannelRule(valid_min=0.0)}))
    states = engine.step(with_flow(1.0, -0.1, 0.0, 5.0, 0.0, 0.0)).verdicts.state.tolist()
    assert states[:3] == [State.WARMING, State.OUT_OF_RANGE, State.WARMING]
    incident = engine.open_incidents[0]
    assert (incident.reason, [one.name for one in incident.channels]) == ("out_of_range", ["flow"])


def test_other_rules_bring_their_valid_ranges_and_have_everything_saved() -> None:
    engine = engine_of(IncidentRules())
    engine.step(with_flow(9.0, 9.0, 9.0, 9.0, 9.0))
    engine.save(engine.changed().slot)
    engine.use_rules(IncidentRules(channels={"flow": ChannelRule(valid_max=8.0)}))
    assert engine.changed().urgent.tolist() == [True]
    later = with_flow(9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0)
    states = engine.step(part(later, 5, 10)).verdicts.state.tolist()
    assert set(states) == {State.OUT_OF_RANGE}


def test_rules_of_an_unknown_channel_leave_the_engine_as_it_was() -> None:
    engine = engine_of(IncidentRules(quiet_rows=3))
    with pytest.raises(ValueError, match="presure"):
        engine.use_rules(IncidentRules(channels={"presure": ChannelRule()}))
    assert engine.options.rules.quiet_rows == 3
