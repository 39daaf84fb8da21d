"""Two real members: the silence of a stream is the group's, whoever holds which partition."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.records import Message
from tests.faults.cluster import Cluster, Member, wait_for
from tests.faults.expected import read_committed
from tests.faults.test_members import Group

pytestmark = pytest.mark.kafka_changes
WATCHDOG = '[watchdog]\nseries_after = "20s"\nstream_after = "20s"'
"""Nobody reads while a group forms; a slow machine needs some seconds for it."""


@pytest.fixture
def group(cluster: Cluster, tmp_path: Path) -> Iterator[Group]:
    made = Group(cluster, tmp_path)
    yield made
    made.close()


def changes(group: Group) -> list[tuple[str, str, str]]:
    """What the group has committed about silence: event, series, id of the incident."""
    bodies = [
        json.loads(one.value) for one in read_committed(group.cluster.bootstrap, f"{group.topic}-out.alerts")
    ]
    return [(body["event"], body["series"], body["id"]) for body in bodies]


class Rows:
    """One row of three series in a partition, each later than the one before."""

    def __init__(self, group: Group) -> None:
        self._producer, self._topic, self._row = (
            Producer(Connection((group.cluster.bootstrap,))),
            group.topic,
            0,
        )

    def write(self, *partitions: int) -> None:
        time_ms = 1_700_000_000_000 + 1_000 * self._row
        self._row += 1
        self._producer.produce(
            [
                Message(self._topic, name.encode(), _body(name, time_ms), (), partition)
                for partition in partitions
                for name in [f"pump-{one}-{partition}" for one in range(3)]
            ]
        )

    def write_until(self, happens: Callable[[], bool], what: str) -> None:
        """Write to both partitions again and again, so that no wait is a silence, however long it takes."""

        def has_happened() -> bool:
            self.write(0, 1)
            return happens()

        wait_for(has_happened, what, every=0.5)

    def close(self) -> None:
        self._producer.close()


def _body(name: str, time_ms: int) -> bytes:
    return json.dumps(
        {"series": name, "timestamp": time_ms, "values": {"flow": 0.1, "pressure": 0.2}}
    ).encode()


@pytest.fixture
def rows(group: Group) -> Iterator[Rows]:
    made = Rows(group)
    yield made
    made.close()


def both(group: Group, rows: Rows) -> dict[int, Member]:
    """Two members that have received every partition; partition -> its member."""
    first = group.member(delivery=WATCHDOG)
    rows.write(0, 1)
    wait_for(lambda: len(first.assignments()) == 2, "the first to hold both")
    second = group.member(delivery=WATCHDOG)

    rows.write_until(lambda: second.holds_partitions, "a partition for the second")
    (taken,) = [event["partition"] for event in second.assignments()]
    return {taken: second, 1 - taken: first}


def test_a_silence_of_all_members_is_reported_once_and_survives_its_reporter(
    group: Group, rows: Rows
) -> None:
    owners = both(group, rows)

    def is_silent() -> bool:
        rows.write(1)
        return sum(event == "opened" for event, *_ in changes(group)) >= 3

    wait_for(is_silent, "the series of partition 0 to be silent by themselves", every=0.5)
    assert {series for _, series, _ in changes(group)} == {f"pump-{one}-0" for one in range(3)}

    wait_for(lambda: ("opened", "*") in [one[:2] for one in changes(group)], "the stream to be silent")
    reporter, other = owners[0], owners[1]
    before = len(other.assignments())
    reporter.kill()
    wait_for(lambda: len(other.assignments()) > before, f"the other to take over; see {other.log}")
    wait_for(lambda: other.events("partition caught up") or other.holds_partitions, "its state")

    def is_over() -> bool:
        rows.write(1)
        return ("resolved", "*") in [one[:2] for one in changes(group)]

    wait_for(is_over, "the end of the silence", every=0.5)
    of_stream = [(event, name) for event, series, name in changes(group) if series == "*"]
    assert [event for event, _ in of_stream] == ["opened", "resolved"]
    assert len({name for _, name in of_stream}) == 1


def test_a_stream_that_moves_is_not_silent_and_a_reading_at_one_member_ends_the_silence_of_all(
    group: Group, rows: Rows
) -> None:
    owners = both(group, rows)
    for _ in range(3):  # a partition goes to and fro while its rows go on
        before = len(owners[1].assignments())
        owners[0].send(signal.SIGTERM)
        rows.write_until(lambda: not owners[0].is_alive, "a member to leave")
        rows.write_until(lambda before=before: len(owners[1].assignments()) > before, "a takeover")
        group.start(owners[0])
        rows.write_until(lambda: owners[0].holds_partitions, "the member to be back")
    assert changes(group) == []

    wait_for(lambda: ("opened", "*") in [one[:2] for one in changes(group)], "the stream to be silent")

    def is_over() -> bool:
        rows.write(1)  # its member is not the one that reports
        return ("resolved", "*") in [one[:2] for one in changes(group)]

    wait_for(is_over, "the end of the silence", every=0.5)
    assert [one[0] for one in changes(group) if one[1] == "*"] == ["opened", "resolved"]
