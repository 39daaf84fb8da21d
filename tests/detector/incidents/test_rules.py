"""Every incident rule on an event clock: what it does, and the near miss."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest

from detector.incidents.filters.maintenance import Maintenance, OneOff, Recurring
from detector.incidents.rules import ChannelRule, IncidentRules
from detector.scoring.verdicts import State, Verdicts
from tests.support.verdicts import BAD, GOOD, ROW, SECOND, incidents_with, seconds, verdicts

NAN = float("nan")


def opened(rules: IncidentRules, rows: Verdicts) -> bool:
    return any(event.kind == "opened" for event in incidents_with(rules).update(rows))


def of_pressure(**rule: object) -> IncidentRules:
    return IncidentRules(channels={"pressure": ChannelRule(**rule)})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("direction", "deviation", "opens"),
    [("above", 1.0, True), ("above", -1.0, False), ("below", -1.0, True), ("below", 1.0, False)],
)
def test_only_the_direction_that_matters_opens(direction: str, deviation: float, opens: bool) -> None:
    assert opened(of_pressure(direction=direction), verdicts([BAD], deviation=(0.0, deviation))) == opens


@pytest.mark.parametrize(("deviation", "opens"), [(0.5, True), (0.49, False), (-0.5, True), (-0.49, False)])
def test_a_deviation_below_the_absolute_minimum_opens_nothing(deviation: float, opens: bool) -> None:
    assert opened(of_pressure(min_absolute=0.5), verdicts([BAD], deviation=(0.0, deviation))) == opens


@pytest.mark.parametrize(("expected", "opens"), [(8.0, True), (-8.0, True), (8.2, False), (0.0, True)])
def test_a_deviation_below_the_relative_minimum_opens_nothing(expected: float, opens: bool) -> None:
    rows = verdicts([BAD], deviation=(0.0, 0.81), expected=(4.0, expected))
    assert opened(of_pressure(min_relative=0.1), rows) == opens


def test_both_minima_must_be_reached() -> None:
    rules = of_pressure(min_absolute=0.5, min_relative=0.1)
    assert not opened(rules, verdicts([BAD], deviation=(0.0, 0.6)))  # 0.1 of 8 is 0.8
    assert opened(rules, verdicts([BAD], deviation=(0.0, 0.8)))


def test_another_channel_with_an_even_share_of_the_blame_opens_by_itself() -> None:
    rules = of_pressure(direction="below")
    assert opened(rules, verdicts([BAD], contribution=(0.5, 0.5)))
    assert not opened(rules, verdicts([BAD], contribution=(0.49, 0.51)))


def test_where_nothing_is_known_of_the_channels_the_row_opens() -> None:
    rules = of_pressure(direction="below", min_absolute=9.0)
    assert opened(rules, verdicts([BAD], contribution=(NAN, NAN)))
    assert opened(rules, verdicts([BAD], expected=(4.0, NAN)))


def test_a_stuck_or_impossible_channel_asks_no_deviation() -> None:
    for state in (State.FLATLINE, State.OUT_OF_RANGE):
        assert opened(of_pressure(min_absolute=9.0), verdicts([NAN], state=state))


def test_rows_that_do_not_matter_are_counted_by_reason_and_resolve_what_is_open() -> None:
    rules = IncidentRules(
        quiet_rows=2, channels={"pressure": ChannelRule(direction="above", min_absolute=0.5)}
    )
    incidents = incidents_with(rules)
    assert seconds(incidents.update(verdicts([BAD]))) == [("opened", 0)]
    down = incidents.update(verdicts([9.0, 9.0, 9.0], start_s=10, deviation=(0.0, -1.0)))
    assert seconds(down) == [("resolved", 20)]
    assert down[0].incident.peak_score == BAD
    incidents.update(verdicts([BAD, GOOD], start_s=40, deviation=(0.0, 0.1)))
    assert (incidents.suppressed["direction"], incidents.suppressed["deviation"]) == (3, 1)


@pytest.mark.parametrize(("lasts", "opens_at"), [(3, None), (4, 30)])
def test_bad_rows_must_last_the_minimum_duration(lasts: int, opens_at: int | None) -> None:
    events = incidents_with(IncidentRules(min_duration_ns=30 * SECOND)).update(
        verdicts([BAD] * lasts + [GOOD] * 3)
    )
    assert seconds(events) == ([] if opens_at is None else [("opened", opens_at)])
    assert all(event.incident.start_ns == 0 for event in events)


def test_a_spell_that_breaks_m_of_n_starts_its_duration_anew() -> None:
    rules = IncidentRules(for_rows=2, of_rows=3, min_duration_ns=40 * SECOND)
    events = incidents_with(rules).update(
        verdicts([BAD, BAD, GOOD, GOOD, BAD, BAD, GOOD, BAD, BAD, BAD])
    )  # fmt: skip
    assert seconds(events) == [("opened", 80)]
    assert events[0].incident.start_ns == 40 * SECOND


def test_within_the_cooldown_nothing_opens_and_what_is_still_bad_after_it_does() -> None:
    rules = IncidentRules(quiet_rows=1, cooldown_ns=30 * SECOND)
    incidents = incidents_with(rules)
    events = incidents.update(verdicts([BAD, GOOD, GOOD, BAD, BAD, GOOD]))
    assert seconds(events) == [("opened", 0), ("resolved", 10), ("opened", 40), ("resolved", 50)]
    late = events[2].incident
    assert (late.start_ns, late.opened_ns, late.held_by) == (30 * SECOND, 40 * SECOND, ("cooldown",))
    assert incidents.suppressed["cooldown"] == 1


def test_what_is_over_when_the_cooldown_ends_never_opens() -> None:
    rules = IncidentRules(quiet_rows=1, cooldown_ns=30 * SECOND)
    events = incidents_with(rules).update(verdicts([BAD, GOOD, BAD, GOOD, GOOD, GOOD]))
    assert seconds(events) == [("opened", 0), ("resolved", 10)]


def test_a_series_that_keeps_turning_gets_one_incident_that_stays_open_until_it_is_calm() -> None:
    rules = IncidentRules(quiet_rows=1, flap_incidents=3, flap_window_ns=100 * SECOND)
    incidents = incidents_with(rules)
    events = incidents.update(verdicts([BAD, GOOD] * 5 + [GOOD] * 9))
    assert seconds(events) == [
        *(("opened", 0), ("resolved", 10), ("opened", 20), ("resolved", 30), ("opened", 40)),
        ("resolved", 180),  # 100 s after the last bad row
    ]
    assert [event.incident.flapping for event in events] == [False] * 4 + [True] * 2
    assert events[-1].incident.end_ns == 80 * SECOND
    assert incidents.suppressed["flapping"] == 2


def test_turns_further_apart_than_the_window_are_no_flapping() -> None:
    rules = IncidentRules(quiet_rows=1, flap_incidents=3, flap_window_ns=40 * SECOND)
    events = incidents_with(rules).update(verdicts([BAD, GOOD] * 4))
    assert len(events) == 8
    assert not any(event.incident.flapping for event in events)


def test_nothing_is_remembered_once_the_flap_window_and_the_cooldown_are_over() -> None:
    rules = IncidentRules(quiet_rows=1, flap_incidents=3, flap_window_ns=40 * SECOND, cooldown_ns=30 * SECOND)
    incidents = incidents_with(rules)
    incidents.update(verdicts([BAD, GOOD]))
    assert incidents.track("pump-1") is not None
    incidents.update(verdicts([GOOD], start_s=30))
    assert incidents.track("pump-1") is not None
    incidents.update(verdicts([GOOD], start_s=40))
    assert incidents.track("pump-1") is None


def test_rows_right_after_a_gap_open_nothing_and_the_next_one_does() -> None:
    incidents = incidents_with(IncidentRules(settle_rows=2))
    assert seconds(incidents.update(verdicts([NAN, BAD, BAD, BAD]))) == [("opened", 30)]
    assert incidents.suppressed["recovery"] == 2
    assert opened(IncidentRules(settle_rows=2), verdicts([NAN], state=State.OUT_OF_RANGE))


def test_other_rules_continue_the_count_since_the_last_gap() -> None:
    incidents = incidents_with(IncidentRules(settle_rows=2))
    incidents.update(verdicts([NAN, GOOD]))
    incidents.use_rules(IncidentRules(settle_rows=3))
    assert seconds(incidents.update(verdicts([BAD, BAD, BAD], start_s=20))) == [("opened", 40)]


def once(start_s: int, end_s: int, *series: str) -> IncidentRules:
    window = Maintenance(OneOff(start_s * SECOND, end_s * SECOND), series or ("*",))
    return IncidentRules(quiet_rows=2, maintenance=(window,))


def test_in_maintenance_nothing_opens_and_what_is_still_bad_at_its_end_does() -> None:
    incidents = incidents_with(once(10, 40))
    events = incidents.update(verdicts([GOOD, BAD, BAD, BAD, BAD]))
    assert seconds(events) == [("opened", 40)]
    assert (events[0].incident.start_ns, events[0].incident.held_by) == (10 * SECOND, ("maintenance",))
    assert incidents.suppressed["maintenance"] == 3


def test_what_is_over_when_maintenance_ends_never_opens() -> None:
    assert not opened(once(10, 40), verdicts([GOOD, BAD, BAD, BAD, GOOD, GOOD]))
    assert not opened(
        IncidentRules(for_rows=2, of_rows=3, maintenance=once(0, 30).maintenance),
        verdicts([BAD, BAD, BAD, GOOD]),
    )


def test_maintenance_is_for_the_series_that_its_patterns_name() -> None:
    rules = once(0, 100, "pump-[12]", "fan-*")
    assert not opened(rules, verdicts([BAD], "pump-1"))
    assert not opened(rules, verdicts([BAD], "fan-33"))
    assert opened(rules, verdicts([BAD], "pump-3"))


def test_an_open_incident_goes_through_maintenance_without_getting_worse() -> None:
    rules = IncidentRules(
        quiet_rows=2, maintenance=(Maintenance(OneOff(10 * SECOND, 30 * SECOND)),)
    )  # fmt: skip
    events = incidents_with(rules).update(verdicts([BAD, 9.0, 9.0, 3.0, GOOD, GOOD]))
    assert seconds(events) == [("opened", 0), ("escalated", 30), ("resolved", 50)]
    assert events[-1].incident.peak_score == 3.0


def test_recurring_maintenance_follows_the_clock_on_the_wall() -> None:
    nightly = Maintenance(Recurring(frozenset([5]), time(2), 3600 * SECOND, "Europe/Berlin"))
    rules = IncidentRules(maintenance=(nightly,))
    saturday = round(datetime(2026, 10, 3, tzinfo=UTC).timestamp())  # 02:00 in Berlin, in summer
    assert opened(rules, verdicts([BAD], start_s=saturday - 10))
    assert not opened(rules, verdicts([BAD], start_s=saturday))
    assert not opened(rules, verdicts([BAD], start_s=saturday + 3590))
    assert opened(rules, verdicts([BAD], start_s=saturday + 3600))
    assert opened(rules, verdicts([BAD], start_s=saturday + 86_400))  # Sunday


def test_rules_act_in_the_order_that_is_documented() -> None:
    """Channel rules before maintenance, maintenance before the cooldown."""
    rules = IncidentRules(
        quiet_rows=1,
        cooldown_ns=100 * SECOND,
        channels={"pressure": ChannelRule(direction="above")},
        maintenance=(Maintenance(OneOff(20 * SECOND, 40 * SECOND)),),
    )
    incidents = incidents_with(rules)
    incidents.update(verdicts([BAD, GOOD]))
    incidents.update(verdicts([BAD], start_s=20, deviation=(0.0, -1.0)))
    incidents.update(verdicts([BAD, BAD], start_s=30))
    counted = {reason: num for reason, num in incidents.suppressed.items() if num}
    assert counted == {"direction": 1, "maintenance": 1, "cooldown": 1}


def test_other_rules_hold_from_the_next_row_on_and_what_is_open_stays() -> None:
    incidents = incidents_with(IncidentRules(quiet_rows=3))
    incidents.update(verdicts([BAD]))
    incidents.use_rules(IncidentRules(quiet_rows=1, channels={"flow": ChannelRule(direction="above")}))
    assert seconds(incidents.update(verdicts([GOOD], start_s=10))) == [("resolved", 10)]


def test_rules_of_an_unknown_channel_are_refused_and_the_old_ones_kept() -> None:
    incidents = incidents_with(IncidentRules(for_rows=2, of_rows=2))
    with pytest.raises(ValueError, match="presure"):
        incidents.use_rules(IncidentRules(channels={"presure": ChannelRule()}))
    assert incidents.update(verdicts([BAD])) == ()


@pytest.mark.parametrize(
    "rule", [{"min_absolute": -1.0}, {"min_relative": NAN}, {"valid_min": 2.0, "valid_max": 2.0}]
)
def test_impossible_channel_rules_are_refused(rule: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"min_|valid_"):
        ChannelRule(**rule)  # type: ignore[arg-type]


def test_a_row_is_ten_seconds() -> None:
    assert verdicts([BAD, BAD]).timestamp_ns.tolist() == [0, ROW]
