"""`streamgauge config check`, `config test-notify` and `config init`."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from connectors.objects.names import without_secrets
from detector.commands.arguments import add_examples
from detector.errors import ConfigError

if TYPE_CHECKING:
    from connectors.http_post import Answer, Poster
    from connectors.kafka.connection import Connection
    from detector.config.notify_schema import NotifySection
    from detector.config.schema import Config
    from detector.notify.notice import Notice
    from detector.notify.receivers import Receiver

DONE, FAILED = 0, 1
_CONNECT_SECONDS = 10.0
_TEST_SERIES = "streamgauge-test"


def config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `streamgauge config` and their flags."""
    add_examples(
        parser,
        "streamgauge config init streamgauge.toml",
        "streamgauge config check streamgauge.toml",
        "streamgauge config check streamgauge.toml --connect",
    )
    actions = parser.add_subparsers(dest="action", metavar="check|test-notify|init", required=True)
    check = actions.add_parser("check", help="list everything that is wrong with a configuration")
    check.add_argument("file", metavar="FILE")
    check.add_argument(
        "--connect", action="store_true", help="also load the model, and ask the Kafka broker for the topic"
    )
    test = actions.add_parser("test-notify", help="send a test incident and its end to each [[notify]]")
    test.add_argument("file", metavar="FILE")
    test.add_argument("--only", metavar="NAME", help="send to this [[notify]] only")
    test.add_argument(
        "--hold", type=float, default=0.0, metavar="S", help="seconds between incident and end; default: 0"
    )
    init = actions.add_parser("init", help="write a commented example")
    init.add_argument("file", metavar="FILE", nargs="?", help="file to write; default: standard output")


def config(args: argparse.Namespace) -> int:
    """Run one action of `streamgauge config`. Returns the exit code."""
    actions = {"check": _check, "test-notify": _test_notify, "init": _init}
    return actions[args.action](args)


def _check(args: argparse.Namespace) -> int:
    """Report every problem of a file at once, or what the file means."""
    from detector.config.load import load_config
    from detector.notify.notifiers import parts_of

    config = load_config(Path(args.file))
    receivers = [
        f"{section.name} ({section.kind} at {poster.shown})" for section, _, poster in parts_of(config)
    ]
    print(
        f"{args.file}: syntax correct. Reads {_source(config)}, uses {_judges(config)},"
        f" writes {config.output.prefix}.*" + (f", notifies {', '.join(receivers)}" if receivers else "")
    )
    if args.connect:
        _check_model(args.file, config)
        if config.source.kind == "kafka":
            _check_broker(args.file, config)
    else:
        is_kafka, has_model = config.source.kind == "kafka", bool(config.models or config.model.path)
        checked = ["Model"] * has_model + ["Kafka"] * is_kafka
        if checked:
            both = len(checked) > 1
            print(f"{' and '.join(checked)} not checked; --connect checks {'them' if both else 'it'}.")
    return DONE


def _judges(config: Config) -> str:
    """Return what judges the readings, in words."""
    from detector.config.models.entries import places_of

    places = places_of(config)
    parts = [f"the model {', '.join(places)}"] if places else []
    return " and ".join(parts + ["the statistics of [fallback]"] * config.fallback.enabled)


def _source(config: Config) -> str:
    """Return where readings come from, in words."""
    source, kafka = config.source, config.kafka
    if source.kind == "kafka":
        return f"{kafka.shown} at {', '.join(kafka.bootstrap_servers)} as group {kafka.group_id}"
    if source.kind == "mqtt":
        host, port = config.mqtt.address
        return f"topics {', '.join(source.topics)} of MQTT at {host}:{port} as {config.mqtt.client_id}"
    return "standard input" if source.kind == "stdin" else f"files {source.path}"


def _check_model(file: str, config: Config) -> None:
    """Load the model, and decode for it.

    Raises ArtifactError, CodecError, and ConfigError where the rules do not fit its channels.
    """
    from detector.artifact.registry import open_artifact
    from detector.config.engine_options import engine_options
    from detector.errors import ArtifactError
    from detector.service.clients import codec_of

    if config.models or config.fallback.enabled:
        _check_models(file, config)
        return
    try:
        artifact = open_artifact(config.model.path)
    except ArtifactError as error:
        raise ArtifactError(f"{file}: [model] path: {error}") from error
    channels = artifact.spec.channel_names
    engine_options(config, channels)
    codec_of(config, channels)
    place = without_secrets(config.model.path)
    print(f"Model: {place}, version {artifact.version}, channels {', '.join(channels)}")


def _check_models(file: str, config: Config) -> None:
    """Load every model of [[models]]; a fallback may stand alone. Raises DetectorError."""
    from detector.errors import DetectorError
    from detector.service.clients import codec_of
    from detector.service.plant.loading import group_of, load_models

    try:
        loaded = load_models(config)
        if loaded:
            codec_of(config, group_of(loaded).columns.names)
    except DetectorError as error:
        raise type(error)(f"{file}: {error}") from error
    for one in loaded:
        version, channels = one.member.engine.artifact.version, ", ".join(one.member.channels)
        place = without_secrets(one.entry.path)
        print(f"Model {one.member.name}: {place}, version {version}, channels {channels}")
    if config.fallback.enabled:
        print("Fallback: judges series that no model matches; it needs no model")


