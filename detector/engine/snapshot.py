"""The state of single series as bytes, and back: what a member hands to its successor.

Everything that the engine remembers of a series is in it, bit by bit, so that an engine that was given the
snapshots of all series and the readings after them goes on as if nothing had happened. The `Origin` says what
engine that was. Its cells fit an engine of the same layout only: same channels, grid, windows and thresholds'
form. For another one it still holds the readings of rows that are open, and the open incident, which must be
resolved some day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from detector.artifact.spec import Artifact, Spec
from detector.incidents.incident import Track
from detector.incidents.rules import IncidentRules
from detector.rows.series_arrays import SeriesArray

FORMAT = 2


class Origin(msgspec.Struct, array_like=True, frozen=True):
    """The engine that a state is of.

    layout         of its cells
    model, rules   fingerprints: engines that share both say the same of the same readings
    grid           (interval, lateness) in nanoseconds
    channels       names; center and scale are theirs, as bytes of float64
    """

    layout: bytes
    model: bytes
    rules: bytes
    grid: tuple[int, int]
    channels: tuple[str, ...]
    center: bytes
    scale: bytes

    @classmethod
    def of(cls, artifact: Artifact, lateness_ns: int, rules: IncidentRules) -> Origin:
        spec = artifact.spec
        return cls(
            _layout_of(spec, lateness_ns),
            _model_of(artifact),
            _digest(repr(rules).encode()),
            (spec.interval_ns, lateness_ns),
            spec.channel_names,
            spec.column("center").tobytes(),
            spec.column("scale").tobytes(),
        )

    def judges_like(self, other: Origin) -> bool:
        """Whether the two say the same of the same readings."""
        return (self.layout, self.model, self.rules) == (other.layout, other.model, other.rules)

    def scaling(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Center and scale, float64 [C] each."""
        return np.frombuffer(self.center), np.frombuffer(self.scale)


@dataclass(frozen=True, slots=True)
class SeriesState:
    """One series.

    cells         one entry of each of the engine's arrays, as bytes one after the other; the grid's first
    timestamp_ns  int64 [n], values float64 [n, C]: the readings of rows that are still open
    track         what the incident rules remember, None where nothing
    """

    name: str
    origin: Origin
    cells: bytes
    timestamp_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    track: Track | None

    @property
    def watermark_ns(self) -> int:
        """The newest timestamp seen."""
        return int(np.frombuffer(self.cells, np.int64, 1)[0])

    def values_of(self, channels: Sequence[str]) -> NDArray[np.float64]:
        """The open readings in other channels, float64 [n, len(channels)]; NaN for those that are new."""
        if tuple(channels) == self.origin.channels:
            return self.values
        values = np.full((len(self.values), len(channels)), np.nan)
        for at, name in enumerate(channels):
            if name in self.origin.channels:
                values[:, at] = self.values[:, self.origin.channels.index(name)]
        return values


class _Record(msgspec.Struct, array_like=True):
    format: int
    offset: int
    origin: Origin
    cells: bytes
    times: bytes
    values: bytes
    track: Track | None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Record)


def encode_state(state: SeriesState, offset: int) -> bytes:
    """`offset`: every reading of the series before it is in the state, none after it."""
    record = _Record(
        FORMAT,
        offset,
        state.origin,
        state.cells,
        state.timestamp_ns.tobytes(),
        state.values.tobytes(),
        state.track,
    )
    return _encoder.encode(record)


def decode_state(name: str, data: bytes) -> tuple[SeriesState, int] | None:
    """The state and its offset; None where it cannot be read: the series then warms up again."""
    try:
        record = _decoder.decode(data)
        times = np.frombuffer(record.times, np.int64)
        values = np.frombuffer(record.values, np.float64).reshape(len(times), len(record.origin.channels))
    except (msgspec.DecodeError, ValueError):
        return None
    if record.format != FORMAT:
        return None
    return SeriesState(name, record.origin, record.cells, times, values, record.track), record.offset


def _layout_of(spec: Spec, lateness_ns: int) -> bytes:
    """What two engines must share for the cells of one to mean the same to the other."""
    parts = {
        "channels": [[c.name, c.flatline_rows > 0] for c in spec.channels],
        "grid": [spec.interval_ns, lateness_ns],
        "windows": [[member.window for member in spec.members], spec.stride, spec.scoring.delay],
        "adaptive": spec.threshold.adaptation is not None,
    }
    return _digest(orjson.dumps(parts))


def _model_of(artifact: Artifact) -> bytes:
    """Of everything that a verdict depends on: two versions that differ in their training's notes alone
    have the same."""
    description = asdict(artifact.spec) | {"training": {}}
    weights = [tensor.cpu().numpy().tobytes() for tensor in artifact.module.state_dict().values()]
    return _digest(orjson.dumps(description, option=orjson.OPT_SORT_KEYS), *weights)


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()[:12]


def gather(arrays: Sequence[SeriesArray], slots: NDArray[np.int32]) -> NDArray[np.uint8]:
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


def scatter(arrays: Sequence[SeriesArray], slots: NDArray[np.int32], cells: NDArray[np.uint8]) -> None:
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
