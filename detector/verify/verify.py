"""Proves on a running system that what was backtested is what runs.

1. Ask which offsets the group has committed: everything before them was published.
2. Read what was published, and which decisions of people took effect.
3. Score the input again, partition by partition, with the models and versions that judged.
4. Compare every row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from connectors.kafka.admin.growth import look_up_inputs
from connectors.kafka.admin.topic_names import reads
from connectors.kafka.admin.topic_stretch import bounds_of
from connectors.kafka.connection import Connection
from connectors.kafka.topic_tail import TopicTail
from connectors.partition_numbers import PartitionNumbers
from connectors.records import Message
from detector.config.cluster import connection_of
from detector.config.input.section import input_codec
from detector.config.input.topics import own_topics
from detector.config.load import Config
from detector.delivery.decision_records import DecisionError, decode_decision
from detector.delivery.messages import Topics
from detector.errors import ConfigError
from detector.incidents.decision import Decision
from detector.verify.comparing import Comparing, Comparison
from detector.verify.inputs import PartitionInput, of_directory, of_topics
from detector.verify.models import Models
from detector.verify.receipt import InputDigest, Receipt, digest_of_all
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
        ConfigError: The service publishes no rows, or there is no input. A model that judged rows of the
            stretch is not in the configuration, or the recording has no reading for it.
        ArtifactError: A model cannot be loaded.
        KafkaError: A topic cannot be read.
    """
    config = request.config
    if config.output.scores == _NONE:
        raise ConfigError('[output] scores = "none": no row is published, so nothing can be compared')
    connection, names = connection_of(config.kafka), Topics.of(config.output.prefix)
    numbers = PartitionNumbers(config.kafka.topic)
    parts = _inputs(request, connection, numbers)
    models = Models(config, numbers)
    messages = _read_all(connection, names.scores, request.report)
    published = Published.of(messages, models.settle_rows)
    left_out = models.left_out(published, request.from_ms, request.to_ms)
    decisions = list(enumerate(_decisions(_read_all(connection, names.alerts, request.report))))
    models.prepare(published, decisions)
    stretch = (request.from_ms, request.to_ms)
    comparing = Comparing(published, stretch, models.settle_rows_of, left_out)
    digests = _run(request, models, parts, comparing)
    if request.recorded is not None and parts:
        unmatched = (row for row in published.left() if row.series not in left_out)
        _check_recorded(request, digests, unmatched)
    return _receipt(request, parts, list(digests.values()), comparing.finish(), models, published.damaged)


def _inputs(request: Request, connection: Connection, numbers: PartitionNumbers) -> list[PartitionInput]:
    """Return the partitions of the input: those of the topics, or of the recording. Raises ConfigError."""
    config, kafka = request.config, request.config.kafka
    excluded = own_topics(config.output.prefix)
    wanted = kafka.topics or (kafka.topic,)
    topics: Sequence[str] = wanted
    if kafka.topics:
        topics = sorted(look_up_inputs(connection, wanted, excluded))
        if not topics:
            raise ConfigError(f"[kafka] topics: there is no topic {', '.join(wanted)} that can be seen")
    bounds = bounds_of(connection, topics, kafka.group_id)
    if request.recorded is not None:
        return of_directory(request.recorded, lambda topic: reads(wanted, topic, excluded), bounds, numbers)
    return of_topics(
        connection,
        bounds,
        lambda channels: input_codec(channels, config.input, config.schema_registry, config.inputs),
        numbers,
    )


def _check_recorded(request: Request, digests: Mapping[str, InputDigest], unmatched: Iterable[Row]) -> None:
    """Raise ConfigError if a recording lacks all input of a model that judged rows of the stretch."""
    if not any(one.readings for one in digests.values()):
        raise ConfigError(
            f"{request.recorded}: no file has a channel of the models; record again without --channels"
        )
    lacking = {name for name, one in digests.items() if not one.readings}
    judged = {row.model for row in unmatched if request.from_ms <= row.time_ms <= request.to_ms}
    if found := sorted(lacking & judged):
        raise ConfigError(
            f"{request.recorded}: has no reading for {', '.join(found)}, which judged rows of the stretch;"
            " record all topics again without --channels, or choose another stretch with --from and --to"
        )


def _receipt(
    request: Request,
    parts: list[PartitionInput],
    digests: Sequence[InputDigest],
    comparison: Comparison,
    models: Models,
    damaged: int,
) -> Receipt:
    config = request.config
    return Receipt(
        request.from_ms,
        request.to_ms,
        str(request.recorded or config.kafka.shown),
        (sum(one.has_beginning for one in parts), len(parts)),
        sum(one.readings for one in digests),
        digest_of_all(digests),
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
    request: Request, models: Models, parts: list[PartitionInput], comparing: Comparing
) -> dict[str, InputDigest]:
    """Score all partitions again, and compare. Returns the hash of the input of each model, by name."""
    is_begun = all(one.has_beginning for one in parts)
    digests = {name: InputDigest() for name in models.names}
    for part in parts:
        newest: dict[str, int] = {}
        routes = models.routes()
        for batch in part.read(models.channels):
            rows: list[Row] = []
            is_unjudged = partial(models.never_judge, topic=part.topic, is_begun=is_begun)
            comparing.see(batch.readings, is_unjudged, models.interval_ns)
            for rescoring, readings in routes.route(batch):
                comparing.meet(part, readings.names)
                digests[rescoring.judging.name].add(readings)
                rows += rescoring.judged(readings)
            comparing.add(part, rows)
            num = sum(one.readings for one in digests.values())
            request.report(f"{part.name}: {num:,} readings scored again")
            newest |= {row.series: row.time_ms for row in rows}
            if newest and min(newest.values()) > request.to_ms:
                break
    return digests


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
