"""History: rows of all series on their grids, in a scratch file that may be larger than memory.

The data is read in two passes. The first finds the segments of each series: rows without a gap longer than
`max_gap`. The second writes each value to its position in the file. Only blocks of the data are in memory.

The rules of the grid are those of the engine (`detector.rows.grid`). If readings of one row lie in several
chunks, their order by time is known only after all chunks. Further passes resolve these contested rows.
"""

from __future__ import annotations

import bisect
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
import pandas as pd
from numpy.typing import NDArray

from connectors.parquet.reader import Chunk
from detector.rows.series_arrays import starts_of
from detector.scoring.window_scorer import slow_rows_of
from trainer.data.series_rate import Rate, rate_of
from trainer.errors import TooLittleDataError, TrainerError

Part = Literal["train", "validation", "calibration", "fit", "all"]
Chunks: TypeAlias = Callable[[], Iterator[Chunk]]
_FILL_ROWS = 1 << 16
_JOIN_ROWS = 1 << 10
_CONTESTED_READINGS = 1 << 21


@dataclass(frozen=True, slots=True)
class Segment:
    """Hold consecutive rows of one series: `length` rows from row number `row`, at `position` in the file."""

    series: str
    row: int
    position: int
    length: int

    @property
    def stop(self) -> int:
        """Return the position after the last row."""
        return self.position + self.length

    def cut(self, start: int, stop: int) -> Segment | None:
        """Return the part between two positions of the file; None if it is empty.

        >>> Segment("pump", 100, 0, 10).cut(4, 20)
        Segment(series='pump', row=104, position=4, length=6)
        """
        start, stop = max(start, self.position), min(stop, self.stop)
        if start >= stop:
            return None
        return replace(self, row=self.row + start - self.position, position=start, length=stop - start)


@dataclass(frozen=True, slots=True)
class Shares:
    """Divide the rows of each series by time: training first, then validation, then calibration.

    The shares of validation and calibration are of all rows; the rest trains the weights.
    """

    validation: float = 0.05
    calibration: float = 0.2


