"""A consumer group of daemons, each a process of its own, on a real Apache Kafka of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition, errors

from benchmarks.artifacts import CHANNELS, INTERVAL_NS, conv_artifact
from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, TopicSpec, client_settings
from connectors.kafka.producer import Producer
from connectors.records import Message, Readings
from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from tests.support.kafka_broker import KafkaBroker

NUM_PARTITIONS = 16
NUM_SERIES = 160
START_NS = 1_767_225_600_000_000_000  # 2026-01-01
PATIENCE_SECONDS = 300.0
LOOK_SECONDS = 0.05
CHUNK = 16_000


@dataclass(frozen=True, slots=True)
class Site:
    """Hold where groups run: a broker, and a directory with the model."""

    connection: Connection
    directory: Path

    @property
    def model(self) -> Path:
        """Return the registry of the model."""
        return self.directory / "model"


@contextmanager
def site(directory: Path) -> Iterator[Site]:
    """Run a broker while the context lasts, with the model of the benchmarks beside it."""
    broker = KafkaBroker(directory)
    publish(conv_artifact(), directory / "model")
    broker.start()
    try:
        yield Site(Connection((broker.bootstrap,)), directory)
    finally:
        broker.kill()


def rows(start: int, num_rows: int) -> Readings:
    """Return rows of all series in order of time, from number `start` on."""
    number = np.arange(start, start + num_rows)
    return Readings(
        tuple(f"pump-{one:03d}" for one in range(NUM_SERIES)),
        (number % NUM_SERIES).astype(np.int32),
        START_NS + number // NUM_SERIES * INTERVAL_NS,
        np.random.default_rng([7, start]).normal(20.0, 1.0, (num_rows, len(CHANNELS))).round(4),
        np.zeros(num_rows, np.int32),
        number,
    )


class Feed:
    """Writes rows of all series in order of time, as many for each partition."""

    def __init__(self, site: Site, topic: str) -> None:
        ensure_topics(site.connection, [TopicSpec(topic, NUM_PARTITIONS, 1)])
        self._producer, self._topic = Producer(site.connection), topic
        self.num_sent = 0

    def send(self, num_rows: int) -> None:
        """Write rows, a multiple of the series; return when the broker has them."""
        for start in range(0, num_rows, CHUNK):
            messages = self.messages(min(CHUNK, num_rows - start))
            self._producer.produce(messages)
            self.num_sent += len(messages)

    def messages(self, num_rows: int) -> list[Message]:
        """Return the next messages, each with its partition."""
        encoded = encode(rows(self.num_sent, num_rows), CHANNELS, self._topic)
        return [
            Message(one.topic, one.key, one.value, one.headers, (self.num_sent + at) % NUM_PARTITIONS)
            for at, one in enumerate(encoded)
        ]

    def close(self) -> None:
        """Close the client."""
        self._producer.close()


class Group:
    """Members of one consumer group, delivering exactly once; ended with the context."""

    def __init__(self, site: Site, topic: str, session_seconds: float = 45.0) -> None:
        self.name, self._site, self._topic, self._session = f"group-{topic}", site, topic, session_seconds
        self.members: list[psutil.Popen] = []
        self._admin = KafkaAdminClient(bootstrap_servers=site.connection.servers)
        self._looker = KafkaConsumer(
            **client_settings(site.connection), group_id=self.name, enable_auto_commit=False
        )

    def __enter__(self) -> Group:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            if member.is_running():
                member.send_signal(signal.SIGCONT)
                member.kill()
                member.wait()
        self._looker.close(autocommit=False)
        self._admin.close()

    def start(self, num_members: int = 1) -> None:
        """Start members, each with one thread that scores; do not wait for them."""
        for _ in range(num_members):
            config = self._site.directory / f"{self.name}-{len(self.members)}.toml"
            config.write_text(
                f'[model]\npath = "{self._site.model}"\n[service]\nthreads = 1\n'
                f'[kafka]\nbootstrap_servers = ["{self._site.connection.servers}"]\n'
                f'topic = "{self._topic}"\ngroup_id = "{self.name}"\n'
                f'session_timeout = "{self._session}s"\n'
                f'[delivery]\nmode = "exactly_once"\n'
                f'[output]\nprefix = "{self.name}"\n[http]\nport = 0\n'
            )
            command = [sys.executable, "-m", "streamgauge", "run", str(config)]
            environ = {**os.environ, "OMP_NUM_THREADS": "1"}
            with config.with_suffix(".log").open("wb") as log:
                self.members.append(psutil.Popen(command, stdout=log, stderr=log, env=environ))

    def end(self, member: psutil.Popen, how: signal.Signals) -> None:
        """Send a member the signal that ends it, and wait for its end unless it is killed."""
        self.members.remove(member)
        member.send_signal(how)
        try:
            member.wait(timeout=60)
        except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
            member.kill()
            raise RuntimeError(f"a member did not end on {how.name}; see its log") from None

    def pause(self) -> None:
        """Stop every member where it is; far shorter than the session timeout."""
        for member in self.members:
            member.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let stopped members go on."""
        for member in self.members:
            member.send_signal(signal.SIGCONT)

    def committed(self) -> list[int]:
        """Return the committed offset of each partition, 0 without a commit."""
        places = [TopicPartition(self._topic, number) for number in range(NUM_PARTITIONS)]
        return [self._looker.committed(place) or 0 for place in places]

    def partitions(self) -> list[int]:
        """Return how many partitions each member has; empty while the group is not stable."""
        return partitions_of(self._admin, self.name)

    def is_shared(self) -> bool:
        """Return whether the group is stable, knows every member, and has assigned every partition."""
        found = self.partitions()
        return len(found) == len(self.members) and sum(found) == NUM_PARTITIONS

    def cpu_seconds(self) -> float:
        """Return the processor time of all members so far, user and system."""
        return sum(sum(member.cpu_times()[:2]) for member in self.members)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Return once the condition holds. Raises RuntimeError if a member ends, or after five minutes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline or any(member.poll() is not None for member in self.members):
                logs = sorted(self._site.directory.glob(f"{self.name}-*.log"))
                ends = "\n".join(log.read_text(errors="replace")[-1500:] for log in logs)
                raise RuntimeError(f"waited in vain for {what}:\n{ends}")
            time.sleep(LOOK_SECONDS)


def partitions_of(admin: KafkaAdminClient, group: str) -> list[int]:
    """Return how many partitions each member of a group has; empty while it is not stable or not known."""
    try:
        found = admin.describe_groups([group])[group]
    except (errors.CoordinatorNotAvailableError, errors.NotCoordinatorError, errors.GroupIdNotFoundError):
        return []
    if found["group_state"] != "Stable":
        return []
    return [_assigned(member["member_assignment"]) for member in found["members"]]


def _assigned(assignment: dict[str, object] | bytes) -> int:
    """Return the number of partitions in the assignment of one member."""
    if not isinstance(assignment, dict):
        return 0
    topics = assignment["assigned_partitions"]
    assert isinstance(topics, list)
    return sum(len(topic["partitions"]) for topic in topics)
