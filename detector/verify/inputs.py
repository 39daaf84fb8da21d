"""The input that is scored again: a recorded directory, or the topics as far as they are retained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from connectors.kafka.admin.topic_stretch import Bounds, read_stretch
from connectors.kafka.connection import Connection
from connectors.parquet.dataset import discover
from connectors.parquet.reader import Chunk, read_chunks
from connectors.parquet.recorded_names import (
    Stretch,
    creation_of,
    stretch_of,
    topic_of,
    without_covered,
)
from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch, Codec, RawColumns, Readings
from detector.errors import ConfigError

_BATCH_ROWS = 4_096
CodecOf = Callable[[tuple[str, ...]], Codec]
AllBounds = Mapping[tuple[str, int], Bounds]
"""(topic, partition) -> its bounds."""


@dataclass(frozen=True, slots=True)
class PartitionInput:
    """The readings of one partition, in the order in which the service read them.

    label           the topic, with a number where it was created again
    partition       its number in the topic
    has_beginning   it begins with the first message of the partition: there was no state before it
    is_published    everything in it was processed by the service
    read            returns the readings, with these channels as the columns of their values
    """

    label: str
    partition: int
    has_beginning: bool
    is_published: bool
    read: Callable[[tuple[str, ...]], Iterator[Batch]]

    @property
    def topic(self) -> str:
        """The topic."""
        return topic_of(self.label)

    @property
    def name(self) -> str:
        """The partition, for people."""
        return f"{self.label}, partition {self.partition}"


def of_topics(
    connection: Connection, bounds: AllBounds, codec_of: CodecOf, numbers: PartitionNumbers
) -> list[PartitionInput]:
    """Return the partitions of topics, up to the offsets that the group has committed."""

    def reader(place: tuple[str, int], one: Bounds) -> Callable[[tuple[str, ...]], Iterator[Batch]]:
        def read(channels: tuple[str, ...]) -> Iterator[Batch]:
            codec = codec_of(channels)
            for raw in read_stretch(connection, *place, one.first, one.committed or 0):
                number = np.full(len(raw), numbers.number(*place), np.int32)
                yield _decoded(codec, replace(raw, partition=number))

        return read

    return [
        PartitionInput(*place, one.first == 0, True, reader(place, one))
        for place, one in bounds.items()
        if one.committed is not None and one.committed > one.first
    ]


def of_directory(
    path: Path, is_read: Callable[[str], bool], bounds: AllBounds, numbers: PartitionNumbers
) -> list[PartitionInput]:
    """Return the partitions of a recording, those of a topic before it was created again first.

    Args:
        path: the directory.
        is_read: whether the service reads a topic.
        bounds: of the topics that exist.
        numbers: of the partitions.

    Raises:
        ConfigError: The directory has no file of a recording of such a topic.
    """
    found = {one: file for file in sorted(path.glob("*.parquet")) if (one := stretch_of(file)) is not None}
    kept = set(without_covered(list(found.values())))
    ours = [one for one, file in found.items() if file in kept and is_read(topic_of(one.topic))]
    if not ours:
        raise ConfigError(
            f"{path}: has no file that `streamgauge record` wrote of a topic of the configuration; name the"
            " directory of its --out"
        )
    newest: dict[str, int] = {}
    for one in ours:
        topic = topic_of(one.topic)
        newest[topic] = max(creation_of(one.topic), newest.get(topic, 1))
    parts = []
    for (topic, creation, number), group in groupby(sorted(ours, key=_order), lambda one: _order(one)[:3]):
        stretches = list(group)
        committed = bounds[topic, number].committed if (topic, number) in bounds else None
        is_published = creation < newest[topic] or (committed or 0) >= stretches[-1].next
        files = [found[one] for one in stretches]
        parts.append(_recorded(stretches, files, is_published, numbers.number(topic, number)))
    return parts


def _order(stretch: Stretch) -> tuple[str, int, int, int]:
    return topic_of(stretch.topic), creation_of(stretch.topic), stretch.partition, stretch.first


def _recorded(stretches: list[Stretch], files: list[Path], is_published: bool, number: int) -> PartitionInput:
    def read(channels: tuple[str, ...]) -> Iterator[Batch]:
        for file in files:
            dataset = discover(file)
            lacking = [one for one in channels if one not in dataset.channels]
            if len(lacking) == len(channels):  # as messages without a known channel
                continue
            order = [*channels, *(one for one in dataset.channels if one not in channels)]
            for chunk in read_chunks(discover(file, _present(order, lacking)), _BATCH_ROWS):
                yield Batch(_readings(chunk, channels, lacking, number))

    first = stretches[0]
    return PartitionInput(first.topic, first.partition, first.first == 0, is_published, read)


def _present(order: list[str], lacking: list[str]) -> list[str]:
    return [one for one in order if one not in lacking]


def _readings(chunk: Chunk, channels: tuple[str, ...], lacking: list[str], partition: int) -> Readings:
    """Return the rows with these channels; a row with other channels alone was refused by the service."""
    num_own = len(channels) - len(lacking)
    values = np.full((len(chunk), len(channels) + chunk.values.shape[1] - num_own), np.nan)
    own = [at for at, one in enumerate(channels) if one not in lacking]
    values[:, own] = chunk.values[:, :num_own]
    values[:, len(channels) :] = chunk.values[:, num_own:]
    zeros = np.full(len(chunk), partition, np.int32)
    offset = np.arange(len(chunk), dtype=np.int64)
    found = Readings(chunk.names, chunk.series, chunk.timestamp_ns, values, zeros, offset)
    return of_channels(found, list(range(len(channels))))


def of_channels(readings: Readings, columns: list[int]) -> Readings:
    """Return readings with some of their columns of values.

    A reading that has values in other columns alone is left out: a decoder without those refuses it.
    """
    values = readings.values[:, columns]
    others = np.delete(readings.values, columns, axis=1)
    rows = np.asarray(~(np.isnan(values).all(axis=1) & ~np.isnan(others).all(axis=1)))
    found = replace(readings, values=values)
    return found if rows.all() else found.take(rows)


def _decoded(codec: Codec, raw: RawColumns) -> Batch:
    decoded = codec.decode_columns(raw)
    return Batch(decoded.readings, decoded.rejects)
