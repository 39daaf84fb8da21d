"""What an operator sees, against a count of every moment, and on stories whose answer is plain."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.incidents.incident import ChannelEvidence, Incident
from trainer.evaluation.operator_measures import (
    Event,
    OperatorMeasures,
    measure_incidents,
    read_measures,
)

LENGTH = 60
WEEK_NS = 7 * 86_400 * 1_000_000_000


def incident(opened: int, end: int | None, *channels: str, series: str = "a") -> Incident:
    named = tuple(ChannelEvidence(name, 1.0, 0.0, 0.0, 0.0, 0.0) for name in channels)
    state = "firing" if end is None else "resolved"
    life = (opened, opened, end, 2.0, opened, named)
    return Incident(f"{series}{opened}", "m", "v", series, state, "score", "warning", *life)


def measured(events: list[Event], incidents: list[Incident], grace: int = 0, *names: str) -> OperatorMeasures:
    return measure_incidents(events, incidents, dict.fromkeys(names or ("a",), (0, LENGTH)), grace)


spans = st.tuples(st.integers(0, LENGTH - 1), st.integers(1, 12)).map(
    lambda one: (one[0], min(LENGTH, one[0] + one[1]))
)


@given(events=st.lists(spans, max_size=4), lives=st.lists(spans, max_size=5), grace=st.integers(0, 5))
def test_the_measures_are_those_of_a_count_of_every_moment(
    events: list[tuple[int, int]], lives: list[tuple[int, int]], grace: int
) -> None:
    found = measured(
        [Event("a", *one) for one in events], [incident(start, end - 1) for start, end in lives], grace
    )
    moments = np.arange(LENGTH)
    is_open = np.zeros((len(lives), LENGTH), bool)
    for at, (start, end) in enumerate(lives):
        is_open[at, start:end] = True
    near = np.zeros(LENGTH, bool)
    for (start, end), outcome in zip(events, found.events, strict=True):
        near |= (moments >= start - grace) & (moments < end + grace)
        during = (moments >= start) & (moments < end)
        seen = (moments >= start) & (moments < end + grace)
        assert outcome.found == bool((is_open & seen).any())
        assert outcome.open_share == pytest.approx(is_open.any(axis=0)[during].mean() if lives else 0.0)
        opened = [one for one, _ in lives if start - grace <= one < end + grace]
        assert outcome.found or not [one for one in opened if one >= start]
    false = [at for at, (start, _) in enumerate(lives) if not near[start]]
    assert found.false_incidents == len(false)
    assert found.series_weeks * WEEK_NS == pytest.approx((~near).sum())
    assert found.false_open_weeks * WEEK_NS == pytest.approx((is_open[false].any(axis=0) & ~near).sum())


def test_one_incident_from_the_start_to_the_end_is_the_best_answer() -> None:
    found = measured([Event("a", 10, 30, "flow", "leak", 2.0)], [incident(12, 29, "flow", "power")])
    (outcome,) = found.events
    assert (outcome.incidents, outcome.open_share, outcome.place) == (1, 0.9, 1)
    assert outcome.seconds == pytest.approx(2e-9)
    assert (found.false_incidents, found.false_open_share) == (0, 0.0)


def test_an_incident_that_is_always_open_finds_everything_and_is_false() -> None:
    found = measured([Event("a", 20, 30), Event("a", 40, 45)], [incident(0, None)])
    assert (found.found, found.open_share, found.incidents_per_event) == (1.0, 1.0, 0.0)
    assert found.false_incidents == 1
    assert found.false_open_share == 1.0


def test_the_blame_is_that_of_the_first_incident_of_an_event() -> None:
    events = [Event("a", 10, 40, "flow"), Event("b", 10, 40, "flow"), Event("c", 10, 40, "flow")]
    incidents = [
        *(incident(11, 12, "power", "flow"), incident(20, 25, "flow")),
        incident(11, 30, "power", series="b"),
        incident(50, 55, "flow", series="c"),
    ]
    found = measured(events, incidents, 0, "a", "b", "c")
    assert [one.place for one in found.events] == [2, 0, None]
    assert (found.guilty_within(1), found.guilty_within(2)) == (0.0, 0.5)
    assert found.false_by_series == {"a": 0, "b": 0, "c": 1}


def test_an_unknown_channel_gives_no_figure_of_blame() -> None:
    found = measured([Event("a", 10, 40)], [incident(11, 30, "flow")])
    assert math.isnan(found.guilty_within(1))
    assert found.found == 1.0


def test_only_the_active_part_of_an_event_counts_for_its_share() -> None:
    event = Event("a", 10, 50, active=((10, 20), (40, 50)))
    found = measured([event], [incident(10, 19), incident(45, 60)])
    assert found.open_share == 0.75


def test_without_events_and_incidents_only_the_time_is_known() -> None:
    found = measured([], [])
    assert math.isnan(found.found)
    assert found.false_per_week == 0.0


def test_measures_add_up_and_survive_json() -> None:
    one = measured([Event("a", 10, 20, "flow", "spike", 2.0)], [incident(10, 12, "flow"), incident(40, 41)])
    other = measured([Event("a", 10, 20, kind="stuck")], [incident(50, None)])
    both = one + other
    assert (both.false_incidents, both.false_by_series, len(both.events)) == (2, {"a": 2}, 2)
    assert both.found == 0.5
    text = json.dumps(both.as_json()).replace("NaN", "null")
    again = read_measures(json.loads(text))
    assert repr(again) == repr(both)
    assert list(again.by("kind", "size")) == [("spike", 2.0), ("stuck", None)]
