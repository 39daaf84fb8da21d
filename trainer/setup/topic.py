"""Looks at a topic before there is a history: a sample of its messages, and what to do with them."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from connectors.kafka.cluster import sample, wait_for_broker
from connectors.records import Decoded, Raw, Readings
from connectors.times import iso_time
from detector.commands.transfer.replaying import place_of
from detector.config.input.registry import SchemaRegistrySection
from detector.config.input.section import InputSection
from trainer.errors import TooLittleDataError, TrainerError
from trainer.setup.csv_lines import UNNAMED, CsvProposal, example_line
from trainer.setup.daemon_file import Stream
from trainer.setup.example import example_of
from trainer.setup.messages import decoded, interval_seconds, seen
from trainer.setup.proposal import Beside, Keys, keys_for

if TYPE_CHECKING:
    from trainer.setup.avro import AvroProposal

_SAMPLE_MESSAGES = 1_000
_SHOWN = 3
_MOST_CHANNELS = 8


@dataclass(frozen=True, slots=True)
class TopicLook:
    """Hold what a sample of a topic shows: the stream, lines to print, and the lines of what was refused."""

    stream: Stream
    lines: tuple[str, ...]
    refused: tuple[str, ...]


def look_at_topic(args: argparse.Namespace) -> TopicLook:
    """Read the oldest messages of a topic, at most 1,000, and say what they are.

    Args:
        args: `topic`, `bootstrap_servers` and `config` as `streamgauge record` has them; `schema_registry`.

    Raises:
        KafkaError: The broker or the topic cannot be read.
        TrainerError: The topic is empty, or its messages have a form that is not read.
    """
    place = place_of(args)
    wait_for_broker(place.connection, place.topic)
    messages = sample(place.connection, place.topic, _SAMPLE_MESSAGES)
    return look_at_messages(messages, place.topic, place.connection.bootstrap_servers, place.registry)


def look_at_messages(
    messages: list[Raw],
    topic: str,
    servers: tuple[str, ...],
    registry: SchemaRegistrySection = SchemaRegistrySection(),  # noqa: B008 - a constant
) -> TopicLook:
    """Say what some messages are. Raises TrainerError if none can be read."""
    if not messages:
        raise TooLittleDataError(f"topic {topic} has no messages yet; send some, then repeat this")
    values = [one.value for one in messages]
    avro = None if registry.url is None else _avro(registry, values)
    beside = [Beside(one.key, one.timestamp_ms) for one in messages]
    lines = CsvProposal(values, beside)

    def propose(value: bytes, other: Beside) -> Keys | None:
        keys = keys_for(value, other) if avro is None else avro.keys_for(value, other)
        return keys or lines.keys_for(value, other)

    found = seen(values, beside, propose)
    if found.keys is None:
        raise TrainerError(_not_read(topic, len(messages), found.forms))
    channels, read = decoded(messages, InputSection.model_validate(found.keys), registry)
    if not len(read.readings):
        first = read.rejects[0]
        raise TrainerError(f"topic {topic}: no message can be read: {first.reason}: {first.detail}")
    readings = read.readings
    example = next(one.value or b"" for one in messages if one.offset == readings.offset[0])
    if avro is not None and (record := avro.record(example)) is not None:
        example = json.dumps(record, ensure_ascii=False).encode()
    series = readings.names[0]
    known = [*readings.names, *channels]
    is_csv = found.keys.get("format") == "csv"
    shown = example_line(example, found.keys, known) if is_csv else example_of(example, known)
    stream = Stream(servers, topic, found.keys, channels, series, interval_seconds(read), shown, registry.url)
    return TopicLook(stream, _lines(read, channels, found.keys), _refused(read))


def _avro(registry: SchemaRegistrySection, values: list[bytes | None]) -> AvroProposal:
    from trainer.setup.avro import AvroProposal  # it needs an extra

    return AvroProposal(registry.client, values)


def _not_read(topic: str, num: int, forms: Counter[str]) -> str:
    shown = "; ".join(f"{count:,} of {num:,}: {form}" for form, count in forms.most_common(_SHOWN))
    return (
        f"topic {topic}: its messages have a form that is not read yet: {shown}."
        " docs/formats.md has the forms that are read; Avro needs --schema-registry URL"
    )


def _lines(messages: Decoded, channels: tuple[str, ...], keys: Keys) -> tuple[str, ...]:
    readings = messages.readings
    shown = ", ".join(channels[:_MOST_CHANNELS]) + (", ..." if len(channels) > _MOST_CHANNELS else "")
    is_unnamed = any(one.startswith(UNNAMED) for one in keys.get("columns", ()))
    return (
        f"{len(readings):,} readings, {len(readings.names):,} series, {len(channels):,} channels: {shown}",
        f"[input]: {', '.join(f'{key} = {_shown(one)}' for key, one in keys.items()) or 'as by default'}",
        *(reading_line(readings, row, channels) for row in range(min(_SHOWN, len(readings)))),
        *(
            ("no message names the columns: write their names into `columns` of [input]",)
            if is_unnamed
            else ()
        ),
    )


def _shown(found: str | tuple[str, ...]) -> str:
    """Return the value of a key for a person."""
    return {"\t": "tab"}.get(found, found) if isinstance(found, str) else ", ".join(found)


def reading_line(readings: Readings, row: int, channels: tuple[str, ...]) -> str:
    """Return a reading for a person: series, time, values of the first channels that have one."""
    known = np.flatnonzero(~np.isnan(readings.values[row]))[:_MOST_CHANNELS]
    values = ", ".join(f"{channels[at]}={readings.values[row, at]:g}" for at in known)
    when = iso_time(int(readings.timestamp_ns[row]))[:23]
    return f"  {readings.names[readings.series[row]]}  {when}Z  {values}"


def _refused(messages: Decoded) -> tuple[str, ...]:
    reasons = Counter(one.reason for one in messages.rejects)
    details = {one.reason: one.detail for one in reversed(messages.rejects)}
    return tuple(f"{num:,} messages: {reason}: {details[reason]}" for reason, num in reasons.most_common())
