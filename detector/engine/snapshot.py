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
from dataclasses import asdict, dataclass, replace

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from detector.artifact.spec import Artifact, Spec
from detector.incidents.incident import Track
from detector.incidents.lasting import stretch_for
from detector.incidents.rules import IncidentRules
from detector.models.execution.choice import TORCH
from detector.rows.clock_rules import Doubt
from detector.rows.grid import OpenReadings
from detector.rows.series_arrays import SeriesArray
from detector.scoring.cold.learnt_scales import ColdOptions
from detector.scoring.window_scorer import slow_rows_of

FORMAT = 8


class Origin(msgspec.Struct, array_like=True, frozen=True):
    """The engine that saved a state.

    layout         fingerprint of the layout of the cells
    model, rules   fingerprints: engines that share both give the same results for the same readings
    grid           (interval, lateness) of the saved series in nanoseconds
    channels       names of the channels
    center, scale  of each channel in the saved series, float64 [C] as bytes
    reference      fingerprint of what the evidence that lasts is measured against; empty if there is none
    """

    layout: bytes
    model: bytes
    rules: bytes
    grid: tuple[int, int]
    channels: tuple[str, ...]
    center: bytes
    scale: bytes
    reference: bytes = b""

    @classmethod
    def of(
        cls, artifact: Artifact, lateness_ns: int, rules: IncidentRules, cold: ColdOptions | None = None
    ) -> Origin:
        """Return the origin of an engine with this artifact, lateness and rules, and how series begin."""
        spec, given = artifact.spec, repr(rules)
        is_cold = cold is not None and cold.begins(spec.cold)
        if is_cold:
            given += repr(cold)
        return cls(
            _layout_of(spec, lateness_ns, is_cold),
            _model_of(artifact),
            _digest(given.encode()),
            (spec.interval_ns, lateness_ns),
            spec.channel_names,
            spec.column("center").tobytes(),
            spec.column("scale").tobytes(),
            _reference_of(spec),
        )

    def judges_like(self, other: Origin) -> bool:
        """Return whether both engines give the same results for the same readings."""
        return (self.layout, self.model, self.rules) == (other.layout, other.model, other.rules)

    def of_series(self, spec: Spec, series: str) -> Origin:
        """Return the origin of the state of one series: it has the interval and the scales of that series."""
        if series not in spec.intervals and series not in spec.own_scales:
            return self
        center, scale = spec.scales_of(series)
        grid = (spec.interval_of(series), self.grid[1])
        return msgspec.structs.replace(self, grid=grid, center=center.tobytes(), scale=scale.tobytes())

    def scaling(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return center and scale, float64 [C] each."""
        return np.frombuffer(self.center), np.frombuffer(self.scale)


@dataclass(frozen=True, slots=True)
class SeriesState:
    """The state of one series.

    cells         its entry in each array of the engine, as bytes one after the other; the grid's comes first
    open          the readings of rows that are still open
    doubt         what is in doubt about its clock, readings that are held included; None where nothing is
    track         what the incident rules keep, None where they keep nothing
    model         the model that saved it, where a process has several; else empty
    """

    name: str
    origin: Origin
    cells: bytes
    open: OpenReadings
    doubt: Doubt | None
    track: Track | None
    model: str = ""

    @property
    def watermark_ns(self) -> int:
        """Return the newest time that the series' clock believed; it is the first of the cells."""
        return int(np.frombuffer(self.cells, np.int64, 1)[0])

    def open_for(self, channels: Sequence[str]) -> OpenReadings:
        """Return the open readings with the values of other channels; those of new channels are NaN."""
        return replace(self.open, values=self._values_for(channels, self.open.values))

    def doubt_for(self, channels: Sequence[str]) -> Doubt | None:
        """Return what is in doubt, with the values of other channels."""
        if self.doubt is None or tuple(channels) == self.origin.channels:
            return self.doubt

        def changed(readings: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
            return [(t, self._values_for(channels, np.frombuffer(v)[None])[0].tobytes()) for t, v in readings]

        return msgspec.structs.replace(
            self.doubt, held=changed(self.doubt.held), late=changed(self.doubt.late)
        )

    def track_for(self, channels: Sequence[str]) -> Track | None:
        """Return what is kept of the incidents, with the running sums of other channels.

        The course of an incident has a fixed number of channels, so it ends with them.
        """
        track = self.track
        if track is None or tuple(channels) == self.origin.channels:
            return track
        old = track.stretch
        stretch = None if old is None else stretch_for(old, self.origin.channels, channels)
        return replace(track, stretch=stretch, course=None)

    def _values_for(self, channels: Sequence[str], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the columns of `channels`, float64 [n, len(channels)]; NaN where there is none."""
        if tuple(channels) == self.origin.channels:
            return values
        found = np.full((len(values), len(channels)), np.nan)
        for at, name in enumerate(channels):
            if name in self.origin.channels:
                found[:, at] = values[:, self.origin.channels.index(name)]
        return found


class _Record(msgspec.Struct, array_like=True):
    format: int
    offset: int
    origin: Origin
    cells: bytes
    rows: bytes
    times: bytes
    values: bytes
    doubt: Doubt | None
    track: Track | None


class _NamedRecord(_Record):
    """A record with the name of its model, where a process has several. Other records end before it."""

    model: str = ""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_NamedRecord)


def encode_state(state: SeriesState, offset: int) -> bytes:
    """Return a state as bytes.

    Args:
        state: the state of one series.
        offset: every reading of the series before this offset is in the state, and none from it on.
    """
    values = (
        FORMAT,
        offset,
        state.origin,
        state.cells,
        state.open.row.tobytes(),
        state.open.timestamp_ns.tobytes(),
        state.open.values.tobytes(),
        state.doubt,
        state.track,
    )
    return _encoder.encode(_NamedRecord(*values, state.model) if state.model else _Record(*values))


def decode_state(name: str, data: bytes) -> tuple[SeriesState, int] | None:
    """Return the state and its offset; None if the bytes cannot be read, so that the series warms up."""
    try:
        record = _decoder.decode(data)
        rows, times = np.frombuffer(record.rows, np.int64), np.frombuffer(record.times, np.int64)
        values = np.frombuffer(record.values, np.float64).reshape(len(times), len(record.origin.channels))
    except (msgspec.DecodeError, ValueError):
        return None
    if len(rows) != len(times):
        return None
    if record.format != FORMAT:
        return None
    readings = OpenReadings(rows, times, values)
    state = SeriesState(name, record.origin, record.cells, readings, record.doubt, record.track, record.model)
    return state, record.offset


def _layout_of(spec: Spec, lateness_ns: int, is_cold: bool) -> bytes:
    """Return a fingerprint of everything that decides the meaning of the cells."""
    parts = {
        "channels": [[c.name, c.flatline_rows > 0] for c in spec.channels],
        "grid": [spec.interval_ns, lateness_ns],
        "windows": [[member.window for member in spec.members], spec.stride, spec.scoring.delay],
        "slow": slow_rows_of(spec.max_gap),
        "reference": spec.reference is not None,
        "limited": spec.threshold.limit is not None,
        "modes": None if spec.modes is None else spec.modes.names,
    }
    present = {
        "season": spec.season is not None and spec.season.sums is not None,
        "drift": spec.drift is not None,
        "constants": any(channel.law == "constant" for channel in spec.channels),
        "jobs": spec.season is not None and len(spec.season.jobs) > 0,
        "cold": is_cold,
        "no_history": is_cold and spec.cold is not None and not spec.cold.series,
    }
    parts |= {name: True for name, is_present in present.items() if is_present}
    strides = [member.stride for member in spec.members]
    if max(strides) > 1:
        parts["strides"] = strides
    if spec.holds:
        parts["holds"] = spec.hold_ns
    return _digest(orjson.dumps(parts))


def _model_of(artifact: Artifact) -> bytes:
    """Return a fingerprint of everything that a verdict depends on: of the artifact, and what computes it.

    Versions that differ only in the notes on their training share it. What torch saved before there was
    another executor stays valid.
    """
    description = asdict(artifact.spec) | {"training": {}, "season": _season_of(artifact.spec) or None}
    for member in description["members"]:
        if member["stride"] == 1:  # as before there were strides
            del member["stride"]
    if not artifact.spec.holds:
        del description["holds"]  # a model without any is as it was before there were some
    if artifact.spec.cold is None:
        del description["cold"]  # as it was before there were any
    del description["peers"]  # no verdict depends on them
    weights = [one.tobytes() for one in artifact.module.weights().values()]
    # Verdicts of two executors agree to 1e-5 only: to continue from one with another is a change of models.
    executor = artifact.module.executor
    name = b"" if executor == TORCH else executor.encode()
    return _digest(orjson.dumps(description, option=orjson.OPT_SORT_KEYS), *weights, name)


def _season_of(spec: Spec) -> dict[str, object]:
    """Return the season as plain values. One without jobs is as it was before there were any."""
    season = {} if spec.season is None else asdict(spec.season)
    return {name: values for name, values in season.items() if name != "jobs" or values}


def _reference_of(spec: Spec) -> bytes:
    """Return a fingerprint of the reference, season and drift; another alarm budget leaves it as it is."""
    calibrated = dict.fromkeys(("threshold", "tails", "large_threshold", "large_tails"), ())
    frozen: list[dict[str, object]] = []
    if spec.reference is not None:
        frozen.append(asdict(spec.reference) | calibrated)
    if spec.season is not None and spec.season.sums is not None:
        frozen.append(_season_of(spec) | {"sums": (), "usual_error": ()})
    elif spec.season is not None and spec.season.jobs:
        frozen.append({"jobs": [asdict(one) for one in spec.season.jobs]})
    if spec.drift is not None:
        frozen.append(asdict(spec.drift) | {"limits": ()})
    return _digest(*(orjson.dumps(one, option=orjson.OPT_SORT_KEYS) for one in frozen)) if frozen else b""


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
