"""Members of a group: slow ones, hanging ones, static ones, twins, and what retention deletes under them."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
from kafka import KafkaAdminClient, TopicPartition

from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, TopicSpec
from connectors.kafka.producer import Producer
from connectors.records import Message
from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from tests.faults.breakages import HANGING
from tests.faults.cluster import SESSION_SECONDS, Cluster, Member, member_config, start, wait_for
from tests.faults.expected import committed_output
from tests.faults.harness import Progress
from tests.support.artifacts import make_artifact
from tests.support.strategies import readings_of

CHANNELS = ("flow", "pressure")


@dataclass
class Group:
    """Members on a topic of their own; `settings` are put into every member's configuration."""

    cluster: Cluster
    directory: Path
    num_partitions: int = 2
    members: list[Member] = field(default_factory=list)
    written: int = 0

    def __post_init__(self) -> None:
        self.topic = f"t-{uuid.uuid4().hex[:8]}"
        ensure_topics(Connection((self.cluster.bootstrap,)), [TopicSpec(self.topic, self.num_partitions)])
        publish(make_artifact(threshold=1e9), self.directory / "pump")

    def member(self, *breakages: str, kafka: str = "", delivery: str = "", session: str = "3s") -> Member:
        """Start one more, with these lines in its sections."""
        number = len(self.members)
        made = member_config(
            self.directory, number, self.directory / "pump", self.cluster, self.topic, "exactly_once"
        )
        text = made.config.read_text()
        text = text.replace(f'session_timeout = "{SESSION_SECONDS}s"', f'session_timeout = "{session}"')
        text = text.replace("[grid]", f"{kafka}\n[grid]").replace("[recovery]", f"{delivery}\n[recovery]")
        made.config.write_text(text)
        self.members.append(made)
        self.start(made, *breakages)
        return made

    def start(self, member: Member, *breakages: str) -> None:
        started = len(member.events("started"))
        start(member, breakages)
        wait_for(lambda: len(member.events("started")) > started, f"{member.log} to start")

    def write(self, num_rows: int) -> None:
        """So many rows of three series a partition."""
        with_rows = []
        first = self.written
        self.written += num_rows
        series = np.tile(np.arange(3), num_rows)
        times = 1_700_000_000_000_000_000 + (first + np.repeat(np.arange(num_rows), 3)) * 10**9
        values = np.random.default_rng(first).standard_normal((3 * num_rows, 2))
        for partition in range(self.num_partitions):
            for message in encode(readings_of(series, times, values), CHANNELS, self.topic):
                body = json.loads(message.value)
                body["series"] += f"-{partition}"
                key = body["series"].encode()
                with_rows.append(Message(self.topic, key, json.dumps(body).encode(), (), partition))
        producer = Producer(Connection((self.cluster.bootstrap,)))
        producer.produce(with_rows)
        producer.close()

    @property
    def num_messages(self) -> int:
        return 3 * self.written * self.num_partitions

    def wait(self) -> None:
        """Until everything written is committed."""
        progress = Progress(self.cluster, self.topic, self.num_partitions)
        try:
            wait_for(lambda: progress.committed() >= self.num_messages, f"progress; see {self.directory}")
        finally:
            progress.close()

    def assert_each_row_once(self) -> None:
        """All rows but each series' newest three, which are open: the lateness is two rows."""
        output = committed_output(self.cluster.bootstrap, f"{self.topic}-out")
        assert set(output.verdicts.values()) == {1}
        assert len(output.verdicts) == 3 * self.num_partitions * (self.written - 3)

    def close(self) -> None:
        for member in self.members:
            if member.is_alive:
                member.kill()


@pytest.fixture
def group(cluster: Cluster, tmp_path: Path) -> Iterator[Group]:
    made = Group(cluster, tmp_path)
    yield made
    made.close()


def taken_up(member: Member) -> list[int]:
    return [event["partition"] for event in member.assignments()]


def test_a_model_slowed_a_hundredfold_keeps_its_membership(group: Group) -> None:
    group.write(300)
    member = group.member("hundredfold", kafka='max_poll_interval = "6s"')
    group.wait()
    assert sorted(taken_up(member)) == [0, 1], "nothing was taken from it"
    assert member.lines("transaction aborted") == 0
    group.assert_each_row_once()


def test_a_rebalance_in_the_middle_of_a_batch_waits_for_it_and_nothing_is_judged_twice(group: Group) -> None:
    """The client rejoins when it polls, so partitions are revoked between batches; a member that takes longer
    than `max_poll_interval` is expelled in the middle of one, as the next test has it."""
    slow = group.member("hang_once")
    wait_for(lambda: slow.holds_partitions, "the first")

    def is_hanging() -> bool:
        group.write(5)
        return bool(slow.events(HANGING))

    wait_for(is_hanging, f"a batch to take long; see {slow.log}", every=0.5)
    other = group.member()
    wait_for(lambda: other.holds_partitions, f"the other to be given partitions; see {other.log}")
    group.write(20)
    group.wait()
    assert slow.lines("transaction aborted") == 0
    assert len(taken_up(other)) == 1
    group.assert_each_row_once()


def test_a_member_that_hangs_is_replaced_and_comes_back_by_itself(group: Group) -> None:
    kafka = 'max_poll_interval = "4s"'
    hanging = group.member("hang_once", kafka=kafka)
    other = group.member(kafka=kafka)
    wait_for(lambda: hanging.holds_partitions and other.holds_partitions, "both members")
    before = len(taken_up(other))
    for _ in range(6):
        group.write(20)
        group.wait()
    wait_for(lambda: len(taken_up(other)) > before, f"the other to take over; see {other.log}")
    back = len(taken_up(hanging))
    wait_for(lambda: len(taken_up(hanging)) > back or hanging.holds_partitions, "its return")
    group.write(20)
    group.wait()
    assert hanging.is_alive
    group.assert_each_row_once()


