"""`streamgauge record` and `streamgauge replay`."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import tomllib
import uuid
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.errors import ConnectorError
from connectors.kafka.cluster import ensure_topics, sample, wait_for_broker
from connectors.kafka.connection import Connection, ConsumerOptions, TopicSpec
from connectors.kafka.producer import Producer
from connectors.kafka.source import KafkaSource
from connectors.parquet.dataset import discover
from connectors.parquet.replay_source import ParquetSource
from connectors.transfer import Destination, Recorded, Recorder
from connectors.transfer import record as record_topic
from connectors.transfer import replay as replay_rows
from connectors.wide_json.decoder import JsonWideCodec
from connectors.wide_json.encoder import FieldNames, infer_channels

_SAMPLE_MESSAGES = 1_000
_REPORT_SECONDS = 5.0
_LOGIN = (
    "security_protocol",
    "sasl_mechanism",
    "sasl_username",
    "sasl_password",
    "ssl_cafile",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_key_password",
)
_SECRETS = ("sasl_password", "ssl_key_password")


@dataclass(frozen=True, slots=True)
class Place:
    """A topic of wide JSON on a cluster."""

    connection: Connection
    topic: str
    fields: FieldNames


def record(args: Namespace) -> int:
    """Record a topic until Ctrl-C, or until its present end; what a directory has is continued."""
    place, directory = place_of(args), Path(args.out)
    wait_for_broker(place.connection, place.topic)
    channels = _channels(args.channels, place)
    options = ConsumerOptions(place.topic, _group_of(directory, place.topic))
    with (
        _stopped_by_signals() as stop,
        closing(_Lines()) as progress,
        closing(KafkaSource(place.connection, options, JsonWideCodec(channels, place.fields))) as source,
    ):
        recorded = record_topic(
            source,
            Recorder(directory, channels),
            stop,
            until_end=args.until_end,
            report=lambda so_far: progress.show(
                f"{so_far.num_rows:,} readings, {len(so_far.files)} files complete"
            ),
        )
    _say_recorded(recorded, directory)
    return 0


def replay(args: Namespace) -> int:
    """Send Parquet history to a topic, which is created where it is missing."""
    speed = _speed(args.speed)
    place, dataset = place_of(args), discover(args.data)
    wait_for_broker(place.connection)
    ensure_topics(place.connection, [TopicSpec(place.topic)])
    with (
        _stopped_by_signals() as stop,
        closing(_Lines()) as progress,
        closing(ParquetSource(dataset)) as source,
        closing(Producer(place.connection)) as producer,
    ):
        num_sent = replay_rows(
            source,
            producer,
            Destination(place.topic, dataset.channels, place.fields),
            speed,
            stop,
            report=lambda sent: progress.show(f"{sent:,} of {dataset.num_rows:,} rows sent"),
        )
    print(f"sent {num_sent:,} of {dataset.num_rows:,} rows to {place.topic}")
    return 0


def place_of(args: Namespace) -> Place:
    """The cluster, topic and field names of the flags, the environment and the daemon's configuration,
    in this order of precedence. Raises ConnectorError when one is missing or unreadable."""
    values = _configured(Path(args.config)) if args.config else {}
    kafka, given = _overridden(values, "kafka"), _overridden(values, "input")
    servers = args.bootstrap_servers or kafka.get("bootstrap_servers")
    topic = args.topic or kafka.get("topic")
    if not servers or not topic:
        what, flag = ("cluster", "--bootstrap-servers") if not servers else ("topic", "--topic")
        raise ConnectorError(f"no {what} given: use {flag}, or --config with the daemon's configuration")
    for secret in _SECRETS:
        if kafka.get(f"{secret}_file"):
            kafka[secret] = _text_of(Path(kafka[f"{secret}_file"])).strip()
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        if kafka.get(name):
            _check_readable(f"[kafka] {name}", Path(kafka[name]))
    connection = Connection(
        tuple(servers.split(",") if isinstance(servers, str) else map(str, servers)),
        **{name: kafka[name] for name in _LOGIN if kafka.get(name) is not None},
    )
    names = {name: given.get(f"{name}_field", name) for name in ("series", "timestamp", "values")}
    return Place(connection, topic, FieldNames(**names))


def _configured(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(_text_of(path))
    except tomllib.TOMLDecodeError as error:
        raise ConnectorError(f"{path}: not valid TOML: {error}") from error
    for secret in _SECRETS:
        if isinstance(values.get("kafka"), dict) and secret in values["kafka"]:
            raise ConnectorError(
                f"{path}: [kafka] {secret}: secrets do not belong in this file; set"
                f" STREAMGAUGE_KAFKA__{secret.upper()} or name a file in {secret}_file"
            )
    return values


def _check_readable(setting: str, path: Path) -> None:
    """The client would say that a file is missing, and not which."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConnectorError(f"{setting}: {path}: {error.strerror}") from error


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise ConnectorError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConnectorError(f"{path}: not a text file in UTF-8") from error


def _overridden(values: dict[str, Any], section: str) -> dict[str, Any]:
    """A section of the configuration with the environment's STREAMGAUGE_SECTION__KEY on top."""
    table = values.get(section, {})
    if not isinstance(table, dict):
        raise ConnectorError(f"{section} must be a table: write [{section}] above its keys")
    prefix = f"STREAMGAUGE_{section}__".upper()
    found = {
        name[len(prefix) :].lower(): text for name, text in os.environ.items() if name.startswith(prefix)
    }
    return table | found


def _channels(flag: str | None, place: Place) -> tuple[str, ...]:
    if flag:
        return tuple(name.strip() for name in flag.split(",") if name.strip())
    found = infer_channels(sample(place.connection, place.topic, _SAMPLE_MESSAGES), place.fields)
    if not found:
        raise ConnectorError(
            f"topic {place.topic} has no message with numbers yet: name them with --channels"
        )
    print(f"channels: {', '.join(found)}", file=sys.stderr)
    return found


def _group_of(directory: Path, topic: str) -> str:
    """The consumer group of a directory, kept in it: it is continued as long as the directory lives."""
    marker = directory / f".{topic}.group"
    if not marker.exists():
        directory.mkdir(parents=True, exist_ok=True)
        marker.write_text(f"streamgauge-record-{uuid.uuid4().hex}\n")
    return marker.read_text().strip()


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


def _say_recorded(recorded: Recorded, directory: Path) -> None:
    print(
        f"recorded {recorded.num_rows:,} readings of {len(recorded.series)} series"
        f" in {len(recorded.files)} files under {directory}"
    )
    if recorded.rejected:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in recorded.rejected.most_common())
        print(f"left out: {reasons}", file=sys.stderr)
    if recorded.unknown_values:
        print(f"left out: {recorded.unknown_values:,} values of other channels", file=sys.stderr)


class _Lines:
    """How far the work is: one line on a terminal, rewritten; elsewhere a line every few seconds."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._next = time.monotonic()

    def show(self, words: str) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (0.2 if self._terminal else _REPORT_SECONDS)
        print(
            f"\r{words}\x1b[K" if self._terminal else words,
            end="" if self._terminal else "\n",
            file=sys.stderr,
        )

    def close(self) -> None:
        """Leave the terminal's line."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr)


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that what is begun gets finished; a second one ends us."""
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