class History:
    """Hold the gridded rows of all series in a scratch file, which the end of the context removes.

    Positions are row numbers of the file.
    """

    def __init__(
        self,
        file: IO[bytes],
        channels: tuple[str, ...],
        rate: Rate,
        segments: tuple[Segment, ...],
        fingerprint: str,
    ) -> None:
        self.file = file
        self.channels = channels
        self.rate = rate
        self.interval_ns = rate.interval_ns
        self.intervals = dict(rate.intervals)
        self.segments = segments
        self.fingerprint = fingerprint
        self._positions = [segment.position for segment in segments]

    def interval_of(self, series: str) -> int:
        """Return the nanoseconds from one row of a series to the next."""
        return self.intervals.get(series, self.interval_ns)

    @property
    def num_rows(self) -> int:
        """Return the number of rows of all series, those without a reading included."""
        return sum(segment.length for segment in self.segments)

    @property
    def as_sent(self) -> History:
        """Return the history with every value that was sent, where this one has holes on purpose."""
        return self

    def whole(self, part: Segment) -> Segment:
        """Return the segment that `part` was cut from."""
        return self.segments[bisect.bisect_right(self._positions, part.position) - 1]

    def read(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the rows at positions start..stop, float64 [rows, channels], NaN where missing."""
        width = len(self.channels) * 8
        raw = os.pread(self.file.fileno(), (stop - start) * width, start * width)
        return np.frombuffer(raw, np.float64).reshape(-1, len(self.channels))

    def mask(self, start: int, masked: NDArray[np.bool_]) -> None:
        """Write NaN into cells of the rows from position `start` on; bool [rows, channels], True is masked.

        Raises:
            TrainerError: The scratch file cannot be written.
        """
        self.write(start, np.where(masked, np.nan, self.read(start, start + len(masked))))

    def write(self, start: int, values: NDArray[np.float64]) -> None:
        """Replace the rows from position `start` on, float64 [rows, channels]. Raises TrainerError."""
        try:
            os.pwrite(self.file.fileno(), values.tobytes(), start * values.shape[1] * 8)
        except OSError as error:
            raise TrainerError(f"cannot write the scratch file of the history: {error.strerror}") from error

    def narrowed(self, segments: tuple[Segment, ...]) -> History:
        """Return the history of `segments` alone, which are parts of its own. Both share the scratch file."""
        return History(self.file, self.channels, self.rate, segments, self.fingerprint)

    def reaching_back(self, segments: tuple[Segment, ...], rows: int) -> tuple[Segment, ...]:
        """Return the segments, each extended by up to `rows` rows before it without a long gap.

        The first windows that end in a segment begin in these rows.
        """
        found = []
        for segment in segments:
            back = min(rows, segment.position - self.whole(segment).position)
            found.append(
                Segment(segment.series, segment.row - back, segment.position - back, segment.length + back)
            )
        return tuple(found)

    def part(self, part: Part, shares: Shares) -> tuple[Segment, ...]:
        """Return the segments of one part; every series is cut at the same shares of its own rows.

        The part "fit" is training and validation together, "all" is every row.
        """
        found = []
        for segments in by_series(self.segments).values():
            num_rows = sum(segment.length for segment in segments)
            start, stop = segments[0].position, segments[-1].stop
            validation = _after(segments, round(num_rows * (1 - shares.validation - shares.calibration)))
            calibration = _after(segments, round(num_rows * (1 - shares.calibration)))
            bounds = {
                "train": (start, validation),
                "validation": (validation, calibration),
                "calibration": (calibration, stop),
                "fit": (start, calibration),
                "all": (start, stop),
            }
            found += [segment.cut(*bounds[part]) for segment in segments]
        return tuple(segment for segment in found if segment is not None)

    def close(self) -> None:
        """Remove the scratch file."""
        self.file.close()

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
    """Grid all rows of `chunks` into a scratch file.

    Args:
        chunks: Called several times; must return the same chunks each time.
        channels: Names of the columns of values.
        interval_ns: Nanoseconds between two rows; None: the most common step of each series.
        max_gap: Consecutive missing rows that a segment may contain, as NaN.
        scratch: Directory of the scratch file, which takes 8 bytes per value; None: the one of the system.

    Raises:
        TooLittleDataError: There are no rows, or no step to infer the interval from.
        TrainerError: A series came at two rates, or the scratch file cannot be written.
    """
    rate = rate_of(chunks, interval_ns, slow_rows_of(max_gap))
    segments = _find_segments(chunks, rate, max_gap)
    num_rows = segments[-1].stop if segments else 0
    if num_rows == 0:
        raise TooLittleDataError("the history has no rows")
    try:
        file = tempfile.TemporaryFile(prefix="streamgauge-history-", dir=scratch)  # noqa: SIM115  # History's
        _fill(file, num_rows, len(channels))
        positions = _RowPositions(rate, segments)
        fingerprint, num_readings, contested = _write_values(file, chunks, positions, len(channels))
        _resolve_contested(file, chunks, positions, contested, num_readings / num_rows)
    except OSError as error:
        need = num_rows * len(channels) * 8 / 2**20
        raise TrainerError(
            f"cannot write the scratch file of the history: {error.strerror}; it needs {need:,.0f} MiB:"
            " set TMPDIR to a directory with more room"
        ) from error
    return History(file, channels, rate, segments, fingerprint)


def _find_segments(chunks: Chunks, rate: Rate, max_gap: int) -> tuple[Segment, ...]:
    """Run the first pass: merge the rows of each series into segments, across gaps of at most `max_gap`."""
    spans: dict[str, NDArray[np.int64]] = {}
    for chunk in chunks():
        for name, readings in _by_name(chunk):
            rows = rate.rows(name, chunk.timestamp_ns[readings])
            rows = rows[starts_of(rows)]
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
    """Join spans [first, last] of rows if at most `max_gap` rows are missing between them."""
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


def _by_name(chunk: Chunk) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Yield the readings of each series, sorted by time; equal times keep their order."""
    order = np.lexsort((chunk.timestamp_ns, chunk.series))
    codes = chunk.series[order]
    starts = starts_of(codes)
    for code, readings in zip(codes[starts].tolist(), np.split(order, starts[1:]), strict=True):
        yield chunk.names[code], readings


class _RowPositions:
    """Find the position of a series' row in the scratch file."""

    def __init__(self, rate: Rate, segments: tuple[Segment, ...]) -> None:
        self._rate = rate
        self.num_rows = segments[-1].stop
        self._of = {
            name: (np.array([s.row for s in mine]), np.array([s.position for s in mine]))
            for name, mine in by_series(segments).items()
        }

    def find(self, chunk: Chunk) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Return the chunk's readings sorted by series and time, intp [n], and their positions, int64 [n]."""
        order, positions = [], []
        for name, readings in _by_name(chunk):
            first_row, first_position = self._of[name]
            row = self._rate.rows(name, chunk.timestamp_ns[readings])
            at = np.searchsorted(first_row, row, side="right") - 1
            order.append(readings)
            positions.append(first_position[at] + row - first_row[at])
        return np.concatenate(order), np.concatenate(positions)


def _write_values(
    file: IO[bytes], chunks: Chunks, positions: _RowPositions, num_channels: int
) -> tuple[str, int, NDArray[np.int64]]:
    """Run the second pass: write each row with the values of its last chunk.

    Returns the fingerprint of the data, the number of readings, and the positions that several chunks wrote.
    """
    digest = hashlib.sha256()
    written = np.zeros(positions.num_rows, np.bool_)
    contested: list[NDArray[np.int64]] = []
    num_readings = 0
    for chunk in chunks():
        for part in (repr(chunk.names).encode(), chunk.series, chunk.timestamp_ns, chunk.values):
            digest.update(np.ascontiguousarray(part).data if isinstance(part, np.ndarray) else part)
        readings, position = positions.find(chunk)
        position, values = _last_of_each(position, chunk.values[readings])
        contested.append(position[written[position]])
        written[position] = True
        num_readings += len(chunk)
        _overlay(file, position, values, num_channels)
    return digest.hexdigest()[:16], num_readings, np.unique(np.concatenate(contested))


def _resolve_contested(
    file: IO[bytes],
    chunks: Chunks,
    positions: _RowPositions,
    contested: NDArray[np.int64],
    readings_per_row: float,
) -> None:
    """Write the rows at the positions `contested` again, from all their readings sorted by time.

    A pass takes as many rows as their readings fit in memory.
    """
    rows_at_once = max(1, int(_CONTESTED_READINGS / readings_per_row))
    for at in range(0, len(contested), rows_at_once):
        wanted = np.zeros(positions.num_rows, np.bool_)
        wanted[contested[at : at + rows_at_once]] = True
        found = []
        for chunk in chunks():
            readings, position = positions.find(chunk)
            mine = wanted[position]
            readings = readings[mine]
            found.append((position[mine], chunk.timestamp_ns[readings], chunk.values[readings]))
        position, timestamp_ns, values = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((timestamp_ns, position))  # stable: of equal times the later chunk's is last
        position, values = _last_of_each(position[order], values[order])
        _overlay(file, position, values, values.shape[1])


def _last_of_each(
    position: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return one row per position: the last known value of each channel. Equal positions are adjacent."""
    starts = starts_of(position)
    if len(starts) == len(position):
        return position, values
    group = np.zeros(len(position), np.int64)
    group[starts[1:]] = 1
    last = pd.DataFrame(values).groupby(np.cumsum(group), sort=False).last()
    return position[starts], last.to_numpy()


def _after(segments: list[Segment], num_rows: int) -> int:
    """Return the position before which `segments`, of one series, have `num_rows` rows."""
    for segment in segments:
        if num_rows <= segment.length:
            return segment.position + num_rows
        num_rows -= segment.length
    return segments[-1].stop


def by_series(segments: tuple[Segment, ...]) -> dict[str, list[Segment]]:
    """Return the segments of each series, in order."""
    found: dict[str, list[Segment]] = {}
    for segment in segments:
        found.setdefault(segment.series, []).append(segment)
    return found


def _overlay(
    file: IO[bytes], position: NDArray[np.int64], values: NDArray[np.float64], num_channels: int
) -> None:
    """Write rows over those of the file; NaN keeps the value of the file. Positions are distinct."""
    if len(position) == 0:
        return
    width = num_channels * 8
    far = np.abs(np.diff(position)) > _JOIN_ROWS
    bounds = [0, *(np.flatnonzero(far) + 1).tolist(), len(position)]
    for start, stop in itertools.pairwise(bounds):
        first, last = int(position[start:stop].min()), int(position[start:stop].max())
        raw = os.pread(file.fileno(), (last - first + 1) * width, first * width)
        block = np.frombuffer(raw, np.float64).reshape(-1, num_channels).copy()
        at, new = position[start:stop] - first, values[start:stop]
        block[at] = np.where(np.isnan(new), block[at], new)
        os.pwrite(file.fileno(), block.tobytes(), first * width)
