"""Merges streams of readings into one in time order, with as little memory as their order allows."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectors.records import Readings


@dataclass(frozen=True, slots=True)
class TimedRows:
    """A stream of `num_rows` readings in any order, with bounds of their times.

    starts   int64 [k], ascending from 0: numbers of rows
    oldest   int64 [k], the oldest time from row `starts[k]` to the end of the stream, nanoseconds
    pieces   the readings, consumed in order
    """

    starts: NDArray[np.int64]
    oldest: NDArray[np.int64]
    num_rows: int
    pieces: Iterator[Readings]

    def oldest_from(self, row: int) -> int:
        """Return a time that no reading from `row` on is older than, nanoseconds."""
        return int(self.oldest[np.searchsorted(self.starts, row, side="right") - 1])


def merged(streams: Sequence[TimedRows], batch_rows: int) -> Iterator[Readings]:
    """Yield all readings by time, at most `batch_rows` at once. Offsets count them.

    Equal times stay in the order of the streams and, within a stream, of its rows. A reading is held back
    until no stream can yield an older one. A stream sorted by time therefore costs the memory of one piece;
    another costs as much as it is out of order.

    Args:
        streams: the streams to merge.
        batch_rows: maximum of readings to yield at once.
    """
    held = _Held()
    done = [0] * len(streams)
    queue = [(stream.oldest_from(0), number) for number, stream in enumerate(streams) if stream.num_rows]
    heapq.heapify(queue)
    while queue:
        _, number = heapq.heappop(queue)
        piece = next(streams[number].pieces)
        held.add(piece, number)
        done[number] += len(piece)
        if done[number] < streams[number].num_rows:
            heapq.heappush(queue, (streams[number].oldest_from(done[number]), number))
        limit = queue[0][0] if queue else None
        if limit is None or held.is_worth_sorting(limit):
            yield from held.release(limit, batch_rows)


class _Held:
    """Holds readings that an older reading may still precede."""

    def __init__(self) -> None:
        self._code_of: dict[str, int] = {}
        self._names: list[str] = []
        self._parts: list[tuple[NDArray[np.generic], ...]] = []
        self._num_rows = 0
        self._num_kept = 0
        self._oldest = np.iinfo(np.int64).max
        self._offset = 0

    def add(self, piece: Readings, stream: int) -> None:
        codes = np.array([self._code(name) for name in piece.names], np.int32)
        origin = np.full(len(piece), stream, np.int32)
        self._parts.append((piece.timestamp_ns, origin, codes[piece.series], piece.values))
        self._num_rows += len(piece)
        self._oldest = min(self._oldest, int(piece.timestamp_ns.min()))

    def is_worth_sorting(self, limit: int) -> bool:
        """Whether to sort now: something can be released, and the held readings have doubled since."""
        return limit > self._oldest and self._num_rows >= 2 * self._num_kept

    def release(self, limit: int | None, batch_rows: int) -> Iterator[Readings]:
        """Yield the readings older than `limit` (None: all of them), sorted."""
        columns = [np.concatenate(column) for column in zip(*self._parts, strict=True)]
        order = np.lexsort((columns[1], columns[0]))  # stable: a stream's own order is kept
        timestamp_ns, origin, series, values = (column[order] for column in columns)
        num_ready = len(order) if limit is None else int(np.searchsorted(timestamp_ns, limit))
        self._parts = [(timestamp_ns[num_ready:], origin[num_ready:], series[num_ready:], values[num_ready:])]
        self._num_rows = self._num_kept = len(order) - num_ready
        self._oldest = int(timestamp_ns[num_ready]) if num_ready < len(order) else np.iinfo(np.int64).max
        for at in range(0, num_ready, batch_rows):
            rows = slice(at, min(num_ready, at + batch_rows))
            yield self._readings(timestamp_ns[rows], series[rows], values[rows])

    def _readings(
        self, timestamp_ns: NDArray[np.int64], series: NDArray[np.int32], values: NDArray[np.float64]
    ) -> Readings:
        present, codes = np.unique(series, return_inverse=True)
        num = len(codes)
        offsets = np.arange(self._offset, self._offset + num)
        self._offset += num
        return Readings(
            tuple(self._names[code] for code in present),
            codes.astype(np.int32),
            timestamp_ns,
            values,
            np.zeros(num, np.int32),
            offsets,
        )

    def _code(self, name: str) -> int:
        if name not in self._code_of:
            self._code_of[name] = len(self._names)
            self._names.append(name)
        return self._code_of[name]
