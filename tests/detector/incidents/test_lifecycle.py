"""The life of an incident, on verdicts written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from detector.incidents.incident import REASON_OF, IncidentEvent, evidence_of, incident_id
from detector.incidents.incidents import Incidents
from detector.incidents.rules import IncidentRules
from detector.scoring.context.trend import Line
from detector.scoring.kinds import Kind
from detector.scoring.verdicts import State, Verdicts

CHANNELS = ("flow", "pressure", "current", "speed")


def verdicts(
    scores: list[float], series: str = "pump-1", start: int = 0, state: State | None = None
) -> Verdicts:
    """One series' verdicts, a row every 10; NaN is warming, above 1 anomalous unless `state` is given."""
    score = np.array(scores)
    states = np.where(np.isnan(score), State.WARMING, np.where(score > 1, State.ANOMALOUS, State.OK))
    if state is not None:
        states[:] = state
    num = len(score)
    actual = np.tile([1.0, 2.0, 3.0, 4.0], (num, 1))
    contribution = np.tile(np.array([0.1, 0.6, 0.3, 0.0], np.float32), (num, 1))
    return Verdicts(
        (series,), np.zeros(num, np.int32), (start + np.arange(num)) * 10, score, states.astype(np.uint8),
        actual, actual - 0.5, contribution, np.ones(num), np.zeros((num, 4), np.bool_),
        states == State.ANOMALOUS, np.full(num, np.nan), np.zeros(num, np.uint8),
        np.full(num, -1, np.int16), np.full(num, -1, np.int16), np.zeros((num, 4), np.bool_),
        np.full(num, None, np.object_), np.zeros(num, np.bool_),
    )  # fmt: skip


def incidents_with(**rules: float) -> Incidents:
    return Incidents(IncidentRules(**rules), "pump", "v1", CHANNELS, lambda _: np.full(4, 0.25))


def kinds(events: tuple[IncidentEvent, ...]) -> list[tuple[str, int]]:
    return [(event.kind, event.at_ns) for event in events]


def test_one_bad_row_opens_and_quiet_rows_resolve() -> None:
    events = incidents_with(quiet_rows=2).update(verdicts([0.2, 1.5, 1.2, 0.1, 0.1, 0.1]))
    assert kinds(events) == [("opened", 10), ("resolved", 40)]
    resolved = events[1].incident
    assert (resolved.start_ns, resolved.opened_ns, resolved.end_ns) == (10, 10, 20)
    assert (resolved.state, resolved.peak_score) == ("resolved", 1.5)


def test_rows_that_count_by_cumulative_evidence_alone_have_no_band() -> None:
    rows = verdicts([0.4, 0.5, 1.6])
    rows.state[:], rows.paged[:] = State.ANOMALOUS, True
    rows.kind[:2] = Kind.LEVEL
    incidents = incidents_with()
    [opened] = incidents.update(rows.take(np.arange(2)))
    assert opened.incident.reason == "cumulative"
    assert (opened.incident.channels[0].actual, opened.incident.channels[0].expected) == (2.0, 1.5)
    assert np.isnan([opened.incident.channels[0].lower, opened.incident.channels[0].upper]).all()
    incidents.update(rows.take(np.arange(2, 3)))
    [open_one] = incidents.open
    assert (open_one.reason, open_one.channels[0].lower) == ("cumulative", 1.25)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(Kind.WINDOW, "score"), (Kind.SEASON, "season"), (Kind.DRIFT, "drift"), (Kind.MODE, "mode")],
)
def test_the_reason_is_that_of_the_evidence_that_spoke(kind: Kind, reason: str) -> None:
    rows = verdicts([0.4])
    rows.state[:], rows.paged[:], rows.kind[:] = State.ANOMALOUS, True, kind
    [opened] = incidents_with().update(rows)
    assert (opened.incident.reason, evidence_of(reason)) == (reason, kind.label)
    assert np.isnan(opened.incident.channels[0].lower) == (kind != Kind.WINDOW)


@pytest.mark.parametrize("opened_by", [Kind.WINDOW, Kind.LEVEL, Kind.SEASON])
def test_what_drift_keeps_open_is_a_drift_whatever_opened_it(opened_by: Kind) -> None:
    rows = verdicts([1.5, 0.4, 0.4])
    rows.state[:], rows.paged[:] = State.ANOMALOUS, True
    rows.kind[:] = [opened_by, opened_by, Kind.DRIFT]
    rows.contribution[2] = [0.7, 0.2, 0.1, 0.0]
    incidents = incidents_with()
    [opened] = incidents.update(rows.take(np.arange(2)))
    assert opened.incident.reason == REASON_OF[opened_by]
    assert opened.incident.at_start[0].name == "pressure"
    assert incidents.update(rows.take(np.arange(2, 3))) == ()
    [still] = incidents.open
    assert (still.id, still.reason) == (opened.incident.id, "drift")
    assert still.at_start[0].name == "flow"


