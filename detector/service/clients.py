"""The daemon's ways to the outside world, whatever carries its messages; and those of Kafka."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from connectors.formats.codec import plain_fields
from connectors.kafka.admin.group_notes import GroupNotes
from connectors.kafka.cluster import wait_for_broker
from connectors.kafka.compacted_topic import read_state
from connectors.kafka.connection import Connection, ConsumerOptions
from connectors.kafka.delivery import Watch
from connectors.kafka.source import KafkaSource
from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch, Codec, StreamSource
from connectors.wide_json.open_channels import OpenCodec, OpenNames
from detector import logs
from detector.config.cluster import connection_of
from detector.config.input.section import form_of, input_codec, limits_of
from detector.config.input.topics import own_topics
from detector.config.load import Config
from detector.delivery.decisions.decision_topic import DecisionReader
from detector.delivery.deleted_input import Deletions
from detector.delivery.guarantee import ChosenGuarantee, choose, recovery_of
from detector.delivery.messages import Topics
from detector.delivery.output_topics import OutputTopics
from detector.delivery.recovery import ReadState, Recovery
from detector.delivery.saved.received import Received
from detector.incidents.decision import Decision
from detector.notify.notifiers import Notifiers, reader_of
from detector.service import systemd

_SHORTEST_LOOK, _LONGEST_LOOK = 0.5, 5.0
"""Seconds between two looks at the other processes: a quarter of the shortest limit of silence."""


class OutputPlaces(Protocol):
    """The places of outputs and state, which may change while the daemon runs."""

    def prepare(self, batch: Batch) -> None:
        """Make room for what was assigned with this batch."""

    def has_new_state_topic(self) -> bool:
        """Return, once, whether the saved state was lost and must be written again."""


class Decisions(Protocol):
    """What people decide."""

    @property
    def is_readable(self) -> bool:
        """Whether decisions reach this process."""

    def take(self) -> tuple[int, Sequence[tuple[int, Decision]]]:
        """Return a number that stands for their place, and the numbered decisions since the last call."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Clients:
    """Hold the daemon's ways to the outside world.

    source      the input stream
    notifiers   the receivers of incidents
    topics      the places that are written
    decisions   what people decide
    recovery    makes what saves and restores the state, None where nothing is saved
    read_state  reads partitions of the saved state
    guarantee   makes the delivery, from the port of our HTTP server and a watch of transactions
    place       where readings come from and results go, for the log
    has_ended   whether the input has ended, although its rows stay open
    numbers     of the partitions of the input, as readings have them
    received    when all processes of the group got readings; None: silence is that of this process
    """

    source: StreamSource
    notifiers: Notifiers
    topics: OutputPlaces
    decisions: Decisions
    recovery: Callable[[Deletions], Recovery | None]
    read_state: ReadState
    guarantee: Callable[[int, Watch], ChosenGuarantee]
    place: Mapping[str, Any] = field(default_factory=dict)
    has_ended: Callable[[], bool] = _never
    numbers: PartitionNumbers = field(default_factory=partial(PartitionNumbers, "input"))
    received: Received | None = None


def open_kafka(
    config: Config, channels: tuple[str, ...], stop: threading.Event, resources: ExitStack
) -> Clients | None:
    """Wait for the cluster and open everything that the daemon needs of it; None if `stop` came first.

    Raises:
        ConfigError, KafkaError: with the remedy.
    """
    connection = connection_of(config.kafka)
    notifiers = Notifiers(config, partial(reader_of, config, connection))
    systemd.notify(f"STATUS=waiting for Kafka at {', '.join(config.kafka.bootstrap_servers)}")
    timeout = config.kafka.startup_timeout
    # Of several topics some may come later; a single one that is missing is a mistake.
    wait_for_broker(connection, config.kafka.topic or None, timeout_seconds=timeout, stop=stop)
    if stop.is_set():
        return None
    names, numbers = Topics.of(config.output.prefix), PartitionNumbers(config.kafka.topic)
    topics = OutputTopics(connection, config, names, numbers)
    decisions = DecisionReader(connection, names.decisions)
    topics.ensure()
    source = KafkaSource(connection, consumer_options(config), codec_of(config, channels), numbers)
    resources.callback(notifiers.close)
    resources.callback(source.close)  # first: another process takes over while notifiers finish
    resources.callback(topics.close)
    resources.callback(decisions.close)
    notifiers.start()
    topics.start()
    decisions.start()
    if not decisions.wait(stop, timeout) and not stop.is_set():
        logs.event("decisions are not read yet: each takes effect once it is", topic=names.decisions)
    shown = config.kafka.topic or ", ".join(config.kafka.topics)
    return Clients(
        source,
        notifiers,
        topics,
        decisions,
        partial(recovery_of, config, connection, numbers),
        partial(read_state, connection, names.state),
        partial(choose, config, connection, source),
        {"topic": shown, "group": config.kafka.group_id, "outputs": f"{config.output.prefix}.*"},
        numbers=numbers,
        received=_received_of(config, connection, source, resources),
    )


def _received_of(
    config: Config,
    connection: Connection,
    source: KafkaSource,
    resources: ExitStack,
) -> Received | None:
    """Return when the group gets readings; None where incidents of silence are not handed over."""
    if not config.recovery.max_replay_rows:
        return None
    limits = [one for one in (config.watchdog.series_after, config.watchdog.stream_after) if one]
    every = min(max(min(limits, default=_LONGEST_LOOK) / 4, _SHORTEST_LOOK), _LONGEST_LOOK)
    notes = GroupNotes(connection, config.kafka.group_id, every)
    resources.callback(notes.close)
    return Received(source.shared, notes, round(config.service.forget_after * 1e9))


def codec_of(config: Config, channels: tuple[str, ...]) -> Codec:
    """Return the decoder for the channels of the model, or of all models."""
    return input_codec(channels, config.input, config.schema_registry, config.inputs)


def open_codec(
    config: Config, channels: tuple[str, ...], is_open: Callable[[str], bool], names: OpenNames
) -> Codec:
    """Return the decoder for the channels of all models, and for whatever channels open series have.

    Args:
        config: how messages look; they are wide JSON with plain fields.
        channels: of the models; none where there is no model.
        is_open: whether a series is open, by its name.
        names: the open channels, which grow.
    """
    section = config.input
    fields = plain_fields(form_of(section))
    assert fields is not None, "the configuration was checked"
    inner = codec_of(config, channels) if channels else None
    return OpenCodec(inner, fields, limits_of(section), is_open, names)


def consumer_options(config: Config) -> ConsumerOptions:
    """Return how the daemon reads its input, as a process of its consumer group."""
    kafka = config.kafka
    return ConsumerOptions(
        kafka.topic,
        kafka.group_id,
        kafka.group_instance_id,
        start=kafka.auto_offset_reset,
        max_poll_records=config.service.max_poll_records,
        session_timeout_seconds=kafka.session_timeout,
        max_poll_interval_seconds=kafka.max_poll_interval,
        check_crcs=kafka.check_crcs,
        awaits_start=config.recovery.max_replay_rows > 0,
        topics=kafka.topics,
        excluded=tuple(sorted(own_topics(config.output.prefix))),
    )
