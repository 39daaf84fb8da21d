"""Replays Parquet files to a topic, in time order.

Promise: every message is acknowledged before the next ones are sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from connectors.errors import ConnectorError
from connectors.names import channels_fault, series_fault
from connectors.records import Produces, Readings, Source
from connectors.wide_json.encoder import FieldNames, encode

_POLL_SECONDS = 0.5
_NAP_SECONDS = 0.5


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
