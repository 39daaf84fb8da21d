"""Proves on a running system that what was backtested is what runs.

1. Ask which offsets the group has committed: everything before them was published.
2. Read what was published, and which decisions of people took effect.
3. Score the input again, partition by partition, with the versions that judged.
4. Compare every row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from connectors.kafka.admin.topic_stretch import bounds_of
from connectors.kafka.connection import Connection
from connectors.kafka.topic_tail import TopicTail
from connectors.objects.names import below
from connectors.records import Message
from detector.artifact.description.manifest import MANIFEST
from detector.artifact.registry import open_artifact
from detector.artifact.spec import Spec
from detector.calibration.p_values import PValues
from detector.config.cluster import connection_of
from detector.config.engine_options import engine_options
from detector.config.input.section import input_codec
from detector.config.input.topics import one_topic
from detector.config.load import Config
from detector.delivery.decision_records import DecisionError, decode_decision
from detector.delivery.messages import MessageEncoder, Topics
from detector.delivery.unassigned import Admission
from detector.errors import ArtifactError, ConfigError
from detector.incidents.decision import Decision
from detector.incidents.shapes.sentence import Wording
from detector.journal import read_journal
from detector.verify.comparing import Comparing, Comparison
from detector.verify.inputs import PartitionInput, of_directory, of_topic
from detector.verify.receipt import InputDigest, Receipt, VersionUsed
from detector.verify.rescoring import Judging, Model, Rescoring
from detector.verify.rows import Published, Row, digest_of

_POLL_SECONDS = 0.5
_NONE = "none"


def _quiet(words: str) -> None:
    """Report no progress."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to verify.

    config_path  file of the configuration
    from_ms      the first row that counts, epoch milliseconds
    to_ms        the last one
    recorded     the directory of a recording; None: the topic itself
    software     the version of this software
    report       receives words on the progress
    """

    config: Config
    config_path: Path
    from_ms: int
    to_ms: int
    recorded: Path | None = None
    software: str = "unknown"
    report: Callable[[str], None] = field(default=_quiet)


def verify(request: Request) -> Receipt:
    """Return the receipt of a verification.

    Raises:
        ConfigError: The service publishes no rows, or there is no input.
        ArtifactError: The model cannot be loaded.
        KafkaError: A topic cannot be read.
    """
    config = request.config
    if config.output.scores == _NONE:
        raise ConfigError('[output] scores = "none": no row is published, so nothing can be compared')
    one_topic(config.kafka, "verify", "it cannot check a daemon that reads several")
    connection, names = connection_of(config.kafka), Topics.of(config.output.prefix)
    bounds = bounds_of(connection, config.kafka.topic, config.kafka.group_id)
    models = _Models(config)
    first = models.current()
    settle_rows = _settling(first.artifact.spec)
    messages = _read_all(connection, names.scores, request.report)
    published = Published.of(messages, settle_rows)
    versions = dict(published.versions)
    used = [one for version in versions if (one := models.of(version)) is not None] or [first]
    if published.first_version is not None:
        first = models.of(published.first_version[1]) or first
    settle_rows = max(_settling(one.artifact.spec) for one in used)
    channels = tuple(dict.fromkeys(name for one in used for name in one.artifact.spec.channel_names))
    if request.recorded is None:
        parts = of_topic(
            connection,
            config.kafka.topic,
            bounds,
            lambda names: input_codec(names, config.input, config.schema_registry),
        )
    else:
        parts = of_directory(request.recorded, config.kafka.topic, bounds)
    decisions = list(enumerate(_decisions(_read_all(connection, names.alerts, request.report))))
    judging = Judging(models.of, channels, published, decisions, lambda: _admission(config))
    comparing = Comparing(published, request.from_ms, request.to_ms, settle_rows)
    digest = _run(request, judging, first, parts, comparing)
    return _receipt(request, parts, digest, comparing.finish(), models, published.damaged)


def _receipt(
    request: Request,
    parts: list[PartitionInput],
    digest: InputDigest,
    comparison: Comparison,
    models: _Models,
    damaged: int,
) -> Receipt:
    config = request.config
    return Receipt(
        request.from_ms,
        request.to_ms,
        str(request.recorded or f"topic {config.kafka.topic}"),
        (sum(one.has_beginning for one in parts), len(parts)),
        digest.readings,
        digest.hexdigest(),
        Topics.of(config.output.prefix).scores,
        digest_of(comparison.published),
        (str(request.config_path), hashlib.sha256(request.config_path.read_bytes()).hexdigest()),
        request.software,
        tuple(models.used(comparison.published)),
        comparison,
        damaged,
        config.delivery.mode == "at_least_once",
    )


def _run(
    request: Request, judging: Judging, first: Model, parts: list[PartitionInput], comparing: Comparing
) -> InputDigest:
    """Score all partitions again, and compare. Returns the hash of the input."""
    digest = InputDigest()
    for part in parts:
        newest: dict[str, int] = {}

        def is_over(rows: list[Row], newest: dict[str, int] = newest) -> bool:
            newest |= {row.series: row.time_ms for row in rows}
            return bool(newest) and min(newest.values()) > request.to_ms

        for rows in Rescoring(judging, first).rows(part, digest.add, is_over):
            comparing.add(part, rows)
            request.report(f"{part.name}: {digest.readings:,} readings scored again")
    return digest


def _settling(spec: Spec) -> int:
    """Return after how many rows nothing depends any more on rows before them, except for what adds up."""
    held = max(member.stride for member in spec.members) - 1
    slow = max(spec.hold_ns, default=0) // spec.interval_ns
    return spec.window + spec.scoring.delay + held + slow


class _Models:
    """The versions of a model, loaded once each."""

    def __init__(self, config: Config) -> None:
        self._config = config
        path = config.model.path
        is_version = "://" not in path and Path(path, MANIFEST).exists()
        self._entry = str(Path(path).parent) if is_version else path
        self.of = cache(self._of)

    def current(self) -> Model:
        """Return the version that the configuration names. Raises ArtifactError."""
        return self._load(self._config.model.path)

    def used(self, rows: list[Row]) -> Iterator[VersionUsed]:
        """Yield the versions that judged some rows, in the order of their first rows."""
        firsts: dict[str, int] = {}
        counts: dict[str, int] = {}
        for row in rows:
            firsts[row.version] = min(row.time_ms, firsts.get(row.version, row.time_ms))
            counts[row.version] = counts.get(row.version, 0) + 1
        for version in sorted(firsts, key=lambda one: firsts[one]):
            yield VersionUsed(version, counts[version], self._hash(version), self._in_use(version))

    def _of(self, version: str) -> Model | None:
        """Return a version, None if the registry has it no more."""
        try:
            return self._load(below(self._entry, version))
        except ArtifactError:
            return None

    def _load(self, location: str) -> Model:
        artifact, config = open_artifact(location), self._config
        spec = artifact.spec
        encoder = MessageEncoder(
            Topics.of(config.output.prefix),
            spec.name,
            artifact.version,
            spec.channel_names,
            config.output.scores,
            config.output.detail,
            PValues.of(artifact),
            () if spec.modes is None else spec.modes.names,
            Wording.of(spec, config.units),
        )
        return Model(artifact, engine_options(config, spec.channel_names), encoder)

    def _hash(self, version: str) -> str:
        path = Path(self._entry, version, MANIFEST)
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""

    def _in_use(self, version: str) -> str:
        if "://" in self._entry:
            return ""
        events = [one for one in read_journal(Path(self._entry)).about(version) if one.version == version]
        moves = [one for one in events if one.action in ("promoted", "rolled back")]
        return "; ".join(f"{one.action} {one.at} by {one.who or 'unknown'}" for one in moves)


def _admission(config: Config) -> Admission:
    return Admission(config.model.own_series, config.model.least_channels)


def _read_all(connection: Connection, topic: str, report: Callable[[str], None]) -> Iterator[Message]:
    """Yield the messages that a topic holds now. Raises KafkaError."""
    with TopicTail(connection, [topic]) as tail:
        end, num = tail.end(), 0
        while any(tail.position()[place] < at for place, at in end.items()):
            found = tail.poll(_POLL_SECONDS)
            num += len(found)
            report(f"{topic}: {num:,} messages read")
            yield from found


def _decisions(messages: Iterator[Message]) -> Iterator[Decision]:
    """Yield the decisions that took effect, each once."""
    seen = set()
    for message in messages:
        try:
            found = decode_decision(message.value or b"")
        except DecisionError:
            continue
        if found is not None and found.id not in seen:
            seen.add(found.id)
            yield found
