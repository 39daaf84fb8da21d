"""Many series that alarm at once become one group."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, permutations

from hypothesis import given
from hypothesis import strategies as st

from detector.incidents.grouping import Grouping, group_all
from detector.incidents.incident import Incident, IncidentEvent, incident_id
from detector.incidents.rules import FoldRules

SECOND = 10**9
THREE = FoldRules(3, 60 * SECOND)


def incident(series: str, start_s: int) -> Incident:
    start_ns = start_s * SECOND
    return Incident(
        incident_id("pump", series, start_ns), "pump", "v1", series, "firing", "score", "warning", start_ns,
        start_ns, None, 1.5, start_ns, (),
    )  # fmt: skip


def opened(*incidents: Incident) -> list[IncidentEvent]:
    return [IncidentEvent("opened", one.start_ns, one) for one in incidents]


def resolved(*incidents: Incident) -> list[IncidentEvent]:
    done = [replace(one, state="resolved", end_ns=one.start_ns + 1) for one in incidents]
    return [IncidentEvent("resolved", one.start_ns + 1, one) for one in done]


A, B, C, D = incident("a", 0), incident("b", 30), incident("c", 60), incident("d", 61)


def test_series_that_turn_within_the_window_are_one_fold_in_whatever_order_they_come() -> None:
    for order in permutations([A, B, C, D]):
        (fold,) = group_all(THREE, order)
        assert (fold.series, fold.start_ns, fold.state) == (("a", "b", "c"), 0, "firing")
    assert group_all(THREE, [A, B, D]) == ()
    assert group_all(FoldRules(), [A, B, C]) == ()


def test_one_series_that_turns_three_times_is_no_fold() -> None:
    assert group_all(THREE, [incident("a", 0), incident("a", 20), incident("a", 40)]) == ()


def test_a_batch_of_incidents_is_told_once_and_resolved_once() -> None:
    folding = Grouping(THREE)
    single, changes = folding.take(opened(A, B, C))
    assert (single, [(one.kind, one.fold.series) for one in changes]) == ((), [("opened", ("a", "b", "c"))])
    assert folding.take(resolved(A, B)) == ((), ())
    single, changes = folding.take(resolved(C))
    assert (single, [(one.kind, one.fold.state) for one in changes]) == ((), [("resolved", "resolved")])
    assert folding.take(opened(A))[0] == tuple(opened(A))  # nothing is left of it


def test_what_was_told_by_itself_before_the_fold_is_resolved_by_itself() -> None:
    folding = Grouping(THREE)
    assert folding.take(opened(A)) == (tuple(opened(A)), ())
    assert folding.take(opened(B)) == (tuple(opened(B)), ())
    single, (fold,) = folding.take(opened(C))
    assert (single, fold.kind, fold.fold.series) == ((), "opened", ("a", "b", "c"))
    assert folding.take(resolved(A, C)) == (tuple(resolved(A)), ())
    single, (fold,) = folding.take(resolved(B))
    assert (single, fold.kind) == (tuple(resolved(B)), "resolved")


def test_others_join_an_open_fold_and_a_worse_one_escalates_it() -> None:
    folding = Grouping(THREE)
    first = folding.take(opened(A, B, C))[1][0].fold
    single, (joined,) = folding.take(opened(incident("e", 50)))
    assert (single, joined.kind, joined.fold.id) == ((), "joined", first.id)
    worse = replace(B, severity="critical")
    single, (change,) = folding.take([IncidentEvent("escalated", 1, worse)])
    assert (single, change.kind, change.fold.severity) == ((), "escalated", "critical")
    assert folding.take(opened(D))[0] == tuple(opened(D))  # a second beyond the window


def test_without_the_rule_every_event_is_told_as_it_is() -> None:
    events = opened(A, B, C)
    assert Grouping(FoldRules()).take(events) == (tuple(events), ())


@given(
    starts=st.lists(st.integers(0, 300), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 24), max_size=6),
)
def test_whatever_is_told_as_open_is_told_as_resolved_once_all_is_over(
    starts: list[int], cuts: list[int]
) -> None:
    incidents = [incident(f"s{at}", start) for at, start in enumerate(starts)]
    events = opened(*incidents) + resolved(*incidents)
    bounds = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    folding = Grouping(THREE)
    emitted: dict[str, list[str]] = {}
    for start, stop in pairwise(bounds):
        single, changes = folding.take(events[start:stop])
        for event in single:
            emitted.setdefault(event.incident.id, []).append(event.kind)
        for change in changes:
            emitted.setdefault(change.fold.id, []).append(change.kind)
    for kinds in emitted.values():
        assert (kinds[0], kinds[-1]) == ("opened", "resolved")
        assert kinds.count("opened") == kinds.count("resolved") == 1


def test_the_likely_first_mover_began_first_and_among_equals_is_the_strongest() -> None:
    strong = replace(incident("z", 0), peak_score=7.0)
    unknown = replace(incident("m", 0), peak_score=0.0)
    for order in permutations([A, B, strong, unknown]):
        (fold,) = group_all(THREE, order)
        assert fold.first == strong
        assert fold.series_by_onset == ("z", "a", "m", "b")
        assert set(fold.series_by_onset) == set(fold.series)