@pytest.mark.parametrize("kind", [Kind.WINDOW, Kind.LEVEL, Kind.DRIFT])
def test_the_channel_that_drifts_is_named_though_another_is_blamed_more(kind: Kind) -> None:
    rows = verdicts([1.5])
    rows.state[:], rows.paged[:], rows.kind[:] = State.ANOMALOUS, True, kind
    maybe, surely = Line(0.1, 0.2, 2.0, 0.1, 0.1, 3.0), Line(-0.4, 0.05, 3.0, 0.1, 0.1, 3.0)
    rows.lines[0] = (None, maybe, surely, None)
    incidents = incidents_with()
    incidents.update(rows)
    [found] = incidents.open
    assert found.newest[0].name == "pressure"
    assert found.drifting is not None
    assert (found.drifting.name, found.trend) == ("current", surely.trend())
    rows.lines[0] = (None, maybe, None, None)
    alone = incidents_with()
    alone.update(rows)
    assert (alone.open[0].trend is not None) == (kind == Kind.DRIFT)


def test_m_of_n_rows_are_needed_and_the_first_bad_row_is_the_start() -> None:
    events = incidents_with(for_rows=3, of_rows=5).update(
        verdicts([1.1, 0.1, 1.1, 0.1, 0.1, 1.1, 0.1, 1.1, 1.1])
    )
    assert kinds(events) == [("opened", 80)]
    assert events[0].incident.start_ns == 50


def test_between_close_score_and_one_an_incident_stays_open() -> None:
    events = incidents_with(quiet_rows=2, close_score=0.8).update(verdicts([1.5, 0.9, 0.9, 0.9, 0.9]))
    assert kinds(events) == [("opened", 0)]


def test_unknown_rows_neither_open_nor_resolve() -> None:
    nan = float("nan")
    events = incidents_with(quiet_rows=2).update(verdicts([nan, 1.5, nan, nan, nan, 0.1, nan, 0.1]))
    assert kinds(events) == [("opened", 10), ("resolved", 70)]


def test_a_worse_peak_escalates_once() -> None:
    events = incidents_with(critical_score=2.0).update(verdicts([1.2, 1.9, 2.5, 3.0, 1.1]))
    assert kinds(events) == [("opened", 0), ("escalated", 20)]
    assert [event.incident.severity for event in events] == ["warning", "critical"]


def test_the_id_depends_on_model_series_and_start_alone() -> None:
    first = incidents_with().update(verdicts([1.5]))[0].incident
    worse = incidents_with().update(verdicts([9.9]))[0].incident
    assert first.id == worse.id == incident_id("pump", "pump-1", 0)
    others = {
        incident_id("pump", "pump-2", 0),
        incident_id("fan", "pump-1", 0),
        incident_id("pump", "pump-1", 10),
    }
    assert len(others | {first.id}) == 4


def test_evidence_names_the_top_channels_in_physical_units() -> None:
    evidence = incidents_with(top_channels=2).update(verdicts([1.5]))[0].incident.channels
    assert [channel.name for channel in evidence] == ["pressure", "current"]
    top = evidence[0]
    assert (top.actual, top.expected, top.lower, top.upper) == (2.0, 1.5, 1.25, 1.75)


def test_a_channel_without_a_share_is_no_evidence() -> None:
    evidence = incidents_with(top_channels=4).update(verdicts([1.5]))[0].incident.channels
    assert [channel.name for channel in evidence] == ["pressure", "current", "flow"]


@pytest.mark.parametrize(
    ("state", "reason"), [(State.FLATLINE, "flatline"), (State.OUT_OF_RANGE, "out_of_range")]
)
def test_rules_without_the_model_open_incidents_too(state: State, reason: str) -> None:
    incident = incidents_with().update(verdicts([float("nan")], state=state))[0].incident
    assert (incident.reason, incident.peak_score) == (reason, 0.0)


def test_series_do_not_mix() -> None:
    incidents = incidents_with(for_rows=2, of_rows=2)
    assert incidents.update(verdicts([1.5], "pump-1")) == ()
    assert incidents.update(verdicts([1.5], "pump-2")) == ()
    assert kinds(incidents.update(verdicts([1.5], "pump-1", start=1))) == [("opened", 10)]


def test_a_dropped_series_leaves_no_open_incident() -> None:
    incidents = incidents_with()
    incidents.update(verdicts([1.5]))
    incidents.drop(np.array([0], np.int32))
    assert incidents.open == ()


@pytest.mark.parametrize("rules", [{"for_rows": 3, "of_rows": 2}, {"quiet_rows": 0}, {"close_score": 1.5}])
def test_impossible_rules_are_refused(rules: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"for_rows|quiet_rows"):
        incidents_with(**rules)
