"""One schedule: a known stream, members under faults, and what came out against what should have."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, TopicSpec
from connectors.kafka.producer import Producer
from connectors.records import Message
from detector.artifact.registry import publish
from detector.artifact.spec import Artifact
from detector.config.engine_options import engine_options
from detector.config.load import load_config
from detector.delivery.decision_records import encode_decision
from detector.delivery.decisions.decision_topic import decisions_topic
from detector.engine.engine import EngineOptions
from detector.incidents.decision import Decision
from tests.faults.cluster import EVERY_RULE, PLAIN_RULES, Cluster, Member, member_config, start, wait_for
from tests.faults.expected import (
    Comparison,
    Judges,
    at_their_rows,
    committed_output,
    compare,
    expected_output,
)
from tests.faults.faults import FAULTS, WEIGHTS, Struck
from tests.faults.groups.committed import Commit, commits_of, went_back
from tests.faults.plant import artifact_of
from tests.faults.stream import Stream, decisions_about, make_stream

LATENESS = "20m"
"""Two rows of the stream."""
_DRAIN_SECONDS, _PROGRESS_SECONDS = 180.0, 15.0


@dataclass(frozen=True)
class Plan:
    """What a schedule is made of. `faults` None: drawn by the seed."""

    seed: int
    num_readings: int = 100_000
    num_series: int = 200
    num_partitions: int = 4
    num_members: int = 3
    num_slices: int = 12
    num_faults: int = 6
    faults: tuple[str, ...] | None = None
    mode: str = "exactly_once"
    breakages: tuple[str, ...] = ()
    has_two_models: bool = False


@dataclass
class Report:
    """What happened and what came out."""

    plan: Plan
    evidence: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    context: Counter[str] = field(default_factory=Counter)
    aborted: int = 0
    taken_up: int = 0
    replayed: int = 0
    seconds: float = 0.0
    comparison: dict[str, Comparison] = field(default_factory=dict)
    problem: str = ""
    set_back: list[str] = field(default_factory=list)

    @property
    def is_hanging(self) -> bool:
        """Whether the group did not get to the end, for whatever reason."""
        return self.problem.startswith(GroupHangsError.__name__)

    @property
    def is_right(self) -> bool:
        return (
            not self.problem and not self.set_back and all(one.is_right for one in self.comparison.values())
        )


class GroupHangsError(RuntimeError):
    """Members live, and what they have committed does not reach the end of the stream."""


def run_schedule(cluster: Cluster, plan: Plan, directory: Path) -> Report:
    """Run it on topics of its own; the directory keeps logs of the members."""
    began = time.monotonic()
    report = Report(plan)
    topic = f"t{plan.seed}-{uuid.uuid4().hex[:6]}"
    ensure_topics(Connection((cluster.bootstrap,)), [TopicSpec(topic, plan.num_partitions)])
    artifact = artifact_of(plan.seed)
    model = directory / "models" / "pump"
    shutil.rmtree(model, ignore_errors=True)
    publish(artifact, model)
    members = [
        member_config(directory, number, model, cluster, topic, plan.mode, _rules(plan.seed), LATENESS)
        for number in range(plan.num_members)
    ]
    stream = make_stream(plan.seed, topic, plan.num_readings, plan.num_series, plan.num_partitions)
    judges = _two_models(artifact, plan.seed, model, members) if plan.has_two_models else {"*": artifact}
    options = engine_options(load_config(members[0].config))
    known, mutes = _decided(cluster, plan, stream, judges, options)

    def begin(member: Member) -> None:
        start(member, plan.breakages)

    notes = count()

    def publish_next() -> str:
        """A version that judges alike, so that it is known what must come out."""
        spec = replace(artifact.spec, training={"note": next(notes)})
        return publish(replace(artifact, spec=spec), model).version

    try:
        for member in members[: max(1, plan.num_members - 1)]:
            begin(member)
        rng = np.random.default_rng([plan.seed, 1])
        struck = Struck(cluster, members, begin, f"{topic}-out.state", publish_next, rng)
        _strike(struck, plan, stream, mutes, report)
        _drain(cluster, stream, topic, members, begin)
    except (TimeoutError, RuntimeError) as error:
        report.problem = f"{type(error).__name__}: {error}"
    finally:
        _kill(members)
    look_at_commits(partial(commits_of, cluster.bootstrap, topic), report)
    if not report.problem:
        found = committed_output(cluster.bootstrap, f"{topic}-out")
        decisions = at_their_rows([*known, *mutes], found)
        report.context = found.context()
        report.comparison = compare(expected_output(stream, judges, options, decisions), found)
    _count(members, report)
    report.seconds = time.monotonic() - began
    _delete(cluster, topic)
    return report


def look_at_commits(read: Callable[[], Sequence[Commit]], report: Report) -> None:
    """Note where offsets went back. Commits that cannot be read, or that are missing, are a problem."""
    try:
        commits, problem = read(), "no commit of the group was found"
    except (KafkaError, RuntimeError, OSError) as error:
        commits, problem = (), f"cannot read the commits of the group: {type(error).__name__}: {error}"
    report.set_back = went_back(commits)
    if not commits:
        report.problem = report.problem or problem


def _rules(seed: int) -> str:
    """Every other schedule has all incident rules."""
    return PLAIN_RULES if seed % 2 else EVERY_RULE


def _two_models(artifact: Artifact, seed: int, place: Path, members: Sequence[Member]) -> dict[str, Artifact]:
    """Let a second model judge the series of odd numbers, in the configuration of each member."""
    other = artifact_of(seed + 1)
    other = replace(other, spec=replace(other.spec, name="odd"))
    shutil.rmtree(place.with_name("odd"), ignore_errors=True)
    publish(other, place.with_name("odd"))
    judges = {"*[02468]": artifact, "*[13579]": other}
    entries = "".join(
        f'[[models]]\npath = "{at}"\nseries = ["{pattern}"]\nreload_every = "300ms"\n'
        for at, pattern in zip((place, place.with_name("odd")), judges, strict=True)
    )
    for member in members:
        text = member.config.read_text()
        one = f'[model]\npath = "{place}"\nreload_every = "300ms"\n'
        assert one in text
        member.config.write_text(text.replace(one, entries))
    return judges


def _kill(members: Sequence[Member]) -> None:
    """Kill whoever is left, stopped or not."""
    for member in members:
        if member.is_alive:
            member.send(signal.SIGCONT)
            member.kill()


def _count(members: Sequence[Member], report: Report) -> None:
    report.aborted = sum(member.lines("transaction aborted") for member in members)
    report.taken_up = sum(len(member.assignments()) for member in members)
    report.replayed = sum(
        event["replayed"] for member in members for event in member.events("partition caught up")
    )


def _decided(
    cluster: Cluster, plan: Plan, stream: Stream, judges: Judges, options: EngineOptions
) -> tuple[list[Decision], list[Decision]]:
    """Decide; return what is known before the first row, and mutes that are to be written under way."""
    opened = expected_output(stream, judges, options).opened
    delay = max(one.spec.scoring.delay for one in judges.values())
    known, mutes = decisions_about(opened, stream, plan.seed, delay)
    topic = f"{stream.messages[0].topic}-out.decisions"
    ensure_topics(Connection((cluster.bootstrap,)), [decisions_topic(topic)])
    _decide(cluster, topic, known)
    return known, mutes


def _decide(cluster: Cluster, topic: str, decisions: Sequence[Decision]) -> None:
    with contextlib.closing(Producer(Connection((cluster.bootstrap,)))) as producer:
        producer.produce(
            [Message(topic, one.series.encode(), encode_decision(one), (), 0) for one in decisions]
        )


def _strike(struck: Struck, plan: Plan, stream: Stream, mutes: Sequence[Decision], report: Report) -> None:
    """Write the stream slice by slice, and let the faults strike while the members are busy with it. Mutes
    are written before the slices of their time, yet a member may be ahead: then a later row is the first."""
    rng, cluster, members = struck.rng, struck.cluster, struck.members
    names = plan.faults
    if names is None:
        weight = np.array([WEIGHTS.get(name, 1.0) for name in FAULTS])
        names = tuple(rng.choice(list(FAULTS), plan.num_faults, p=weight / weight.sum()).tolist())
    slices = np.array_split(np.arange(len(stream.messages)), plan.num_slices)
    before = sorted(
        rng.choice(np.arange(1, plan.num_slices), len(names), replace=len(names) >= plan.num_slices)
    )
    producer = Producer(Connection((cluster.bootstrap,)))
    topic = stream.messages[0].topic
    progress = Progress(cluster, topic, plan.num_partitions)
    soon = np.array_split(np.arange(len(mutes)), plan.num_slices - 4)
    try:
        for number, part in enumerate(slices):
            if number > 1:
                progress.wait_for(int(slices[number - 2][-1]))
            producer.produce([stream.messages[at] for at in part.tolist()])
            if number < len(soon):
                _decide(cluster, f"{topic}-out.decisions", [mutes[at] for at in soon[number].tolist()])
            if number == 0:
                wait_for(lambda: any(m.events("started") for m in members), "a member to start")
            for name, when in zip(names, before, strict=True):
                if when == number:
                    report.evidence.append(FAULTS[name](struck))
                    report.faults[name] += 1
            time.sleep(0.3 * float(rng.random()))  # a stream comes over time
    finally:
        producer.close()
        progress.close()


class Progress:
    """How much of the stream the group has committed."""

    def __init__(self, cluster: Cluster, topic: str, num_partitions: int) -> None:
        self._looker = KafkaConsumer(
            bootstrap_servers=cluster.bootstrap, group_id=topic, enable_auto_commit=False
        )
        self._partitions = [TopicPartition(topic, number) for number in range(num_partitions)]

    def committed(self) -> int:
        return sum(self._by_partition())

    def ends(self) -> list[int]:
        """The end of each partition."""
        found = self._looker.end_offsets(self._partitions)
        return [found[tp] for tp in self._partitions]

    def has_reached(self, ends: list[int]) -> bool:
        """Whether each partition is committed up to there."""
        return all(at >= end for at, end in zip(self._by_partition(), ends, strict=True))

    def _by_partition(self) -> list[int]:
        return [self._looker.committed(tp) or 0 for tp in self._partitions]

    def wait_for(self, num_readings: int) -> None:
        """Faults are to strike members that are busy; yet not wait for ever for some that are not."""
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: self.committed() >= num_readings, "progress", _PROGRESS_SECONDS, every=0.25)

    def close(self) -> None:
        self._looker.close(autocommit=False)


def _drain(cluster: Cluster, stream: Stream, topic: str, members: list[Member], start) -> None:
    """Wait until everything is committed, then let all leave in order."""
    counts = Counter(message.partition for message in stream.messages)
    progress = Progress(cluster, topic, len(counts))

    def is_done() -> bool:
        if not any(member.is_alive for member in members):
            raise RuntimeError(f"every member is gone; see {members[0].log.parent}")
        return progress.committed() >= len(stream.messages)

    try:
        wait_for(is_done, "the group to finish", _DRAIN_SECONDS, every=0.5)
    except TimeoutError:
        at, end = progress.committed(), len(stream.messages)
        where = f"after {_DRAIN_SECONDS:.0f} s it has committed {at} of {end} messages"
        raise GroupHangsError(f"the group hangs: {where}; see {members[0].log.parent}") from None
    finally:
        progress.close()
    for member in members:
        if member.is_alive:
            member.send(signal.SIGTERM)
    for member in members:
        wait_for(lambda member=member: not member.is_alive, f"member {member.number} to end")


def _delete(cluster: Cluster, topic: str) -> None:
    names = [
        topic,
        *(f"{topic}-out.{kind}" for kind in ("scores", "alerts", "dead-letters", "state", "decisions")),
    ]
    with (
        contextlib.suppress(KafkaError),  # a broker that is unwell keeps them: the report matters more
        KafkaAdminClient(bootstrap_servers=cluster.bootstrap) as admin,
    ):
        admin.delete_topics(names)
