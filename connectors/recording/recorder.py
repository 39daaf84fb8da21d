"""Writes readings to Parquet files that are named by partition and offsets."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from connectors.errors import ConnectorError
from connectors.names import columns_fault
from connectors.parquet.recorded_names import Stretch
from connectors.parquet.writer import TableWriter
from connectors.recording.directory import RecordingDirectory
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

    Columns: timestamp, series, and one float a channel. Rows stand in the order of their offsets. Commit a
    position only after `close_files` has returned it: until then its rows are in no complete file.
    Raises ConnectorError for channels that no table can have.
    """

    def __init__(
        self, directory: RecordingDirectory, channels: tuple[str, ...], rolling: Rolling | None = None
    ) -> None:
        fault = columns_fault(channels)
        if fault is not None:
            raise ConnectorError(f"{directory.path}: {fault}: --channels names those to record")
        self._directory, self._channels = directory, channels
        self._rolling = rolling or Rolling()
        self._open: dict[tuple[str, int], _Open] = {}
        self._begins: dict[int, int] = {}
        self._opened_at = 0.0
        self.recorded = Recorded()

    def begin(self, starts: Mapping[int, int]) -> None:
        """Note at which offset each partition is read from now on."""
        self._begins |= starts

    def add(self, batch: Batch) -> None:
        """Add the readings of a batch to the open files, and count its rejects.

        What is held of partitions that were lost is dropped: their next owner reads it again.
        """
        self._drop(batch.lost)
        recorded = self.recorded
        recorded.rejected.update(reject.reason for reject in batch.rejects)
        recorded.unknown_values += batch.unknown_values
        if batch.position and not self._open:
            self._opened_at = time.monotonic()
        for key, behind in (batch.position or {}).items():
            held = self._open_for(key, batch)
            held.next = behind
        for key, readings in _by_partition(batch):
            recorded.num_rows += len(readings)
            recorded.series.update(readings.names)
            self._open[key].chunk.append(readings)
            self._open[key].num_rows += len(readings)
        if sum(sum(map(len, held.chunk)) for held in self._open.values()) >= self._rolling.chunk_rows:
            self._write_chunks()

    @property
    def is_full(self) -> bool:
        """Whether the files should be closed now."""
        old = time.monotonic() - self._opened_at >= self._rolling.max_seconds
        num_rows = sum(held.num_rows for held in self._open.values())
        return num_rows >= self._rolling.max_rows or (old and bool(self._open))

    def close_files(self) -> Position:
        """Complete the files; return the position behind everything in complete files, for the commit.

        A partition whose messages gave no reading gets no file.
        """
        self._write_chunks()
        for (_, partition), held in self._open.items():
            stretch = Stretch(self._directory.label, partition, held.first, held.next)
            if held.num_rows:
                path = self._directory.path / stretch.file_name
                held.writer.close(path)
                self.recorded.files.append(path)
                logger.info("recorded %d readings in %s", held.num_rows, path)
            self._begins[partition] = held.next
        position = {key: held.next for key, held in self._open.items()}
        self._open = {}
        return position

    def _drop(self, partitions: frozenset[int]) -> None:
        for key in [key for key in self._open if key[1] in partitions]:
            self._open.pop(key).writer.abandon()
        for partition in partitions:
            self._begins.pop(partition, None)

    def _open_for(self, key: tuple[str, int], batch: Batch) -> _Open:
        """Return what is held of a partition; an unknown beginning is the first offset of the batch."""
        if key not in self._open:
            partition = key[1]
            offsets = batch.readings.offset[batch.readings.partition == partition].tolist()
            offsets += [one.offset for one in batch.rejects if one.partition == partition]
            first = self._begins.get(partition, min(offsets, default=0))
            path, made = self._directory.scratch(partition), {RECORDED_FROM: f"{time.time():.0f}"}
            self._open[key] = _Open(TableWriter(path, made, durable=True), first, first)
        return self._open[key]

    def _write_chunks(self) -> None:
        for held in self._open.values():
            if held.chunk:
                held.writer.write(self._columns(held.chunk))
                held.chunk = []

    def _columns(self, chunk: list[Readings]) -> dict[str, np.ndarray]:
        names = [np.array(readings.names, object)[readings.series] for readings in chunk]
        values = np.concatenate([readings.values for readings in chunk])
        columns = {name: values[:, at] for at, name in enumerate(self._channels)}
        times = np.concatenate([readings.timestamp_ns for readings in chunk])
        return {"timestamp": times, "series": np.concatenate(names), **columns}


def _by_partition(batch: Batch) -> Iterator[tuple[tuple[str, int], Readings]]:
    """Yield the readings of each partition of a batch that has some."""
    readings = batch.readings
    for key in batch.position or {}:
        rows = readings.partition == key[1]
        if rows.all() and len(readings):
            yield key, readings
        elif rows.any():
            yield key, readings.take(rows)
