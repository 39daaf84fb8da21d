"""The state of a single series as bytes, and back.

Promise: a restored series continues with the same bits as if nothing had happened, if the engine then gets
the readings after the snapshot.

The `Origin` describes the engine that saved the state. The cells fit only an engine of the same layout: same
channels, grid, windows and form of threshold. An engine of another layout still restores the readings of open
rows, and the open incident, which must be resolved some day.
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

FORMAT = 3


class Origin(msgspec.Struct, array_like=True, frozen=True):
    """The engine that saved a state.

    layout         fingerprint of the layout of the cells
    model, rules   fingerprints: engines that share both give the same results for the same readings
    grid           (interval, lateness) in nanoseconds
    channels       names of the channels
    center, scale  of each channel in the saved series, float64 [C] as bytes
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
        """Return the origin of an engine with this artifact, lateness and rules."""
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
        """Return whether both engines give the same results for the same readings."""
        return (self.layout, self.model, self.rules) == (other.layout, other.model, other.rules)

    def with_scales(self, center: NDArray[np.float64], scale: NDArray[np.float64]) -> Origin:
        """Return the origin of a series with scales of its own, float64 [C] each."""
        return msgspec.structs.replace(self, center=center.tobytes(), scale=scale.tobytes())

    def scaling(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return center and scale, float64 [C] each."""
        return np.frombuffer(self.center), np.frombuffer(self.scale)


@dataclass(frozen=True, slots=True)
class SeriesState:
    """The state of one series.

    cells         its entry in each array of the engine, as bytes one after the other; the grid's comes first
    timestamp_ns  int64 [n], times of the readings of rows that are still open
    values        float64 [n, C], their values
    track         what the incident rules keep, None where they keep nothing
    """

    name: str
    origin: Origin
    cells: bytes
    timestamp_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    track: Track | None

    @property
    def watermark_ns(self) -> int:
        """The newest timestamp of the series."""
        return int(np.frombuffer(self.cells, np.int64, 1)[0])

    def values_of(self, channels: Sequence[str]) -> NDArray[np.float64]:
        """Return the open readings for other channels, float64 [n, len(channels)]; new ones are NaN."""
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
    """Return a state as bytes.

    Args:
        state: the state of one series.
        offset: every reading of the series before this offset is in the state, and none from it on.
    """
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
    """Return the state and its offset; None if the bytes cannot be read, so that the series warms up."""
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
    """Return a fingerprint of everything that decides the meaning of the cells."""
    parts = {
        "channels": [[c.name, c.flatline_rows > 0] for c in spec.channels],
        "grid": [spec.interval_ns, lateness_ns],
        "windows": [[member.window for member in spec.members], spec.stride, spec.scoring.delay],
        "adaptive": spec.threshold.adaptation is not None,
    }
    return _digest(orjson.dumps(parts))


def _model_of(artifact: Artifact) -> bytes:
    """Return a fingerprint of everything in the artifact that a verdict depends on.

    Versions that differ only in the notes on their training share it.
    """
    description = asdict(artifact.spec) | {"training": {}}
    weights = [tensor.cpu().numpy().tobytes() for tensor in artifact.module.state_dict().values()]
    return _digest(orjson.dumps(description, option=orjson.OPT_SORT_KEYS), *weights)


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()[:12]


def gather(arrays: Sequence[SeriesArray], slots: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return the entries of `slots` in all arrays as bytes, uint8 [len(slots), bytes]."""
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
    """Write bytes from `gather` back into the arrays.

    Args:
        arrays: in the same order as for `gather`.
        slots: the series, int32 [n].
        cells: uint8 [n, bytes].

    Raises:
        ValueError: the number of bytes does not fit the arrays.
    """
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
