"""One message for many incidents that begin together: who is on top, who is silent, and when it ends."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

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
