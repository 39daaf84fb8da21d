"""Writes readings to Parquet files that are named by topic, partition and offsets."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from connectors.parquet.recorded_names import Stretch
from connectors.parquet.writer import TableWriter
from connectors.partition_numbers import PartitionNumbers
from connectors.recording.topics import RecordedTopic
from connectors.records import Batch, Position, Readings

logger = logging.getLogger(__name__)

RECORDED_FROM = "recorded_from"
"""The entry of a file's metadata that says when its oldest part was completed, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Rolling:
    """When files are complete: after `max_rows`, or `max_seconds` after their first row."""

    max_rows: int = 1_000_000
    max_seconds: float = 300.0
    chunk_rows: int = 65_536


@dataclass(slots=True)
class Recorded:
    """Counts of what was read so far, and the files that were completed. `rejected` counts by reason."""

    num_rows: int = 0
    files: list[Path] = field(default_factory=list)
    series: set[str] = field(default_factory=set)
    rejected: Counter[str] = field(default_factory=Counter)
    unknown_values: int = 0


@dataclass(slots=True)
class _Open:
    """What is held of one partition since its last file.

    writer   of the open file, once a chunk is in it
    chunk    readings that are not in the file yet
    """

    writer: TableWriter
    first: int
    next: int
    chunk: list[Readings] = field(default_factory=list)
    num_rows: int = 0


class Recorder:
    """Writes readings to one Parquet file a partition at a time. Not thread-safe.

    Columns: timestamp, series, and one float a channel of the topic. Rows stand in the order of their
    offsets. Commit a position only after `close_files` has returned it: until then its rows are in no
    complete file.

    Args:
        topics: what is recorded; further topics may come. Others are passed over, and so are their offsets.
        rolling: when files are complete.
        numbers: of the partitions; None: those of the only topic.
    """

    def __init__(
        self,
        topics: Mapping[str, RecordedTopic],
        rolling: Rolling | None = None,
        numbers: PartitionNumbers | None = None,
    ) -> None:
        self._topics = topics
        self._rolling = rolling or Rolling()
        self._numbers = numbers or PartitionNumbers(next(iter(topics)))
        self._open: dict[tuple[str, int], _Open] = {}
        self._begins: dict[tuple[str, int], int] = {}
        self._opened_at = 0.0
        self.recorded = Recorded()

    def begin(self, starts: Mapping[int, int]) -> None:
        """Note at which offset each partition is read from now on."""
        self._begins |= self._numbers.position(starts)

    def add(self, batch: Batch) -> None:
        """Add the readings of a batch to the open files, and count its rejects.

        What is held of partitions that were lost is dropped: their next owner reads it again.
        """
        self._drop(batch.lost)
        recorded, position = self.recorded, batch.position or {}
        own = {place: behind for place, behind in position.items() if place[0] in self._topics}
        recorded.rejected.update(one.reason for one in batch.rejects if one.topic in self._topics)
        if len(own) == len(position):  # else what is passed over is read again, and counted then
            recorded.unknown_values += batch.unknown_values
        if own and not self._open:
            self._opened_at = time.monotonic()
        for place, behind in own.items():
            held = self._open_for(place, batch)
            held.next = behind
            readings = self._readings_of(place, batch)
            if len(readings):
                recorded.num_rows += len(readings)
                recorded.series.update(readings.names)
                held.chunk.append(readings)
                held.num_rows += len(readings)
        if sum(sum(map(len, held.chunk)) for held in self._open.values()) >= self._rolling.chunk_rows:
            self._write_chunks()

    @property
    def is_full(self) -> bool:
        """Whether the files should be closed now."""
        old = time.monotonic() - self._opened_at >= self._rolling.max_seconds
        num_rows = sum(held.num_rows for held in self._open.values())
        return num_rows >= self._rolling.max_rows or (old and bool(self._open))

    def close_files(self, topic: str | None = None) -> Position:
        """Complete the files; return the position behind everything in complete files, for the commit.

        A partition whose messages gave no reading gets no file.

        Args:
            topic: only its files; None: all.
        """
        self._write_chunks()
        closed = {place: held for place, held in self._open.items() if topic in (None, place[0])}
        for place, held in closed.items():
            directory = self._topics[place[0]].directory
            stretch = Stretch(directory.label, place[1], held.first, held.next)
            if held.num_rows:
                path = directory.path / stretch.file_name
                held.writer.close(path)
                self.recorded.files.append(path)
                logger.info("recorded %d readings in %s", held.num_rows, path)
            self._begins[place] = held.next
            del self._open[place]
        return {place: held.next for place, held in closed.items()}

    def _drop(self, partitions: frozenset[int]) -> None:
        for place in map(self._numbers.place, partitions):
            if place in self._open:
                self._open.pop(place).writer.abandon()
            self._begins.pop(place, None)

    def _open_for(self, place: tuple[str, int], batch: Batch) -> _Open:
        """Return what is held of a partition; an unknown beginning is the first offset of the batch."""
        if place not in self._open:
            number = self._numbers.number(*place)
            offsets = batch.readings.offset[batch.readings.partition == number].tolist()
            offsets += [one.offset for one in batch.rejects if one.partition == number]
            first = self._begins.get(place, min(offsets, default=0))
            path = self._topics[place[0]].directory.scratch(place[1])
            made = {RECORDED_FROM: f"{time.time():.0f}"}
            self._open[place] = _Open(TableWriter(path, made, durable=True), first, first)
        return self._open[place]

    def _readings_of(self, place: tuple[str, int], batch: Batch) -> Readings:
        """Return the readings of a partition with the channels of its topic."""
        rows = batch.readings.partition == self._numbers.number(*place)
        own = batch.readings if rows.all() else batch.readings.take(rows)
        return self._topics[place[0]].own(own)

    def _write_chunks(self) -> None:
        for (topic, _), held in self._open.items():
            if held.chunk:
                held.writer.write(_columns(held.chunk, self._topics[topic].channels))
                held.chunk = []


def _columns(chunk: list[Readings], channels: tuple[str, ...]) -> dict[str, np.ndarray]:
    names = [np.array(readings.names, object)[readings.series] for readings in chunk]
    values = np.concatenate([readings.values for readings in chunk])
    times = np.concatenate([readings.timestamp_ns for readings in chunk])
    columns = {name: values[:, at] for at, name in enumerate(channels)}
    return {"timestamp": times, "series": np.concatenate(names), **columns}
