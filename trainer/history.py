"""History: rows of all series on their grids, in a scratch file, however much larger than memory.

Two passes over the data. The first finds, series by series, the stretches without a gap longer than
`max_gap`; the second writes each value to its place. Values stay on disk: of the data itself only blocks
are ever in memory. The rules of the grid are the engine's (`detector.grid`).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from connectors.parquet import Chunk, infer_interval
from detector.grid import starts_of
from trainer.errors import TooLittleDataError, TrainerError

Part = Literal["train", "validation", "calibration"]
Chunks: TypeAlias = Callable[[], Iterator[Chunk]]
_FILL_ROWS = 1 << 16
_JOIN_ROWS = 1 << 10


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive rows of one series: `length` rows from row number `row`, at `position` in the file."""

    series: str
    row: int
    position: int
    length: int

    @property
    def stop(self) -> int:
        return self.position + self.length

    def cut(self, start: int, stop: int) -> Segment | None:
        """What lies between two positions of the file; None where nothing does."""
        start, stop = max(start, self.position), min(stop, self.stop)
        if start >= stop:
            return None
        return replace(self, row=self.row + start - self.position, position=start, length=stop - start)


@dataclass(frozen=True, slots=True)
class Shares:
    """How each series' time is divided, oldest first: what is left over trains the weights."""

    validation: float = 0.15
    calibration: float = 0.2


class History:
    """Gridded rows of all series. Use as a context manager: the scratch file goes with it."""

    def __init__(
        self,
        file: IO[bytes],
        channels: tuple[str, ...],
        interval_ns: int,
        segments: tuple[Segment, ...],
        fingerprint: str,
    ) -> None:
        self._file = file
        self.channels = channels
        self.interval_ns = interval_ns
        self.segments = segments
        self.fingerprint = fingerprint

    @property
    def num_rows(self) -> int:
        return sum(segment.length for segment in self.segments)

    def read(self, start: int, stop: int) -> NDArray[np.float64]:
        """Rows at positions start..stop of the file, float64 [rows, channels], NaN where missing."""
        width = len(self.channels) * 8
        raw = os.pread(self._file.fileno(), (stop - start) * width, start * width)
        return np.frombuffer(raw, np.float64).reshape(-1, len(self.channels))

    def part(self, part: Part, shares: Shares) -> tuple[Segment, ...]:
        """The segments of one part: every series' time is cut at the same shares of its own rows."""
        found = []
        for segments in _by_series(self.segments).values():
            start, stop = segments[0].position, segments[-1].stop
            validation = start + round((stop - start) * (1 - shares.validation - shares.calibration))
            calibration = start + round((stop - start) * (1 - shares.calibration))
            bounds = {
                "train": (start, validation),
                "validation": (validation, calibration),
                "calibration": (calibration, stop),
            }
            found += [segment.cut(*bounds[part]) for segment in segments]
        return tuple(segment for segment in found if segment is not None)

    def close(self) -> None:
        """Remove the scratch file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def build_history(
    chunks: Chunks,
    channels: tuple[str, ...],
    interval_ns: int | None,
    max_gap: int,
    scratch: Path | None = None,
) -> History:
    """Grid all rows of `chunks`, which is called twice and must give the same both times.

    interval_ns  None: the most common step of the data. Raises TooLittleDataError where there is none.
    max_gap      missing rows that a window may bridge as NaN
    scratch      directory of the scratch file, 8 bytes a value; None: the system's
    """
    interval_ns = interval_ns or _interval_of(chunks)
    segments = _find_segments(chunks, interval_ns, max_gap)
    num_rows = segments[-1].stop if segments else 0
    if num_rows == 0:
        raise TooLittleDataError("the history has no rows")
    try:
        file = tempfile.TemporaryFile(prefix="streamgauge-history-", dir=scratch)  # noqa: SIM115  # History's
        _fill(file, num_rows, len(channels))
        fingerprint = _write_values(file, chunks, interval_ns, segments, len(channels))
    except OSError as error:
        raise TrainerError(
            f"cannot write the scratch file of the history: {error}; is TMPDIR full?"
        ) from error
    return History(file, channels, interval_ns, segments, fingerprint)


def _interval_of(chunks: Chunks) -> int:
    for chunk in chunks():
        for code in range(len(chunk.names)):
            interval_ns = infer_interval(chunk.timestamp_ns[chunk.series == code])
            if interval_ns is not None:
                return interval_ns
    raise TooLittleDataError(
        "the sampling interval cannot be learnt from single rows; state it with --interval"
    )


def _find_segments(chunks: Chunks, interval_ns: int, max_gap: int) -> tuple[Segment, ...]:
    """The first pass: unions of intervals of rows, merged where the gap is short enough."""
    spans: dict[str, NDArray[np.int64]] = {}
    for chunk in chunks():
        row = chunk.timestamp_ns // interval_ns
        for code, name in enumerate(chunk.names):
            rows = np.unique(row[chunk.series == code])
            if len(rows):
                new = _merge(np.column_stack([rows, rows]), max_gap)
                known = spans.get(name)
                spans[name] = new if known is None else _merge(np.vstack([known, new]), max_gap)
    segments = []
    position = 0
    for name in sorted(spans):
        for first, last in spans[name].tolist():
            segments.append(Segment(name, first, position, last - first + 1))
            position = segments[-1].stop
    return tuple(segments)


def _merge(spans: NDArray[np.int64], max_gap: int) -> NDArray[np.int64]:
    """Spans [first, last] of rows, joined where at most `max_gap` rows are missing between them."""
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    reach = np.maximum.accumulate(spans[:, 1])
    apart = np.concatenate([[True], spans[1:, 0] - reach[:-1] - 1 > max_gap])
    starts = np.flatnonzero(apart)
    return np.column_stack([spans[starts, 0], np.maximum.reduceat(spans[:, 1], starts)])


def _fill(file: IO[bytes], num_rows: int, num_channels: int) -> None:
    block = np.full((min(num_rows, _FILL_ROWS), num_channels), np.nan).tobytes()
    width = num_channels * 8
    for at in range(0, num_rows, _FILL_ROWS):
        file.write(block[: (min(num_rows, at + _FILL_ROWS) - at) * width])
    file.flush()


def _write_values(
    file: IO[bytes], chunks: Chunks, interval_ns: int, segments: tuple[Segment, ...], num_channels: int
) -> str:
    """The second pass. Of several values of a cell within a chunk the newest wins, else the later chunk's."""
    digest = hashlib.sha256()
    by_series = _by_series(segments)
    for chunk in chunks():
        digest.update(chunk.timestamp_ns.tobytes())
        digest.update(chunk.values.tobytes())
        for code, name in enumerate(chunk.names):
            rows = np.flatnonzero(chunk.series == code)
            rows = rows[np.argsort(chunk.timestamp_ns[rows], kind="stable")]
            row = chunk.timestamp_ns[rows] // interval_ns
            _overlay(file, _positions(row, by_series[name]), chunk.values[rows], num_channels)
    return digest.hexdigest()[:16]


