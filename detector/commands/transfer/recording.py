"""Run `streamgauge record`: all topics of a configuration, or one of them."""

from __future__ import annotations

import hashlib
import sys
from argparse import Namespace
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from connectors.errors import ConnectorError
from connectors.formats.codec import channels_in
from connectors.kafka.admin.growth import look_up_inputs
from connectors.kafka.cluster import sample, wait_for_broker
from connectors.kafka.connection import Connection, ConsumerOptions
from connectors.kafka.source import KafkaSource
from connectors.partition_numbers import PartitionNumbers
from connectors.recording.directory import group_in, locked
from connectors.recording.record import Recording
from connectors.recording.recorder import Recorded, Rolling
from connectors.recording.tidying import Tidying
from connectors.recording.topics import RecordedTopics
from connectors.records import Codec, RawColumns
from detector.commands.progress_line import ProgressLine
from detector.commands.transfer.replaying import connection_config, stopped_by_signals
from detector.config.cluster import connection_of
from detector.config.input.section import form_of, input_codec
from detector.config.input.topics import input_of, own_topics
from detector.config.load import parse_duration
from detector.config.schema import ConnectionConfig
from detector.errors import ConfigError

_SAMPLE_MESSAGES = 1_000
_ALL = "~topics"
"""What a recording of several topics is called in a directory; no topic has such a name."""
_NO_CHANNEL = ("value",)
"""Channels for a decoder while no topic has a known one."""


def record(args: Namespace) -> int:
    """Record topics until Ctrl-C, or up to their present ends. An existing recording is continued."""
    tidying, rolling = _tidying(args.keep), _rolling(args.file_every)
    config, out = connection_config(args), Path(args.out)
    connection = connection_of(config.kafka)
    wait_for_broker(connection, config.kafka.topic or None)
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as resources:
        topics = RecordedTopics(
            out, partial(_channels, args.channels, config, connection), PartitionNumbers(config.kafka.topic)
        )
        resources.enter_context(topics)
        options = _one(config, topics) if config.kafka.topic else _several(args, config, topics, resources)
        stop = resources.enter_context(stopped_by_signals())
        progress = resources.enter_context(closing(ProgressLine()))
        codec_of = partial(_codec, config)
        source = KafkaSource(connection, options, codec_of(topics.channels), topics.numbers)
        resources.enter_context(closing(source))
        recorded = Recording(source, topics, codec_of, tidying, rolling).run(
            stop,
            until_end=args.until_end,
            report=lambda so_far: progress.show(
                f"{so_far.num_rows:,} readings, {len(so_far.files)} files complete"
            ),
        )
    _print_recorded(recorded, out)
    return 0


def _one(config: ConnectionConfig, topics: RecordedTopics) -> ConsumerOptions:
    """Open the only topic; return how it is read. Raises ConnectorError without a channel."""
    topic = config.kafka.topic
    group = topics.meet(topic).group
    if not topics.learn(topic):
        raise ConnectorError(
            f"topic {topic} has no message with numbers yet; name the channels with --channels"
        )
    # Static: after a crash the next process has the partitions at once. There is only one, by the lock.
    return ConsumerOptions(topic, group, f"{group}-1", awaits_start=True)


def _several(
    args: Namespace, config: ConnectionConfig, topics: RecordedTopics, resources: ExitStack
) -> ConsumerOptions:
    """Open all topics that exist; return how they and later ones are read.

    With --until-end no later ones are read, so that the end is known.
    """
    kafka, out, excluded = config.kafka, Path(args.out), own_topics(config.output.prefix)
    resources.enter_context(locked(out, _ALL, "several topics"))
    existing = tuple(sorted(look_up_inputs(connection_of(kafka), kafka.topics, excluded)))
    topics.learn_more(existing)
    if args.until_end and not existing:
        raise ConnectorError(f"[kafka] topics: there is no topic {', '.join(kafka.topics)} to record")
    wanted = existing if args.until_end else kafka.topics
    # A static member keeps what it asked for before, so that another choice of topics is another group.
    chosen = hashlib.sha256("\0".join(wanted).encode()).hexdigest()[:8]
    group = f"{group_in(out, _ALL)}-{chosen}"
    return ConsumerOptions(
        "", group, f"{group}-1", awaits_start=True, topics=wanted, excluded=tuple(sorted(excluded))
    )


def _codec(config: ConnectionConfig, channels: tuple[str, ...]) -> Codec:
    return input_codec(channels or _NO_CHANNEL, config.input, config.schema_registry, config.inputs)


def _channels(
    flag: str | None, config: ConnectionConfig, connection: Connection, topic: str
) -> tuple[str, ...]:
    """Return the channels of a topic: those of the flag, or those of its oldest messages."""
    if flag:
        return tuple(name.strip() for name in flag.split(",") if name.strip())
    form = form_of(input_of(topic, config.input, config.inputs), config.schema_registry)
    found = channels_in(RawColumns.of(sample(connection, topic, _SAMPLE_MESSAGES)), form)
    if found:
        of = "" if config.kafka.topic else f" of {topic}"
        print(f"channels{of}: {', '.join(found)}", file=sys.stderr)
    return found


def _tidying(keep: str | None) -> Tidying:
    """Return how files are tidied: all are kept without --keep. Raises ConfigError."""
    return Tidying() if keep is None else Tidying(_seconds(keep, "--keep"))


def _rolling(every: str) -> Rolling:
    return Rolling(max_seconds=_seconds(every, "--file-every"))


def _seconds(text: str, flag: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{flag}: {error}") from error
    if not seconds:
        raise ConfigError(f"{flag}: a time above 0, such as 30d")
    return seconds


def _print_recorded(recorded: Recorded, directory: Path) -> None:
    print(
        f"recorded {recorded.num_rows:,} readings of {len(recorded.series)} series"
        f" in {len(recorded.files)} files under {directory}"
    )
    if recorded.rejected:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in recorded.rejected.most_common())
        print(f"left out: {reasons}", file=sys.stderr)
    if recorded.unknown_values:
        print(f"left out: {recorded.unknown_values:,} values of other channels", file=sys.stderr)
