"""What a notifier remembers: delivered keys up to a bound, and incidents that are still open."""

from __future__ import annotations

from connectors.kafka.group_reader import Read
from detector.notify.history import Delivered, OpenIncidents
from detector.notify.notice import parse
from tests.detector.notify.notices import message


def read(kind: str, series: str, partition: int = 0) -> Read:
    return Read(partition, 0, message(kind, series).value, 0, "found")


def test_a_delivered_change_is_known_until_newer_ones_displace_it() -> None:
    delivered = Delivered(capacity=2)
    first, second, third = (parse(message("opened", f"pump-{n}").value) for n in range(3))
    for notice in (first, second):
        delivered.add(notice)
    assert first in delivered
    delivered.add(third)
    assert [notice in delivered for notice in (first, second, third)] == [False, True, True]


def test_only_incidents_that_are_still_open_are_taken_and_only_once() -> None:
    incidents = OpenIncidents()
    for kind, series in (("opened", "a"), ("opened", "b"), ("escalated", "b"), ("resolved", "a")):
        found = read(kind, series)
        incidents.update(parse(found.value), found)
    other = read("opened", "c", partition=1)
    incidents.update(parse(other.value), other)
    assert [(one.notice.series, one.notice.event) for one in incidents.take(0)] == [("b", "escalated")]
    assert incidents.take(0) == []
    incidents.clear()
    assert incidents.take(1) == []
