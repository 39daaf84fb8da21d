"""The input that is scored again: a recorded directory, or the topic as far as it is retained."""

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
from connectors.parquet.recorded_names import Stretch, stretch_of, without_covered
from connectors.records import Batch, Codec, RawColumns, Readings
from detector.errors import ConfigError

_BATCH_ROWS = 4_096
CodecOf = Callable[[tuple[str, ...]], Codec]


@dataclass(frozen=True, slots=True)
class PartitionInput:
    """The readings of one partition, in the order in which the service read them.

    name            for people
    has_beginning   it begins with the first message of the partition: there was no state before it
    is_published    everything in it was processed by the service
    read            returns the readings, with these channels as the columns of their values
    """

    name: str
    has_beginning: bool
    is_published: bool
    read: Callable[[tuple[str, ...]], Iterator[Batch]]


def of_topic(
    connection: Connection, topic: str, bounds: Mapping[int, Bounds], codec_of: CodecOf
) -> list[PartitionInput]:
    """Return the partitions of a topic, up to the offsets that the group has committed."""

    def reader(number: int, one: Bounds) -> Callable[[tuple[str, ...]], Iterator[Batch]]:
        def read(channels: tuple[str, ...]) -> Iterator[Batch]:
            codec = codec_of(channels)
            for raw in read_stretch(connection, topic, number, one.first, one.committed or 0):
                yield _decoded(codec, raw)

        return read

    return [
        PartitionInput(f"{topic}, partition {number}", one.first == 0, True, reader(number, one))
        for number, one in bounds.items()
        if one.committed is not None and one.committed > one.first
    ]


def of_directory(path: Path, topic: str, bounds: Mapping[int, Bounds]) -> list[PartitionInput]:
    """Return the partitions of a recording, those of a topic before it was created again first.

    Raises:
        ConfigError: The directory has no file of a recording of this topic, or some are missing in between.
    """
    found = {one: file for file in sorted(path.glob("*.parquet")) if (one := stretch_of(file)) is not None}
    kept = set(without_covered(list(found.values())))
    ours = sorted(one for one, file in found.items() if file in kept and one.topic.partition("~")[0] == topic)
    if not ours:
        raise ConfigError(
            f"{path}: has no file that `streamgauge record` wrote of topic {topic}; name the directory of"
            " its --out"
        )
    parts = []
    for (label, number), group in groupby(ours, lambda one: (one.topic, one.partition)):
        stretches = list(group)
        committed = bounds[number].committed if number in bounds else None
        is_newest = label == max(one.topic for one in ours)
        is_published = not is_newest or (committed or 0) >= stretches[-1].next
        files = [found[one] for one in stretches]
        parts.append(_recorded(label, number, stretches, files, is_published))
    return parts


def _recorded(
    label: str, number: int, stretches: list[Stretch], files: list[Path], is_published: bool
) -> PartitionInput:
    def read(channels: tuple[str, ...]) -> Iterator[Batch]:
        for file in files:
            dataset = discover(file)
            lacking = [one for one in channels if one not in dataset.channels]
            if len(lacking) == len(channels):
                raise ConfigError(f"{file}: was recorded without the channels of the model: {lacking}")
            order = [*channels, *(one for one in dataset.channels if one not in channels)]
            for chunk in read_chunks(discover(file, _present(order, lacking)), _BATCH_ROWS):
                yield Batch(_readings(chunk, channels, lacking, number))

    return PartitionInput(f"{label}, partition {number}", stretches[0].first == 0, is_published, read)


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
