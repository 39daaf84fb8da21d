"""Records a Kafka topic as Parquet files, and replays Parquet files to a topic.

Promises
    record   at least once: an offset is committed when the file that holds its reading is complete. After
             a crash some rows can be in two files; they are equal, and a reader keeps one of them.
    replay   in time order; every message is acknowledged before the next ones are sent.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from connectors.errors import ConnectorError
from connectors.names import channels_fault, columns_fault, series_fault
from connectors.parquet.writer import TableWriter
from connectors.records import Batch, Position, Produces, Readings, Source
from connectors.wide_json.encoder import FieldNames, encode

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_NAP_SECONDS = 0.5


class RecordableSource(Protocol):
    """A source whose position can be committed and whose present end is known."""

    def poll(self, timeout_seconds: float) -> Batch:
        """Return what has arrived, after at most about `timeout_seconds`."""

    def commit(self, position: Position) -> None:
        """Commit these offsets: reading resumes there after a restart."""

    def end(self) -> Position:
        """Return the present end of each assigned partition."""

    def has_reached(self, position: Position) -> bool:
        """Whether everything before `position` was read, of the assigned partitions."""

    @property
    def is_assigned(self) -> bool:
        """Whether the partitions are assigned."""


@dataclass(frozen=True, slots=True)
class Rolling:
    """When a file is complete: after `max_rows`, or `max_seconds` after its first row."""

    max_rows: int = 1_000_000
    max_seconds: float = 300.0
    chunk_rows: int = 65_536


@dataclass(slots=True)
class Recorded:
    """Counts of what was read so far, and the files that are complete. `rejected` counts by reason."""

    num_rows: int = 0
    files: list[Path] = field(default_factory=list)
    series: set[str] = field(default_factory=set)
    rejected: Counter[str] = field(default_factory=Counter)
    unknown_values: int = 0


class Recorder:
    """Writes readings to Parquet files in a directory, one after the other.

    Columns: timestamp, series, and one float a channel. Rows are sorted by time within a chunk. Commit a
    position only after `close_file` has returned it: until then its rows are in no complete file.
    Raises ConnectorError for channels that no table can have.
    """

    def __init__(self, directory: Path, channels: tuple[str, ...], rolling: Rolling | None = None) -> None:
        fault = columns_fault(channels)
        if fault is not None:
            raise ConnectorError(f"{directory}: {fault}: --channels names those to record")
        self._directory, self._channels = directory, channels
        self._rolling = rolling or Rolling()
        self._chunk: list[Readings] = []
        self._writer: TableWriter | None = None
        self._path = directory
        self._num_rows = 0
        self._opened_at = 0.0
        self._position: dict[tuple[str, int], int] = {}
        self.recorded = Recorded()

    def add(self, batch: Batch) -> None:
        """Add the readings of a batch to the file, and count its rejects."""
        if not self._position:
            self._opened_at = time.monotonic()
        held = {key: at for key, at in self._position.items() if key[1] not in batch.lost}
        self._position = {**held, **(batch.position or {})}
        recorded = self.recorded
        recorded.rejected.update(reject.reason for reject in batch.rejects)
        recorded.unknown_values += batch.unknown_values
        if len(batch.readings):
            recorded.num_rows += len(batch.readings)
            recorded.series.update(batch.readings.names)
            self._chunk.append(batch.readings)
            self._num_rows += len(batch.readings)
        if sum(map(len, self._chunk)) >= self._rolling.chunk_rows:
            self._write_chunk()

    @property
    def is_full(self) -> bool:
        """Whether the file should be closed now."""
        old = time.monotonic() - self._opened_at >= self._rolling.max_seconds
        return self._num_rows >= self._rolling.max_rows or (old and bool(self._position))

    def close_file(self) -> Position:
        """Complete the file; return the position behind everything in complete files, for the commit."""
        self._write_chunk()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self.recorded.files.append(self._path)
            logger.info("recorded %d readings in %s", self._num_rows, self._path)
        self._num_rows = 0
        position, self._position = self._position, {}
        return position

    def _write_chunk(self) -> None:
        if not self._chunk:
            return
        if self._writer is None:
            self._path = self._directory / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.parquet"
            self._writer = TableWriter(self._path)
        timestamp_ns = np.concatenate([readings.timestamp_ns for readings in self._chunk])
        series = np.concatenate(
            [np.array(readings.names, object)[readings.series] for readings in self._chunk]
        )
        values = np.concatenate([readings.values for readings in self._chunk])
        order = np.argsort(timestamp_ns, kind="stable")
        columns = {name: values[order, at] for at, name in enumerate(self._channels)}
        self._writer.write({"timestamp": timestamp_ns[order], "series": series[order], **columns})
        self._chunk = []


def record(
    source: RecordableSource,
    recorder: Recorder,
    stop: threading.Event,
    *,
    until_end: bool = False,
    report: Callable[[Recorded], None] = lambda recorded: None,
) -> Recorded:
    """Record until `stop` is set, or up to the end that the topic had at the beginning.

    Args:
        source: the topic.
        recorder: writes the files.
        stop: ends the recording; the open file is completed.
        until_end: also stop at the end that the topic had at the beginning.
        report: called after each poll with the counts so far, once a reading has arrived.

    Returns:
        The final counts and files.
    """
    end: Position | None = None
    while not stop.is_set():
        recorder.add(source.poll(_POLL_SECONDS))
        if recorder.is_full:
            source.commit(recorder.close_file())
        if recorder.recorded.num_rows:
            report(recorder.recorded)
        if until_end and source.is_assigned:
            end = source.end() if end is None else end
            if source.has_reached(end):
                break
    source.commit(recorder.close_file())
    return recorder.recorded


@dataclass(frozen=True, slots=True)
class Destination:
    """The topic of replayed readings, and the fields of their messages."""

    topic: str
    channels: tuple[str, ...]
    fields: FieldNames = field(default_factory=FieldNames)


def replay(
    source: Source,
    producer: Produces,
    to: Destination,
    speed: float | None,
    stop: threading.Event,
    report: Callable[[int], None] = lambda num_rows: None,
) -> int:
    """Send the readings of a source; skip rows without any value.

    Args:
        source: readings sorted by time.
        producer: writes the messages.
        to: the topic and the fields of a message.
        speed: how many times faster than real time; None means as fast as possible.
        stop: ends the replay.
        report: called with the number of rows sent so far.

    Returns:
        The number of rows sent.

    Raises:
        ConnectorError: a name of a channel or a series is one that no reader of the topic would take.
    """
    num_sent = 0
    _refuse(channels_fault(to.channels))
    for readings in _paced(source, speed, stop):
        for name in readings.names:
            _refuse(series_fault(name))
        producer.produce(encode(readings, to.channels, to.topic, to.fields))
        num_sent += len(readings)
        report(num_sent)
    return num_sent


def _refuse(fault: str | None) -> None:
    if fault is not None:
        raise ConnectorError(f"cannot be replayed: {fault}")


def _paced(source: Source, speed: float | None, stop: threading.Event) -> Iterator[Readings]:
    """Yield slices of the source's readings, each when it is due."""
    started, first_ns = time.monotonic(), None
    while not stop.is_set() and (batch := source.poll(_POLL_SECONDS)) is not None:
        has_values = np.asarray(~np.isnan(batch.readings.values).all(axis=1))
        readings = _where(batch.readings, has_values)
        while len(readings) and not stop.is_set():
            if first_ns is None:
                first_ns = int(readings.timestamp_ns[0])
            due = due_seconds(readings.timestamp_ns, first_ns, speed)
            elapsed = time.monotonic() - started
            num_due = int(np.searchsorted(due, elapsed, side="right"))
            if num_due:
                yield _where(readings, slice(num_due))
                readings = _where(readings, slice(num_due, None))
            else:
                stop.wait(min(float(due[0]) - elapsed, _NAP_SECONDS))


def due_seconds(timestamp_ns: NDArray[np.int64], first_ns: int, speed: float | None) -> NDArray[np.float64]:
    """Return when each reading is due: float64 [n], seconds after the start; zeros without a speed.

    >>> due_seconds(np.array([0, 10_000_000_000]), first_ns=0, speed=20.0).tolist()
    [0.0, 0.5]
    """
    if speed is None:
        return np.zeros(len(timestamp_ns))
    return (timestamp_ns - first_ns) / (1e9 * speed)


def _where(readings: Readings, rows: slice | NDArray[np.bool_]) -> Readings:
    return replace(
        readings,
        series=readings.series[rows],
        timestamp_ns=readings.timestamp_ns[rows],
        values=readings.values[rows],
        partition=readings.partition[rows],
        offset=readings.offset[rows],
    )
