"""Members join and leave during a replay: is anything lost or doubled, and how long do rows wait.

The stream, what must come out of it and the comparison are those of `make faults`: every verdict, incident
and rejected message is compared with a run in one process that nothing disturbs. The stream has late,
repeated and faulty messages.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from kafka import KafkaAdminClient

from benchmarks.scaling.figures import Sample, gaps
from benchmarks.scaling.group import NUM_PARTITIONS, partitions_of
from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, TopicSpec
from connectors.kafka.producer import Producer
from detector.artifact.registry import publish
from detector.config.engine_options import engine_options
from detector.config.load import load_config
from tests.faults.cluster import Cluster, Member, member_config, start, wait_for
from tests.faults.expected import Comparison, committed_output, compare, expected_output
from tests.faults.groups.committed import commits_of, went_back
from tests.faults.harness import LATENESS, Progress
from tests.faults.plant import artifact_of
from tests.faults.stream import Stream, make_stream

TOPIC, SEED = "rebalances", 1
MOST_MEMBERS = 3
TICK_SECONDS = 0.1
ROWS_A_TICK = 50
LEAST_SECONDS = 0.5
"""A shorter wait is a turn of the loop, not a pause."""


@dataclass(frozen=True, slots=True)
class Rebalanced:
    """Hold how many members joined or left, the seconds of each wait, and what came out."""

    num_changes: int
    seconds: float
    gaps: list[float]
    comparison: dict[str, Comparison]
    set_back: list[str]

    @property
    def is_right(self) -> bool:
        """Return whether nothing was lost, doubled or different, and no committed offset went back."""
        return not self.set_back and all(one.is_right for one in self.comparison.values())


def measure_rebalances(directory: Path, num_changes: int) -> Rebalanced:
    """Let members join and leave, one at a time, each after the group has taken in the change before."""
    cluster = Cluster(directory)
    try:
        return _measure(cluster, directory, num_changes)
    finally:
        cluster.close()


def _measure(cluster: Cluster, directory: Path, num_changes: int) -> Rebalanced:
    ensure_topics(Connection((cluster.bootstrap,)), [TopicSpec(TOPIC, NUM_PARTITIONS, 1)])
    artifact, model = artifact_of(SEED), directory / "pump"
    publish(artifact, model)
    members = [
        member_config(
            directory, number, directory / "pump", cluster, TOPIC, "exactly_once", lateness=LATENESS
        )
        for number in range(MOST_MEMBERS)
    ]
    stream = make_stream(SEED, TOPIC, 5_000 * num_changes, num_partitions=NUM_PARTITIONS)
    start(members[0])
    with _flowing(cluster, stream) as flow:
        wait_for(lambda: flow.samples and flow.samples[-1].committed, "the first commit")
        num_before, began = len(flow.samples), time.monotonic()
        for number in range(num_changes):
            _change(cluster, members, number)
        if flow.num_sent == len(stream.messages):
            raise RuntimeError("the messages ended before the changes; a stream of more messages is needed")
        flow.is_over.set()
        wait_for(lambda: flow.samples and flow.samples[-1].committed == flow.num_sent, "the last commit")
    seconds = time.monotonic() - began
    for member in members:
        if member.is_alive:
            _leave(member)
    sent = replace(stream, messages=stream.messages[: flow.num_sent])
    expected = expected_output(sent, artifact, engine_options(load_config(members[0].config)))
    comparison = compare(expected, committed_output(cluster.bootstrap, f"{TOPIC}-out"))
    waits = [one for one in gaps(flow.samples[num_before:]) if one >= LEAST_SECONDS]
    set_back = went_back(commits_of(cluster.bootstrap, TOPIC))
    return Rebalanced(num_changes, seconds, waits, comparison, set_back)


def _change(cluster: Cluster, members: list[Member], number: int) -> None:
    """Let members join until all are there, then leave until one is left, and so on; wait for the group."""
    phase = number % (2 * (MOST_MEMBERS - 1))
    if phase < MOST_MEMBERS - 1:
        start(next(member for member in members if not member.is_alive))
    else:
        _leave(next(member for member in members if member.is_alive))
    num_alive = sum(member.is_alive for member in members)
    wait_for(lambda: _num_sharing(cluster) == num_alive, f"a group of {num_alive} members")


def _leave(member: Member) -> None:
    member.send(signal.SIGTERM)
    wait_for(lambda: not member.is_alive, f"member {member.number} to leave")
    member.pid = 0


def _num_sharing(cluster: Cluster) -> int:
    """Return the members of the stable group that have partitions, 0 while it changes."""
    with KafkaAdminClient(bootstrap_servers=cluster.bootstrap) as admin:
        return sum(number > 0 for number in partitions_of(admin, TOPIC))


class _Flow:
    """Writes a stream at a constant rate until it is over, and looks at what is committed."""

    def __init__(self, cluster: Cluster, stream: Stream) -> None:
        self.samples: list[Sample] = []
        self.num_sent, self.is_over, self.is_closed = 0, threading.Event(), threading.Event()
        self._cluster, self._stream = cluster, stream

    def write(self) -> None:
        producer = Producer(Connection((self._cluster.bootstrap,)))
        messages = self._stream.messages
        while not self.is_over.wait(TICK_SECONDS) and self.num_sent < len(messages):
            part = messages[self.num_sent : self.num_sent + ROWS_A_TICK]
            producer.produce(part)
            self.num_sent += len(part)
        producer.close()

    def look(self) -> None:
        progress, began = Progress(self._cluster, TOPIC, NUM_PARTITIONS), time.monotonic()
        while not self.is_closed.wait(TICK_SECONDS):
            sent = self.num_sent
            self.samples.append(Sample(time.monotonic() - began, progress.committed(), sent))
        progress.close()


@contextmanager
def _flowing(cluster: Cluster, stream: Stream) -> Iterator[_Flow]:
    flow = _Flow(cluster, stream)
    targets: list[Callable[[], None]] = [flow.write, flow.look]
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    try:
        yield flow
    finally:
        flow.is_over.set()
        flow.is_closed.set()
        for thread in threads:
            thread.join()
