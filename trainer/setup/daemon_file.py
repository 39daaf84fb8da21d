"""Writes the daemon's configuration that belongs to a history or to a topic, with the reasons as comments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detector.config.schema import ServiceSection
from detector.config.types import duration_text
from trainer.setup.train_file import array, comment, quoted

_STALE_ROWS = 10
_MOST_SHOWN = 3
_EXAMPLE_MS = 1_767_225_600_000


@dataclass(frozen=True, slots=True)
class Stream:
    """Hold what the daemon has to know of a topic.

    Attributes:
        servers: Addresses of brokers; none: not known yet.
        topic: Name of the topic; None: not known yet.
        keys: Keys of [input] that read the messages.
        channels: Names of the channels.
        series: Name of one series, for the example.
        interval_seconds: Usual step of a series; None: unknown.
        example: A message of the topic; empty: none is known.
        registry: Address of the schema registry; None: none is needed.
    """

    servers: tuple[str, ...]
    topic: str | None
    keys: Mapping[str, str | tuple[str, ...]]
    channels: Sequence[str]
    series: str
    interval_seconds: float | None
    example: str = ""
    registry: str | None = None


def daemon_file(stream: Stream, model: str, source: str) -> str:
    """Return the configuration as TOML.

    Args:
        stream: What is known of the topic.
        model: Path of the registry entry.
        source: What it was written from, for the first comment.
    """
    is_open = stream.topic is None
    lines = [
        *comment(f"Configuration of the daemon, written by `streamgauge init` from {source}."),
        *comment("`streamgauge config init` lists every other key with its default."),
        "[model]",
        f"path = {quoted(model)}",
        "",
        "[kafka]",
        *(comment("Set these two: your broker, and the topic of the readings.") if is_open else []),
        f"bootstrap_servers = {array(stream.servers or ('localhost:9092',))}",
        f"topic = {quoted(stream.topic or 'readings')}",
        "",
        "[input]",
        *comment(
            "A message of the topic has this form, with the name of the series as its key (docs/formats.md):"
        ),
        f"# {_example(stream)}",
        *(
            f"{key} = {quoted(one) if isinstance(one, str) else array(one)}"
            for key, one in stream.keys.items()
        ),
        "",
        *(["[schema_registry]", f"url = {quoted(stream.registry)}", ""] if stream.registry else []),
        "[service]",
        *_stale(stream.interval_seconds),
    ]
    return "\n".join(lines) + "\n"


def _example(stream: Stream) -> str:
    values = dict.fromkeys(stream.channels[:_MOST_SHOWN], 1.5)
    message = {"series": stream.series, "timestamp": _EXAMPLE_MS, "values": values}
    return stream.example or json.dumps(message, ensure_ascii=False)


def _stale(interval_seconds: float | None) -> list[str]:
    default = ServiceSection().stale_after or 0.0
    if interval_seconds is None or _STALE_ROWS * interval_seconds <= default:
        return [
            *comment(f"A series is stale after {duration_text(default)} without a reading."),
            f"# stale_after = {quoted(duration_text(default))}",
        ]
    seconds = float(round(_STALE_ROWS * interval_seconds))
    return [
        *comment(f"A series is stale after {_STALE_ROWS} rows without a reading: readings come seldom."),
        f"stale_after = {quoted(duration_text(seconds))}",
    ]
