"""Open incidents whose evidence cannot be judged: they stay open, and say so."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.incidents.filters.maintenance import Maintenance, OneOff
from detector.incidents.incident import Incident, IncidentEvent, Passage
from detector.incidents.incidents import Incidents
from detector.incidents.rules import IncidentRules
from detector.scoring.kinds import Kind
from detector.scoring.verdicts import State, Verdicts
from tests.detector.incidents.test_lifecycle import CHANNELS, kinds, verdicts

NAN = float("nan")
GUILTY = 1
"""The channel that `verdicts` blames; the second has half of its contribution."""
MODES = ("off", "running", "other")


def incidents_with(quiet: int = 3, after_ns: int = 50, **rules: object) -> Incidents:
    """Rows are 10 apart, so `after_ns` 50 is five rows."""
    given = IncidentRules(quiet_rows=quiet, unjudged_after_ns=after_ns, **rules)  # type: ignore[arg-type]
    found = Incidents(given, "pump", "v1", CHANNELS, lambda _: np.full(4, 0.25))
    found.know_passages(lambda series, left: Passage("off", 20), MODES)
    return found


def blind(rows: Verdicts, span: slice, state: State, mode: int = -1) -> Verdicts:
    """The rows of the span are not judged, because of a state."""
    rows.state[span], rows.score[span], rows.mode[span] = state, NAN, mode
    rows.paged[span] = False
    rows.contribution[span] = NAN
    rows.expected[span] = NAN
    if state == State.GAP:
        rows.actual[span] = NAN
    return rows


def a_fault(num: int) -> Verdicts:
    """A bad row, then quiet ones."""
    return verdicts([1.5, *[0.1] * num])


def only(events: tuple[IncidentEvent, ...], kind: str) -> Incident:
    [one] = [event.incident for event in events if event.kind == kind]
    return one


@pytest.mark.parametrize(
    ("state", "mode", "why"),
    [(State.GAP, -1, "no_data"), (State.IDLE, 0, "mode"), (State.WARMING, -1, "warming")],
)
def test_an_incident_over_rows_that_are_not_judged_says_so_once(state: State, mode: int, why: str) -> None:
    rows = blind(a_fault(29), slice(1, 20), state, mode)
    events = incidents_with().update(rows)
    assert kinds(events) == [("opened", 0), ("unjudged", 50), ("judged", 200), ("resolved", 220)]
    unjudged = only(events, "unjudged").unjudged
    assert unjudged is not None
    assert (unjudged.since_ns, unjudged.why, unjudged.spell) == (0, why, 1)
    assert unjudged.mode == ("off" if why == "mode" else None)
    assert only(events, "judged").unjudged is None
    assert only(events, "resolved").unjudged is None


def test_rows_without_the_channels_to_blame_are_not_quiet() -> None:
    rows = a_fault(29)
    rows.actual[1:20, 1:3] = NAN
    events = incidents_with().update(rows)
    assert kinds(events) == [("opened", 0), ("unjudged", 50), ("judged", 200), ("resolved", 220)]
    assert only(events, "unjudged").unjudged.why == "no_channel"  # type: ignore[union-attr]


def test_rows_in_whose_mode_the_channels_to_blame_are_not_judged_are_not_quiet() -> None:
    rows = a_fault(29)
    rows.expected[1:20, 1:3], rows.mode[1:20] = NAN, 0
    events = incidents_with().update(rows)
    assert kinds(events) == [("opened", 0), ("unjudged", 50), ("judged", 200), ("resolved", 220)]
    assert only(events, "unjudged").unjudged.mode == "off"  # type: ignore[union-attr]


def test_without_one_of_two_channels_to_blame_the_other_tells() -> None:
    rows = a_fault(29)
    rows.actual[1:20, GUILTY] = NAN
    assert kinds(incidents_with().update(rows)) == [("opened", 0), ("resolved", 30)]


def test_without_innocent_channels_nothing_changes() -> None:
    rows = a_fault(29)
    rows.actual[1:20, [0, 3]] = NAN
    assert kinds(incidents_with().update(rows)) == [("opened", 0), ("resolved", 30)]


def test_short_spells_are_not_told() -> None:
    rows = a_fault(29)
    for start in (1, 8):
        blind(rows, slice(start, start + 4), State.GAP)
    assert kinds(incidents_with(quiet=12).update(rows)) == [("opened", 0), ("resolved", 200)]


def test_another_fault_is_told_while_the_channels_to_blame_are_missing() -> None:
    rows = verdicts([1.5, *[0.1] * 8, 2.5, *[0.1] * 20])
    rows.actual[1:, 1:3] = NAN
    rows.contribution[9] = (1.0, NAN, NAN, 0.0)
    events = incidents_with().update(rows)
    assert kinds(events)[:4] == [("opened", 0), ("unjudged", 50), ("judged", 90), ("escalated", 90)]


def test_a_change_of_mode_is_over_when_a_mode_is_reached_that_is_not_judged() -> None:
    rows = a_fault(9)
    rows.kind[0], rows.score[0], rows.mode[0], rows.left[0] = Kind.MODE, NAN, 2, 0
    blind(rows, slice(1, 10), State.IDLE, 0)
    events = incidents_with().update(rows)
    assert kinds(events) == [("opened", 0), ("resolved", 30)]
    assert events[0].incident.reason == "mode"


def test_each_spell_is_counted_and_a_new_incident_begins_again() -> None:
    rows = verdicts([1.5, *[0.1] * 19, 1.5, *[0.1] * 29, 1.5, *[0.1] * 19])
    for start in (1, 21, 51):
        blind(rows, slice(start, start + 18), State.IDLE, 0)
    events = incidents_with(quiet=3).update(rows)
    assert [one.incident.unjudged.spell for one in events if one.incident.unjudged] == [1, 2, 1]


def test_maintenance_holds_it_back_until_it_ends() -> None:
    window = Maintenance(OneOff(20, 120), ("*",))
    rows = blind(a_fault(29), slice(1, 20), State.GAP)
    events = incidents_with(maintenance=(window,)).update(rows)
    assert kinds(events)[:2] == [("opened", 0), ("unjudged", 120)]


def test_the_reason_follows_the_newest_row() -> None:
    rows = blind(a_fault(19), slice(1, 20), State.GAP)
    blind(rows, slice(12, 20), State.WARMING)
    incidents = incidents_with()
    incidents.update(rows)
    [left_open] = incidents.open
    assert left_open.unjudged is not None
    assert (left_open.unjudged.why, left_open.unjudged.since_ns) == ("warming", 0)


def test_a_healthy_series_with_gaps_and_idle_rows_tells_nothing() -> None:
    rows = blind(verdicts([0.1] * 60), slice(5, 40), State.IDLE, 0)
    blind(rows, slice(45, 55), State.GAP)
    assert incidents_with().update(rows) == ()


_STATES = st.lists(
    st.sampled_from(["ok", "bad", "gap", "idle", "warming", "no_channel", "unjudged"]), max_size=60
)


@settings(max_examples=60, deadline=None)
@given(states=_STATES, cuts=st.sets(st.integers(1, 60)), quiet=st.integers(1, 6), after=st.integers(1, 12))
def test_any_cut_gives_the_same_and_no_blind_row_ends_an_incident(
    states: list[str], cuts: set[int], quiet: int, after: int
) -> None:
    rows = verdicts([1.5, *(1.5 if one == "bad" else 0.1 for one in states)])
    named = {"gap": State.GAP, "idle": State.IDLE, "warming": State.WARMING}
    for at, one in enumerate(states, 1):
        if one in named:
            blind(rows, slice(at, at + 1), named[one], 0 if one == "idle" else -1)
        if one == "no_channel":
            rows.actual[at, 1:3] = NAN
        if one == "unjudged":
            rows.expected[at, 1:3] = NAN
    whole = incidents_with(quiet, 10 * after)
    events = whole.update(rows)
    parted, found = incidents_with(quiet, 10 * after), list[IncidentEvent]()
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    for start, stop in itertools.pairwise(edges):
        found += parted.update(rows.take(np.arange(start, stop)))
    assert repr(found) == repr(list(events))
    assert repr(parted.open) == repr(whole.open)
    for event in events:
        row = event.at_ns // 10
        if event.kind in ("resolved", "judged"):
            assert states[row - 1] in ("ok", "bad")
        if event.kind == "unjudged":
            assert event.incident.unjudged is not None
            assert event.at_ns - event.incident.unjudged.since_ns >= 10 * after
            assert states[row - 1] not in ("ok", "bad")
