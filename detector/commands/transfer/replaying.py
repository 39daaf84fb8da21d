"""Run `streamgauge replay`; find the topics that flags and a configuration name."""

from __future__ import annotations

import signal
import threading
import tomllib
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from connectors.errors import ConnectorError
from connectors.formats.codec import plain_fields
from connectors.formats.form import Form
from connectors.kafka.cluster import ensure_topics, wait_for_broker
from connectors.kafka.connection import Connection, TopicSpec
from connectors.kafka.producer import Producer
from connectors.parquet.dataset import discover
from connectors.parquet.replay_source import ParquetSource
from connectors.transfer import Destination
from connectors.transfer import replay as replay_rows
from detector.commands.progress_line import ProgressLine
from detector.config.cluster import connection_of
from detector.config.input.registry import SchemaRegistrySection
from detector.config.input.section import form_of
from detector.config.input.topics import input_of, one_topic
from detector.config.load import load_connection
from detector.config.schema import ConnectionConfig
from detector.errors import ConfigError

_SAMPLE_MESSAGES = 1_000


@dataclass(frozen=True, slots=True)
class Place:
    """Name a topic, how to reach its cluster, the form of its messages, and where their schemas are."""

    connection: Connection
    topic: str
    form: Form
    registry: SchemaRegistrySection


def replay(args: Namespace) -> int:
    """Send Parquet history to a topic. A missing topic is created."""
    speed = _speed(args.speed)
    place, dataset = place_of(args), discover(args.data)
    fields = plain_fields(place.form)
    if fields is None:
        raise ConnectorError(
            "replay writes wide JSON with plain fields; [input] has another form of messages"
        )
    wait_for_broker(place.connection)
    ensure_topics(place.connection, [TopicSpec(place.topic)])
    with (
        stopped_by_signals() as stop,
        closing(ProgressLine()) as progress,
        closing(ParquetSource(dataset)) as source,
        closing(Producer(place.connection)) as producer,
    ):
        num_sent = replay_rows(
            source,
            producer,
            Destination(place.topic, dataset.channels, fields),
            speed,
            stop,
            report=lambda sent: progress.show(f"{sent:,} of {dataset.num_rows:,} rows sent"),
        )
    print(f"sent {num_sent:,} of {dataset.num_rows:,} rows to {place.topic}")
    return 0


def place_of(args: Namespace) -> Place:
    """Return the cluster, topic and form that flags, environment and configuration name.

    A flag overrides the environment, which overrides the daemon's configuration. Raises ConfigError.
    """
    config = connection_config(args)
    topic = one_topic(config.kafka, "this", "choose it with --topic, and run once for each")
    form = form_of(input_of(topic, config.input, config.inputs), config.schema_registry)
    return Place(connection_of(config.kafka), topic, form, config.schema_registry)


def connection_config(args: Namespace) -> ConnectionConfig:
    """Return where the readings are, by flags, environment and configuration. Raises ConfigError."""
    path = Path(args.config) if args.config else None
    flags = {"bootstrap_servers": args.bootstrap_servers, "topic": args.topic}
    _check_source(path, args.topic)
    return load_connection(path, flags, registry_url=getattr(args, "schema_registry", None))


def _check_source(path: Path | None, topic: str | None) -> None:
    """Raise ConfigError if a configuration reads no Kafka, and no flag names a topic."""
    try:
        kind = tomllib.loads(path.read_text()).get("source", {}).get("kind", "kafka") if path else "kafka"
    except (OSError, ValueError, AttributeError):
        return  # the next reader of the file names the fault and its place
    if kind != "kafka" and not topic:
        raise ConfigError(
            f'{path}: [source] kind = "{kind}": there is no Kafka topic in it. Name a topic with'
            " --bootstrap-servers and --topic; what files or MQTT bring is kept where it comes from"
        )


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise ConnectorError(f"--speed {text}: expected a number above 0 (times real time), or max")
    return speed


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C or SIGTERM sets; a second one ends the process."""
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def handle(number: int, frame: object) -> None:
        stop.set()
        restore()

    def restore() -> None:
        for number in numbers:
            signal.signal(number, before[number])

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        restore()
