"""The state of single series as bytes, and back: what a member hands to its successor.

Everything that the engine remembers of a series is in it, bit by bit, so that an engine that was given the
snapshots of all series and the readings after them goes on as if nothing had happened. A snapshot fits an
engine of the same `layout` only: same channels, scaling, grid, windows and thresholds' form. Of another one
it still carries the open incident, which must be resolved some day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from detector.artifact import Spec
from detector.incidents import Track
from detector.slots import SlotArray

FORMAT = 2


@dataclass(frozen=True, slots=True)
class SeriesState:
    """One series.

    cells         one entry of each of the engine's arrays, as bytes one after the other
    timestamp_ns  int64 [n], values float64 [n, C]: the readings of rows that are still open
    track         what the incident rules remember, None where nothing
    """

    name: str
    cells: bytes
    timestamp_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    track: Track | None


class _Record(msgspec.Struct, array_like=True):
    format: int
    layout: bytes
    offset: int
    cells: bytes
    times: bytes
    values: bytes
    track: Track | None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Record)


def layout_of(spec: Spec, lateness_ns: int) -> bytes:
    """What two engines must share for the state of one to mean the same to the other."""
    parts = {
        "channels": [[c.name, c.center, c.scale, c.flatline_rows] for c in spec.channels],
        "grid": [spec.interval_ns, lateness_ns, spec.max_gap],
        "windows": [[member.window for member in spec.members], spec.stride, spec.scoring.delay],
        "adaptive": spec.threshold.adaptation is not None,
    }
    return hashlib.sha256(orjson.dumps(parts)).digest()[:12]


def encode_state(state: SeriesState, layout: bytes, offset: int) -> bytes:
    """`offset`: every reading of the series before it is in the state, none after it."""
    record = _Record(
        FORMAT,
        layout,
        offset,
        state.cells,
        state.timestamp_ns.tobytes(),
        state.values.tobytes(),
        state.track,
    )
    return _encoder.encode(record)


def decode_state(name: str, data: bytes, layout: bytes, num_channels: int) -> tuple[SeriesState, int] | None:
    """The state and its offset; of another layout only the incident's track, with no cells. None where it
    cannot be read or says nothing: the series then warms up again."""
    try:
        record = _decoder.decode(data)
    except msgspec.DecodeError:
        return None
    if record.format != FORMAT or record.layout != layout:
        nothing = np.empty(0, np.int64), np.empty((0, num_channels))
        return (SeriesState(name, b"", *nothing, record.track), record.offset) if record.track else None
    times = np.frombuffer(record.times, np.int64)
    values = np.frombuffer(record.values, np.float64).reshape(len(times), num_channels)
    return SeriesState(name, record.cells, times, values, record.track), record.offset


def gather(arrays: Sequence[SlotArray], slots: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The entries of `slots` in all arrays, as bytes: uint8 [len(slots), bytes]."""
    size = int(slots.max(initial=-1)) + 1
    columns = []
    for array in arrays:
        array.reserve(size)
        if array.data[:1].size == 0:
            continue
        entries = np.ascontiguousarray(array.data[slots]).reshape(len(slots), -1)
        columns.append(entries.view(np.uint8).reshape(len(slots), -1))
    return np.concatenate(columns, axis=1)


def scatter(arrays: Sequence[SlotArray], slots: NDArray[np.int32], cells: NDArray[np.uint8]) -> None:
    """Undo `gather`. Raises ValueError where the bytes are not those of these arrays."""
    size = int(slots.max(initial=-1)) + 1
    at = 0
    for array in arrays:
        array.reserve(size)
        shape = array.data.shape[1:]
        width = array.data.dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        part = np.ascontiguousarray(cells[:, at : at + width])
        if part.shape[1] != width:
            raise ValueError(f"{cells.shape[1]} bytes a series are too few")
        if width:
            array.data[slots] = part.view(array.data.dtype).reshape(len(slots), *shape)
        at += width
    if at != cells.shape[1]:
        raise ValueError(f"{cells.shape[1]} bytes a series, {at} expected")