def test_a_static_member_that_is_killed_and_comes_back_costs_no_rebalance(group: Group) -> None:
    first, second = (
        group.member(kafka=f'group_instance_id = "m{number}"', session="30s") for number in range(2)
    )
    wait_for(lambda: first.holds_partitions and second.holds_partitions, "both members")
    group.write(30)
    group.wait()
    before, had = taken_up(first), set(taken_up(second)[-1:])
    second.kill()
    group.start(second)
    group.write(30)
    group.wait()
    assert taken_up(first) == before
    assert set(taken_up(second)[-1:]) == had
    group.assert_each_row_once()


def test_of_two_members_with_one_instance_id_the_older_ends_with_a_clear_message(group: Group) -> None:
    older = group.member(kafka='group_instance_id = "twin"')
    group.write(20)
    group.wait()
    younger = group.member(kafka='group_instance_id = "twin"')
    wait_for(lambda: not older.is_alive, f"the older to end; see {older.log}")
    last = older.log.read_text().splitlines()[-1]
    assert last.startswith("streamgauge: error: ")
    assert "group_instance_id 'twin'; give each member its own" in last
    assert "Traceback" not in older.log.read_text()
    group.write(20)
    group.wait()
    assert younger.is_alive
    group.assert_each_row_once()


@pytest.mark.parametrize(
    ("until", "event"),
    [
        (60, "input needed for replay was already deleted by retention"),
        (150, "input was deleted by retention before it was read"),
    ],
)
def test_what_retention_deleted_is_reported_and_survived(group: Group, until: int, event: str) -> None:
    member = group.member()
    group.write(40)
    group.wait()
    member.kill()
    group.write(40)
    with KafkaAdminClient(bootstrap_servers=group.cluster.bootstrap) as admin:
        admin.delete_records({TopicPartition(group.topic, number): until for number in range(2)})
    group.start(member)
    group.write(40)
    group.wait()
    events = member.events(event)
    assert sorted(one["partition"] for one in events) == [0, 1]
    assert {one["unread_messages"] for one in events} == {max(0, until - 120)}
    assert {one["earliest"] for one in events} == {until}
    output = committed_output(group.cluster.bootstrap, f"{group.topic}-out")
    assert set(output.verdicts.values()) == {1}
    newest = 1_700_000_000_000 + 116_000
    assert {time for _, time, _ in output.verdicts} >= set(range(newest - 30_000, newest + 1, 1_000))


def test_what_retention_deletes_under_a_running_member_is_reported_and_survived(group: Group) -> None:
    """It is held up for less than its session: no rebalance tells it where to go on."""
    member = group.member(session="30s")
    group.write(20)
    group.wait()
    member.send(signal.SIGSTOP)
    group.write(1)  # answers the fetch that waits at the broker; the next one comes after the deletion
    group.write(300)
    with KafkaAdminClient(bootstrap_servers=group.cluster.bootstrap) as admin:
        admin.delete_records({TopicPartition(group.topic, number): 800 for number in range(2)})
    member.send(signal.SIGCONT)
    group.wait()
    assert len(member.assignments()) == 2
    events = member.events("input was deleted by retention before it was read")
    assert sorted(one["partition"] for one in events) == [0, 1]
    assert all(one["earliest"] == 800 and one["unread_messages"] == 800 - one["wanted"] for one in events)
    output = committed_output(group.cluster.bootstrap, f"{group.topic}-out")
    assert set(output.verdicts.values()) == {1}


def test_members_with_one_transactional_id_fence_each_other_until_one_says_so_and_ends(group: Group) -> None:
    twins = [group.member(delivery='transactional_id = "same"') for _ in range(2)]

    def one_ended() -> bool:
        group.write(5)
        return not all(one.is_alive for one in twins)

    wait_for(one_ended, f"one to give up; see {group.directory}", every=0.5)
    (ended,) = [one for one in twins if not one.is_alive]
    last = ended.log.read_text().splitlines()[-1]
    assert "another member uses our transactional id 'same'" in last
    assert "delivery.transactional_id" in last
    group.wait()
    group.assert_each_row_once()


def test_memory_stays_flat_while_the_sink_is_slow(group: Group) -> None:
    """Of 160 MB that wait in the topic and go out again as dead letters, a part alone is ever in memory."""
    group.write(2)
    member = group.member()
    group.wait()
    process = psutil.Process(member.pid)
    start = most = process.memory_info().rss
    padded = b'{"pad": "%s"}' % (b"x" * 8_000)
    filler = [Message(group.topic, b"pump-1-0", padded, (), number % 2) for number in range(20_000)]
    producer = Producer(Connection((group.cluster.bootstrap,)))
    progress = Progress(group.cluster, group.topic, 2)
    group.cluster.proxy.delay(0.02)
    try:
        before = progress.committed()
        producer.produce(filler)

        def watched() -> bool:
            nonlocal most
            most = max(most, process.memory_info().rss)
            return progress.committed() >= before + 2_000

        wait_for(watched, f"some of the backlog; see {member.log}")
    finally:
        group.cluster.proxy.delay(0.0)
        producer.close()
        progress.close()
    assert most - start < 100 << 20