def _check_broker(file: str, config: Config) -> None:
    """Ask the cluster for the input topic. Raises KafkaError."""
    from connectors.errors import KafkaError
    from connectors.kafka.cluster import count_partitions, wait_for_broker
    from detector.config.cluster import connection_of

    connection, topic = connection_of(config.kafka), config.kafka.topic
    wait_for_broker(connection, timeout_seconds=min(_CONNECT_SECONDS, config.kafka.startup_timeout))
    if config.kafka.topics:
        _check_topics(file, config, connection)
        return
    partitions = count_partitions(connection, topic)
    if partitions == 0:
        raise KafkaError(
            f"{file}: [kafka] topic: {connection.servers} has no topic {topic!r}: create it or change this"
        )
    print(f"Kafka: topic {topic} at {connection.servers}, partitions: {partitions}")


def _check_topics(file: str, config: Config, connection: Connection) -> None:
    """Print the topics of [kafka] that there are. Raises KafkaError where one that has a name is missing."""
    from connectors.errors import KafkaError
    from connectors.kafka.admin.growth import look_up_inputs
    from connectors.kafka.admin.topic_names import is_pattern, reads
    from detector.config.input.topics import own_topics

    own = own_topics(config.output.prefix)
    found = look_up_inputs(connection, config.kafka.topics, own)
    for topic, facts in sorted(found.items()):
        print(f"Kafka: topic {topic} at {connection.servers}, partitions: {facts.num_partitions}")
    missing = [one for one in config.kafka.topics if not any(reads((one,), topic, own) for topic in found)]
    if names := [one for one in missing if not is_pattern(one)]:
        raise KafkaError(
            f"{file}: [kafka] topics: {connection.servers} has no topic {', '.join(map(repr, names))}:"
            " create it or change this; a daemon waits for it and reads the others"
        )
    for one in missing:
        print(f"Kafka: no topic matches {one} yet; those that do are read once they exist")


def _init(args: argparse.Namespace) -> int:
    """Write a commented example; never overwrite a file."""
    from detector.config.example import example

    if args.file is None:
        sys.stdout.write(example())
        return DONE
    path = Path(args.file)
    try:
        with path.open("x") as file:
            file.write(example())
    except FileExistsError as error:
        raise ConfigError(f"{path}: exists already; delete it, or name another file") from error
    print(f"wrote {path}; edit it, then: streamgauge config check {path}")
    return DONE


@dataclass(frozen=True, slots=True)
class _Receiver:
    section: NotifySection
    sender: Receiver
    poster: Poster


def _test_notify(args: argparse.Namespace) -> int:
    """Send a test incident and its end to each receiver, with one attempt each."""
    from detector.config.load import load_config
    from detector.notify.notifiers import parts_of

    config = load_config(Path(args.file))
    receivers = [_Receiver(*parts) for parts in parts_of(config) if args.only in {None, parts[0].name}]
    if not receivers:
        names = ", ".join(section.name for section in config.notify) or "none"
        raise ConfigError(f"{args.file}: no [[notify]] to test; there are: {names}")
    opened = datetime.now(UTC)
    delivered = [_send(one, _notice("opened", opened)) for one in receivers]
    time.sleep(max(0.0, args.hold))
    delivered += [_send(one, _notice("resolved", opened)) for one in receivers]
    return DONE if all(delivered) else FAILED


def _notice(event: str, opened: datetime) -> Notice:
    """Return a notice that names itself a test; it is critical, so that every filter passes it."""
    from detector.notify.notice import Notice, NoticeChannel

    now = datetime.now(UTC)
    resolved = event == "resolved"
    return Notice(
        event=event,
        id=f"test-{round(opened.timestamp() * 1000)}",
        series=_TEST_SERIES,
        severity="critical",
        state="resolved" if resolved else "firing",
        start=opened,
        at=now,
        model="test",
        end=now if resolved else None,
        peak_score=1.0,
        channels=(NoticeChannel("test-of-notifications", 1.0, 1.0, 0.0, -1.0, 1.0),),
    )


def _send(receiver: _Receiver, notice: Notice) -> bool:
    """Send one notice and print the outcome. Returns whether it was delivered."""
    section = receiver.section
    request = receiver.sender.request(notice)
    if request is None:
        raise ConfigError(f"{section.name}: has nothing to send for {notice.event}")
    answer: Answer = receiver.poster.post(*request)
    if answer.outcome == "delivered":
        receiver.sender.delivered(notice, time.time())
    print(f"{section.name} ({section.kind}): {notice.event}: {answer.outcome}: {answer.reason}")
    return answer.outcome == "delivered"
