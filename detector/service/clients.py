"""Make the daemon's clients of Kafka from its configuration."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.kafka.connection import Connection, ConsumerOptions
from connectors.kafka.source import KafkaSource
from connectors.records import Codec, StreamSource
from detector.config.input.section import input_codec
from detector.config.load import Config
from detector.delivery.decisions.decision_topic import DecisionReader
from detector.delivery.output_topics import OutputTopics
from detector.notify.notifiers import Notifiers


@dataclass(frozen=True, slots=True)
class Clients:
    """Hold the daemon's ways to the outside world.

    connection  how to reach the cluster
    source      the input stream
    notifiers   the receivers of incidents
    topics      the topics that are written
    decisions   what people decide
    """

    connection: Connection
    source: StreamSource
    notifiers: Notifiers
    topics: OutputTopics
    decisions: DecisionReader


def open_source(connection: Connection, config: Config, channels: tuple[str, ...]) -> StreamSource:
    """Join the consumer group and return the input stream.

    The loop and the reloads know it as a `StreamSource`. The start of the daemon and the delivery expect a
    Kafka topic as well. Raises KafkaError.
    """
    return KafkaSource(connection, consumer_options(config), codec_of(config, channels))


def codec_of(config: Config, channels: tuple[str, ...]) -> Codec:
    """Return the decoder for the channels of the model, or of all models."""
    return input_codec(channels, config.input)


def consumer_options(config: Config) -> ConsumerOptions:
    """Return how the daemon reads the input topic, as a process of its consumer group."""
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
    )
