"""What an undisturbed run says of a stream: by the engine, in process; and what topics hold, the same way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np
from kafka import KafkaConsumer, TopicPartition

from connectors.kafka.connection import Connection, client_settings
from connectors.records import Message
from connectors.wide_json.decoder import JsonWideCodec, Raw
from detector.artifact.spec import Artifact
from detector.delivery.messages import MessageEncoder, Topics
from detector.engine.engine import Engine, EngineOptions
from detector.incidents.decision import Decision
from tests.faults.stream import Stream

_BATCH = 5_000
Key = tuple[object, ...]


@dataclass
class Output:
    """What came out, each with how often: verdicts (series, ms, state) with their scores, incident events
    (id, kind, time, severity, end, what held it, how it ended), dead letters (partition, offset, reason) and
    decisions that took effect (id, action, the row, what was learnt). `opened`: messages of openings.
    `drifting`: ids of incidents with the reason drift, at once or later."""

    verdicts: Counter[Key] = field(default_factory=Counter)
    scores: dict[Key, float | None] = field(default_factory=dict)
    incidents: Counter[Key] = field(default_factory=Counter)
    letters: Counter[Key] = field(default_factory=Counter)
    decisions: Counter[Key] = field(default_factory=Counter)
    opened: list[dict] = field(default_factory=list)
    drifting: set[str] = field(default_factory=set)

    def context(self) -> Counter[str]:
        """How much of it speaks of modes, of the season and of drift."""
        states = Counter(state for _, _, state in self.verdicts)
        reasons = Counter(body["reason"] for body in self.opened)
        return Counter(
            {
                "rows in transition": states["transition"],
                "rows of idle modes": states["idle"],
                "incidents of a mode": reasons["mode"],
                "incidents of the season": reasons["season"],
                "incidents of drift": len(self.drifting),
            }
        )

    def add_scores(self, body: dict) -> None:
        columns = zip(body["timestamp"], body["state"], body["score"], strict=True)
        for time_ms, state, score in columns:
            key = (body["series"], time_ms, state)
            self.verdicts[key] += 1
            self.scores[key] = score

    def add_alert(self, body: dict) -> None:
        if body["event"] in ("accepted", "rejected", "muted"):
            told = body["decision"]
            learnt = json.dumps(told.get("learnt"))
            self.decisions[(told["id"], told["action"], told["at"], body["at"], learnt)] += 1
        if body["event"] == "opened":
            self.opened.append(body)
        if body["reason"] == "drift":
            self.drifting.add(body["id"])
        if body["event"] in ("muted", "ignored"):
            return
        fate = (body["event"], body["at"], body["severity"], body["end"], body["ending"])
        self.incidents[(body["id"], *fate, body["flapping"], *body["held_by"])] += 1


Judges = Mapping[str, Artifact]
"""Several models, each with the pattern of its series."""


def expected_output(
    stream: Stream, judges: Artifact | Judges, options: EngineOptions, decisions: Sequence[Decision] = ()
) -> Output:
    """Partition by partition, in the order of offsets; rows that no later reading closed stay open. The
    decisions are known from the first row on. Of several models each judges its series alone."""
    output = Output()
    for pattern, artifact in ({"*": judges} if isinstance(judges, Artifact) else judges).items():
        _add_expected(output, stream, pattern, artifact, options, decisions)
    return output


def _add_expected(
    output: Output,
    stream: Stream,
    pattern: str,
    artifact: Artifact,
    options: EngineOptions,
    decisions: Sequence[Decision],
) -> None:
    """Add what one model says of the messages whose key matches its pattern; each of them has a key."""
    codec = JsonWideCodec(artifact.spec.channel_names)
    topics = Topics.of("out")
    encoder = MessageEncoder(topics, artifact.spec.name, artifact.version, artifact.spec.channel_names)
    for partition in range(stream.num_partitions):
        engine = Engine(artifact, options)
        own = [(at, one) for at, one in enumerate(decisions) if fnmatchcase(one.series, pattern)]
        engine.decide(own)
        mine = [m for m in stream.messages if m.partition == partition]
        for at in range(0, len(mine), _BATCH):
            raws = [
                Raw(m.topic, partition, at + number, -1, m.key, m.value)
                for number, m in enumerate(mine[at : at + _BATCH])
                if fnmatchcase((m.key or b"").decode(), pattern)
            ]
            decoded = codec.decode(raws)
            result = engine.step(decoded.readings)
            for message in encoder.verdicts(result.verdicts):
                output.add_scores(json.loads(message.value))
            for message in (*encoder.incidents(result.incidents), *encoder.decisions(result.decisions)):
                output.add_alert(json.loads(message.value))
            for reject in decoded.rejects:
                output.letters[(partition, reject.offset, reject.reason)] += 1


def committed_output(bootstrap: str, prefix: str) -> Output:
    """What a reader with `read_committed` finds in the output topics."""
    output = Output()
    for message in read_committed(bootstrap, f"{prefix}.scores"):
        output.add_scores(json.loads(message.value))
    for message in read_committed(bootstrap, f"{prefix}.alerts"):
        output.add_alert(json.loads(message.value))
    for message in read_committed(bootstrap, f"{prefix}.dead-letters"):
        headers = {name: value.decode() for name, value in message.headers}
        key = (int(headers["partition"]), int(headers["offset"]), headers["reason"])
        output.letters[key] += 1
    return output


def at_their_rows(decisions: Sequence[Decision], found: Output) -> list[Decision]:
    """The decisions as a replay gets them: at the rows where they took effect, if they did."""
    rows = {id_: row for id_, _, row, *_ in found.decisions}
    return [
        replace(one, at_ns=int(np.datetime64(rows[one.id].removesuffix("Z"), "ns").astype(np.int64)))
        if one.id in rows
        else one
        for one in decisions
    ]


def read_committed(bootstrap: str, topic: str) -> Iterable[Message]:
    """All committed messages; waits for open transactions to end."""
    settings = client_settings(Connection((bootstrap,)))
    ends = _ends(settings, topic)
    reader = KafkaConsumer(**settings, isolation_level="read_committed", auto_offset_reset="earliest")
    try:
        reader.assign(list(ends))
        reader.seek_to_beginning(*ends)
        while any(reader.position(tp) < end for tp, end in ends.items()):
            for records in reader.poll(timeout_ms=200, max_records=10_000).values():
                for record in records:
                    yield Message(topic, record.key, record.value or b"", tuple(record.headers or ()))
    finally:
        reader.close(autocommit=False)


def _ends(settings: dict[str, object], topic: str) -> dict[TopicPartition, int]:
    looker = KafkaConsumer(**settings, isolation_level="read_uncommitted")
    try:
        numbers = looker.partitions_for_topic(topic) or ()
        return looker.end_offsets([TopicPartition(topic, number) for number in numbers])
    finally:
        looker.close(autocommit=False)


@dataclass(frozen=True)
class Comparison:
    """Of one kind of output: how many were expected, and what is wrong."""

    expected: int
    lost: int
    doubled: int
    unexpected: int
    different: int = 0

    @property
    def is_right(self) -> bool:
        return not (self.lost or self.doubled or self.unexpected or self.different)


def compare(expected: Output, found: Output) -> dict[str, Comparison]:
    """By kind: verdicts, incidents, dead letters, decisions."""
    return {
        "verdicts": _compare(expected.verdicts, found.verdicts, _different(expected.scores, found.scores)),
        "incidents": _compare(expected.incidents, found.incidents),
        "dead letters": _compare(expected.letters, found.letters),
        "decisions": _compare(expected.decisions, found.decisions),
    }


def _compare(expected: Counter[Key], found: Counter[Key], different: int = 0) -> Comparison:
    return Comparison(
        expected=len(expected),
        lost=len(expected.keys() - found.keys()),
        doubled=sum(times > 1 for times in found.values()),
        unexpected=len(found.keys() - expected.keys()),
        different=different,
    )


def _different(expected: dict[Key, float | None], found: dict[Key, float | None]) -> int:
    both = expected.keys() & found.keys()
    a, b = (np.array([one[key] for key in both], np.float64) for one in (expected, found))
    return int((~np.isclose(a, b, rtol=1e-5, atol=1e-5, equal_nan=True)).sum())
