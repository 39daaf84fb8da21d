"""One message for many incidents that begin together: who is on top, who is silent, and when it ends."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config.load import Config
from detector.config.notify_schema import NotifySection
from detector.errors import ConfigError
from detector.incidents.rules import FoldRules
from detector.notify.notice import Notice, parse
from detector.notify.notifiers import parts_of
from detector.notify.receivers import receiver_of
from detector.notify.together import Together
from tests.detector.notify.notices import message

WEBHOOK = NotifySection.model_validate({"name": "n", "kind": "webhook", "url": "http://localhost:1"})
THREE = FoldRules(3, 60 * 10**9)


def notice(
    kind: Literal["opened", "escalated", "resolved"],
    series: str,
    severity: Literal["warning", "critical"] = "warning",
    hours: int = 0,
) -> Notice:
    return parse(message(kind, series, hours, severity).value)


def sent(together: Together, *notices: Notice) -> list[dict[str, Any]]:
    """Return the bodies that a receiver gets; each request is made twice, as after a failure."""
    bodies = []
    for one in notices:
        request = together.request(one)
        assert together.request(one) == request, "an attempt that failed changes nothing"
        together.delivered(one, 0.0)
        if request is not None:
            bodies.append(json.loads(request[0]))
    return bodies


@pytest.fixture
def together() -> Together:
    return Together(receiver_of(WEBHOOK), THREE)


def test_the_third_incident_is_told_with_the_others_and_later_ones_are_not(together: Together) -> None:
    opened = sent(together, *(notice("opened", f"pump-{at}") for at in (4, 2, 3, 1, 5)))
    assert [one["series"] for one in opened] == ["pump-4", "pump-2", "pump-2"]
    words = "3 series became anomalous together: first pump-2, then pump-3, pump-4"
    assert opened[2]["summary"].startswith(words)
    assert opened[2]["id"] not in {one["id"] for one in opened[:2]}
    ended = sent(together, *(notice("resolved", f"pump-{at}") for at in (3, 4, 5, 2, 1)))
    assert [one["series"] for one in ended] == ["pump-4", "pump-2", "pump-1"]
    assert (ended[2]["id"], ended[2]["state"]) == (opened[2]["id"], "resolved")
    assert ended[2]["summary"] == "pump-1 and 4 series that began with it are back to normal"


def test_of_equal_beginnings_the_strongest_is_on_top_and_the_worst_severity_counts(
    together: Together,
) -> None:
    sent(together, notice("opened", "pump-1"), notice("opened", "pump-2", "critical"))
    (group,) = sent(together, notice("opened", "pump-3"))
    assert (group["series"], group["severity"], group["channels"][0]["name"]) == (
        "pump-2",
        "critical",
        "flow",
    )


def test_the_first_critical_one_that_joins_is_told_and_the_second_is_not(together: Together) -> None:
    sent(together, *(notice("opened", f"pump-{at}") for at in range(3)))
    (escalated,) = sent(together, notice("opened", "pump-4", "critical"))
    assert (escalated["event"], escalated["severity"]) == ("escalated", "critical")
    assert sent(together, notice("opened", "pump-5", "critical")) == []
    assert sent(together, notice("escalated", "pump-2", "critical")) == []
    (own,) = sent(together, notice("escalated", "pump-0", "critical"))
    assert own["series"] == "pump-0", "it was told by itself before there was a group"


def test_incidents_of_another_time_and_of_one_series_are_told_by_themselves(together: Together) -> None:
    each = [
        notice("opened", "pump-1"),
        notice("opened", "pump-2", hours=1),
        notice("opened", "pump-3", hours=2),
    ]
    assert [one["id"] for one in sent(together, *each)] == [one.id for one in each]
    assert [one["series"] for one in sent(together, notice("opened", "pump-1", hours=1))] == ["pump-1"]


def test_a_group_that_is_over_is_forgotten_and_so_is_everything_that_another_process_delivers(
    together: Together,
) -> None:
    three = [notice("opened", f"pump-{at}") for at in range(3)]
    sent(together, *three, *(notice("resolved", f"pump-{at}") for at in range(3)))
    assert len(sent(together, *(notice("opened", f"pump-{at}") for at in (6, 7)))) == 2
    together.clear()
    assert len(sent(together, notice("opened", "pump-8"))) == 1


def test_memory_is_bounded_where_no_end_is_delivered(together: Together) -> None:
    one = [notice("opened", "pump-1", hours=at) for at in range(1_200)]
    sent(together, *one)
    assert len(together._alone) == 1_000


def config(**notify: Any) -> Config:
    table = {"name": "n", "kind": "webhook", "url": "http://localhost:1", "fold": True, **notify}
    return Config.model_validate({"model": {"path": "x"}, "kafka": {"topic": "x"}, "notify": [table]})


def test_folding_needs_a_number_of_series_and_a_receiver_that_does_not_group_itself() -> None:
    with pytest.raises(ConfigError, match=r"n: fold: set \[incidents\] fold_series"):
        parts_of(config())
    with pytest.raises(ValueError, match="alertmanager groups by its own rules"):
        config(kind="alertmanager")


def again(together: Together, delivered: list[Notice]) -> Together:
    """What a successor knows: the note, and the delivered changes in an order of their own."""
    successor = Together(receiver_of(WEBHOOK), THREE)
    successor.recall({0: together.note})
    for one in delivered:
        successor.delivered(one, 0.0, 0)
    return successor


@given(st.permutations(range(6)), st.permutations(range(6)), st.integers(0, 6), st.data())
def test_after_a_restart_the_groups_are_those_that_were_sent_in_whatever_order_changes_are_read(
    order: list[int], ending: list[int], num_ended: int, data: st.DataObject
) -> None:
    """Compared with a notifier that was never stopped: the rest of the messages is the same."""
    together, undisturbed = (Together(receiver_of(WEBHOOK), THREE) for _ in range(2))
    opened = [notice("opened", f"pump-{at}") for at in order]
    ended = [notice("resolved", f"pump-{at}") for at in ending]
    before, rest = [*opened, *ended[:num_ended]], [*ended[num_ended:], notice("opened", "pump-9")]
    assert sent(together, *before) == sent(undisturbed, *before)
    read = data.draw(st.permutations(opened)) + data.draw(st.permutations(ended[:num_ended]))
    got, wanted = sent(again(together, read), *rest), sent(undisturbed, *rest)
    keys = ("event", "id", "state", "severity")
    assert [[one[key] for key in keys] for one in got] == [[one[key] for key in keys] for one in wanted]


def seconds_later(one: Notice, seconds: int) -> Notice:
    """The change of an incident that began later, under an id of its own."""
    later = one.start + timedelta(seconds=seconds)
    return msgspec.structs.replace(one, id=f"{seconds:04d}{one.id}", start=later)


@given(st.permutations(range(4)), st.integers(1, 3))
def test_what_was_told_by_itself_near_the_beginning_of_a_group_still_ends_by_itself(
    order: list[int], num_restarts: int
) -> None:
    """pump-0 is too far from the incident that completes the group, and near the first one of the group."""
    begins = (0, 50, 100, 105)
    opened, ended = (
        [seconds_later(notice(kind, f"pump-{at}"), second) for at, second in enumerate(begins)]
        for kind in ("opened", "resolved")
    )
    together, undisturbed = (Together(receiver_of(WEBHOOK), THREE) for _ in range(2))
    told = sent(undisturbed, *opened)
    assert sent(together, *opened) == told
    assert [one["id"] for one in told] == [*(one.id for one in opened[:3]), f"{opened[3].id}-group"]
    for _ in range(num_restarts):
        together = again(together, [opened[at] for at in order])
    ends = sent(together, *ended)
    assert ends == sent(undisturbed, *ended)
    assert [one["id"] for one in ends] == [one["id"] for one in told]


def test_a_group_that_was_noted_and_not_sent_yet_is_sent_by_the_successor(together: Together) -> None:
    """A kill between the commit of the note and the request, or between the request and the commit."""
    sent(together, notice("opened", "pump-1"), notice("opened", "pump-2"))
    before = together.note
    request = together.request(notice("opened", "pump-3"))
    assert request is not None
    assert together.note != before
    alone = [notice("opened", f"pump-{at}") for at in (2, 1)]
    successor = again(together, alone)
    assert sent(successor, notice("opened", "pump-5")) == [], "it joins the group, whose message comes"
    assert sent(successor, notice("opened", "pump-3"))[0]["id"] == json.loads(request[0])["id"]
    ended = sent(successor, *(notice("resolved", f"pump-{at}") for at in (1, 2, 3, 5)))
    assert [one["id"] for one in ended[:2]] == [one.id for one in reversed(alone)]
    assert [one["id"] for one in ended[2:]] == [json.loads(request[0])["id"]]


def test_without_a_note_of_before_groups_follow_from_the_changes(together: Together) -> None:
    opened = [notice("opened", f"pump-{at}") for at in range(4)]
    bodies = sent(together, *opened)
    successor = Together(receiver_of(WEBHOOK), THREE)
    successor.recall({0: ""})
    for one in opened:
        successor.delivered(one, 0.0, 0)
    ended = sent(successor, notice("resolved", "pump-2"), notice("resolved", "pump-3"))
    assert [one["id"] for one in ended] == [bodies[-1]["id"]]


@given(st.permutations([(partition, at) for partition in range(2) for at in range(4)]), st.booleans())
def test_in_a_rolling_update_each_partition_keeps_the_groups_of_the_process_that_had_it(
    order: list[tuple[int, int]], is_old: bool
) -> None:
    """Two processes had a partition each; `is_old`: that of partition 1 has a version without notes."""
    opened, ended = (
        [[notice(kind, f"pump-{partition}{at}") for at in range(4)] for partition in range(2)]
        for kind in ("opened", "resolved")
    )
    before = [Together(receiver_of(WEBHOOK), THREE) for _ in range(2)]
    told = [sent(one, *opened[partition]) for partition, one in enumerate(before)]
    assert [len(one) for one in told] == [3, 3]
    successor = Together(receiver_of(WEBHOOK), THREE)
    successor.recall({0: before[0].note, 1: "" if is_old else before[1].note})
    for partition, at in sorted(order, key=lambda one: one[1]) if is_old else order:
        successor.delivered(opened[partition][at], 0.0, partition)
    for partition in range(2):
        ends = sent(successor, *ended[partition])
        assert [one["id"] for one in ends] == [one["id"] for one in told[partition]]


def test_the_changes_of_a_partition_without_groups_join_no_group_of_another(together: Together) -> None:
    sent(together, *(notice("opened", f"pump-{at}") for at in range(3)))
    successor = Together(receiver_of(WEBHOOK), THREE)
    successor.recall({0: together.note, 1: '{"folds":[]}', 2: ""})
    alone = [notice("opened", f"pump-{at}") for at in (7, 8)]
    for partition, one in enumerate(alone, start=1):
        successor.delivered(one, 0.0, partition)
    ends = sent(successor, *(notice("resolved", f"pump-{at}") for at in (7, 8)))
    assert [one["id"] for one in ends] == [one.id for one in alone]


def test_a_note_stays_below_what_a_broker_takes_and_texts_of_others_are_none() -> None:
    together = Together(receiver_of(WEBHOOK), THREE)
    for hours in range(100):
        sent(together, *(notice("opened", f"pump-{at}", hours=hours) for at in range(3)))
    assert 2_500 < len(together.note) <= 3_500
    successor = Together(receiver_of(WEBHOOK), THREE)
    successor.recall({0: together.note, 1: "what another program wrote"})
    for at in range(3):
        successor.delivered(notice("opened", f"pump-{at}", hours=99), 0.0, 0)
    (ended,) = sent(successor, notice("resolved", "pump-2", hours=99))
    assert ended["id"].endswith("-group")
