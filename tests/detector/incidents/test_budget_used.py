"""The account of the alarm budget against a count of all rows and alarms of the last period."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.artifact.spec import Spec
from detector.calibration.alarm_budget import read_budget, rows_per_event, use_in_words
from detector.incidents.budget_used import BudgetUsed, BudgetView
from detector.incidents.incident import Incident, IncidentEvent
from detector.scoring.verdicts import State, Verdicts
from detector.status.budget_used import budget_json, budget_line, budget_problem
from tests.support.artifacts import make_artifact

MINUTE_NS, DAY_NS = 60 * 10**9, 86_400 * 10**9
START_NS = 20_000 * DAY_NS


def spec_of(budget: str) -> Spec:
    spec = make_artifact(interval_ns=MINUTE_NS).spec
    return replace(spec, threshold=replace(spec.threshold, alarm_budget=budget))


def rows_at(times_ns: np.ndarray) -> Verdicts:
    """Return rows of one series at these times; every tenth has no score."""
    empty, num = Verdicts.empty(2), len(times_ns)
    score = np.where(np.arange(num) % 10 == 9, np.nan, 0.4)
    return replace(empty, names=("a",), series=np.zeros(num, np.int32), timestamp_ns=times_ns, score=score)


def opened(at_ns: int, reason: str = "score", kind: str = "opened", name: str = "id") -> IncidentEvent:
    incident = Incident(
        *(name, "pump", "v", "a", "firing", reason, "warning", at_ns, at_ns, None, 1.5, at_ns, ())  # type: ignore[arg-type]
    )
    return IncidentEvent(kind, at_ns, incident)  # type: ignore[arg-type]


def add(account: BudgetUsed, times_ns: np.ndarray, alarms: list[IncidentEvent], late: int = 0) -> None:
    """Add rows and alarms while one series stands at the newest row and `late` others have wrong clocks."""
    newest = np.array([int(times_ns.max())] * (2 * late + 1) + [int(times_ns.max()) + 900 * DAY_NS] * late)
    account.add(rows_at(times_ns), alarms, newest, np.full(len(newest), State.OK, np.uint8))


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["1/day", "2/hour", "1/week", "7/day in all of 10 series", "1/month"]),
    st.integers(1, 60),
    st.integers(1, 5),
    st.integers(0, 3),
    st.integers(0, 2**31),
)
def test_the_account_has_the_last_period_however_the_rows_are_cut(
    budget: str, days: int, cuts: int, late: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    account, spec = BudgetUsed(spec_of(budget)), spec_of(budget)
    times = START_NS + np.arange(0, days * 1440, 7) * MINUTE_NS
    alarms = np.sort(rng.choice(times, rng.integers(0, 20)))
    bounds = np.sort(rng.integers(0, len(times), cuts))
    begin = 0
    for end in (*bounds.tolist(), len(times)):
        part = times[begin:end]
        if len(part):
            inside = np.flatnonzero((alarms >= part[0]) & (alarms <= part[-1]))
            events = [opened(int(alarms[at]), name=f"{at}") for at in inside] + [
                opened(int(part[0]), "flatline")
            ]
            add(account, part, [*events, opened(int(part[0]), kind="resolved")], late)
        begin = end
    view = account.view()
    period_ns = {"d": DAY_NS, "h": DAY_NS, "w": 7 * DAY_NS, "m": 2_629_800 * 10**9}[budget.split("/")[1][0]]
    part_ns = period_ns // 64
    since = (int(times[-1]) // part_ns - 63) * part_ns
    assert view.alarms == np.count_nonzero(alarms >= since)
    assert view.ids == tuple(f"{at}" for at in np.flatnonzero(alarms >= since))
    real = {f"{at}" for at in range(0, len(alarms), 3)}
    assert view.num_real(real) == len(real & {*view.ids})
    per_event = rows_per_event(budget, spec.interval_ns)
    assert view.allowed == pytest.approx(
        0.9 * np.count_nonzero(times >= since) / per_event, abs=3 / per_event * cuts
    )
    assert view.covered_seconds <= period_ns / 1e9 + 1
    assert view.covered_seconds >= min(period_ns - part_ns, times[-1] - times[0]) / 1e9 - 1


def test_a_period_without_rows_is_empty_and_one_of_another_budget_begins_again() -> None:
    account = BudgetUsed(spec_of("1/day"))
    assert np.isnan(account.view().used)
    add(account, START_NS + np.arange(100) * MINUTE_NS, [opened(START_NS)])
    assert account.view().alarms == 1
    add(account, START_NS + 3 * DAY_NS + np.arange(100) * MINUTE_NS, [])
    assert account.view().alarms == 0
    account.follow(spec_of("2/day"))
    assert account.view().allowed > 0, "the length of the period stays"
    account.follow(spec_of("1/week"))
    assert (account.view().allowed, account.view().covered_seconds) == (0, 0)


def test_silent_series_do_not_hold_the_period_back() -> None:
    account = BudgetUsed(spec_of("1/day"))
    newest = np.array([START_NS + 5 * DAY_NS, *[START_NS] * 9])
    state = np.array([State.OK, *[State.STALE] * 9], np.uint8)
    account.add(rows_at(newest[:1]), [opened(int(newest[0])), opened(START_NS)], newest, state)
    assert (account.view().alarms, account.view().num_series) == (1, 10)


def view_of(num_series: int, alarms: int = 3) -> BudgetView:
    account = BudgetUsed(spec_of("3/day in all of 10 series"))
    times = START_NS + np.arange(0, 1_000) * MINUTE_NS
    newest = np.full(num_series, times[-1])
    account.add(rows_at(times), [opened(START_NS)] * alarms, newest, np.zeros(num_series, np.uint8))
    return account.view()


def test_the_page_says_how_much_was_used_and_by_whom() -> None:
    found = budget_json(view_of(10))
    assert budget_line(found).startswith("3 alarms in the last 16.9 hours; ")
    assert "the budget allows 3 a day in all of 10 series, so less than one false alarm" in budget_line(found)
    assert budget_problem(found) == ""
    shared = budget_problem(budget_json(view_of(40)))
    assert shared.startswith("40 series share the alarm budget, which was calibrated for 10: ")
    unused = budget_json(BudgetUsed(spec_of("1/day")).view())
    assert budget_line(unused) == budget_problem(unused) == ""


def test_alarms_that_people_called_real_do_not_use_the_budget() -> None:
    account = BudgetUsed(spec_of("1/day"))
    times = START_NS + np.arange(0, 1440) * MINUTE_NS
    alarms = [opened(int(times[at]), name=name) for at, name in enumerate("abcdefghi")]
    add(account, times, alarms)
    before = budget_json(account.view())
    assert budget_line(before) == (
        "9 alarms in the last 24.0 hours; the budget of 1 a day per series allows 0.9 false alarms for what"
        " was judged; real ones do not count"
    )
    after = budget_json(account.view(), frozenset("abcdefghi") | {"of another process"})
    assert (after["alarms"], after["real"], after["used"]) == (9, 9, 0.0)
    assert budget_line(after) == (
        "9 alarms in the last 24.0 hours, 9 of them real; the budget of 1 a day per series allows 0.9 false"
        " alarms for what was judged: at most 0% used"
    )


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(["1/day", "2/hour", "1/week", "7/day in all of 10 series", "1/month"]),
    st.integers(0, 100_000),
    st.floats(1e-6, 1e6),
)
def test_a_share_is_stated_once_the_budget_allows_about_one_alarm(
    budget: str, alarms: int, allowed: float
) -> None:
    words = use_in_words(alarms, allowed, read_budget(budget), are_false=True)
    assert read_budget(budget).allowance in words
    assert "false alarm" in words
    unsure = use_in_words(alarms, allowed, read_budget(budget))
    assert ("% used" in words) is (allowed >= 0.8)
    assert ("at most" in unsure) is (allowed >= 0.8 and alarms <= allowed)
    assert unsure.endswith("; real ones do not count") is (allowed >= 0.8 and alarms > allowed)
    if allowed >= 0.8:
        share = float(words.rpartition(": ")[2].removesuffix("% used").replace(",", ""))
        assert share == pytest.approx(100 * alarms / allowed, abs=0.51)
    else:
        assert "less than one" in words


def test_a_week_of_one_series_with_some_gaps_has_a_share_and_its_first_day_has_none() -> None:
    account = BudgetUsed(spec_of("1/week"))
    times = START_NS + np.arange(0, 7 * 1440) * MINUTE_NS
    add(account, times[:1440], [opened(int(times[100]))])
    assert "less than one false alarm" in account.view().words()
    add(account, times[1440:], [opened(int(times[2000]))])
    told = "the budget of 1 a week per series allows 0.888 false alarms for what was judged"
    assert account.view().words() == f"{told}; real ones do not count", "a tenth of the rows has no score"
    assert account.view().words(1) == f"{told}: at most 0% used"