def _by_series(segments: tuple[Segment, ...]) -> dict[str, list[Segment]]:
    found: dict[str, list[Segment]] = {}
    for segment in segments:
        found.setdefault(segment.series, []).append(segment)
    return found


def _positions(row: NDArray[np.int64], segments: list[Segment]) -> NDArray[np.int64]:
    first = np.array([segment.row for segment in segments])
    position = np.array([segment.position for segment in segments])
    at = np.searchsorted(first, row, side="right") - 1
    found: NDArray[np.int64] = position[at] + row - first[at]
    return found


def _overlay(
    file: IO[bytes], position: NDArray[np.int64], values: NDArray[np.float64], num_channels: int
) -> None:
    """Write values over what the file has; NaN overwrites nothing. Positions ascend."""
    if len(position) == 0:
        return
    width = num_channels * 8
    bounds = [0, *(np.flatnonzero(np.diff(position) > _JOIN_ROWS) + 1).tolist(), len(position)]
    for start, stop in itertools.pairwise(bounds):
        first, last = int(position[start]), int(position[stop - 1])
        raw = os.pread(file.fileno(), (last - first + 1) * width, first * width)
        block = np.frombuffer(raw, np.float64).reshape(-1, num_channels).copy()
        at, new = position[start:stop] - first, values[start:stop]
        groups = starts_of(at)
        if len(groups) == len(at):
            block[at] = np.where(np.isnan(new), block[at], new)
        else:  # several readings of one row: the order of writing is that of their times
            for row, cells in zip(at.tolist(), new, strict=True):
                block[row] = np.where(np.isnan(cells), block[row], cells)
        os.pwrite(file.fileno(), block.tobytes(), first * width)
