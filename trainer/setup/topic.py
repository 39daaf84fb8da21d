"""Looks at a topic before there is a history: a sample of its messages, and what to do with them."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass

import numpy as np

from connectors.kafka.cluster import sample, wait_for_broker
from connectors.records import Readings
from connectors.times import iso_time
from connectors.wide_json.decoder import Decoded
from connectors.wide_json.encoder import FieldNames
from detector.commands.transfer import place_of
from trainer.errors import TooLittleDataError, TrainerError
from trainer.setup.daemon_file import Stream
from trainer.setup.messages import decoded, interval_seconds, seen

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
        args: `topic`, `bootstrap_servers` and `config` as `streamgauge record` has them.

    Raises:
        KafkaError: The broker or the topic cannot be read.
        TrainerError: The topic is empty, or its messages have a form that is not read.
    """
    place = place_of(args)
    wait_for_broker(place.connection, place.topic)
    values = [one.value for one in sample(place.connection, place.topic, _SAMPLE_MESSAGES)]
    return look_at_messages(values, place.topic, place.connection.bootstrap_servers)


def look_at_messages(values: list[bytes | None], topic: str, servers: tuple[str, ...]) -> TopicLook:
    """Say what some messages are. Raises TrainerError if none can be read."""
    if not values:
        raise TooLittleDataError(f"topic {topic} has no messages yet; send some, then repeat this")
    found = seen(values)
    if found.fields is None:
        raise TrainerError(_not_read(topic, len(values), found.forms))
    channels, messages = decoded(values, found.fields)
    if not len(messages.readings):
        first = messages.rejects[0]
        raise TrainerError(f"topic {topic}: no message can be read: {first.reason}: {first.detail}")
    readings = messages.readings
    stream = Stream(servers, topic, found.fields, channels, readings.names[0], interval_seconds(messages))
    return TopicLook(stream, _lines(messages, channels, found.fields), _refused(messages))


def _not_read(topic: str, num: int, forms: Counter[str]) -> str:
    shown = "; ".join(f"{count:,} of {num:,}: {form}" for form, count in forms.most_common(_SHOWN))
    wanted = '{"series": "pump-17", "timestamp": 1767225600000, "values": {"flow": 21.3}}'
    return (
        f"topic {topic}: its messages have a form that is not read yet: {shown}."
        f" Only wide JSON is read, so send {wanted}"
    )


def _lines(messages: Decoded, channels: tuple[str, ...], fields: FieldNames) -> tuple[str, ...]:
    readings = messages.readings
    shown = ", ".join(channels[:_MOST_CHANNELS]) + (", ..." if len(channels) > _MOST_CHANNELS else "")
    return (
        f"{len(readings):,} readings, {len(readings.names):,} series, {len(channels):,} channels: {shown}",
        f"wide JSON: series in {fields.series!r}, time in {fields.timestamp!r}, values in {fields.values!r}",
        *(reading_line(readings, row, channels) for row in range(min(_SHOWN, len(readings)))),
    )


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
