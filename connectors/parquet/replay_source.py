"""A data set replayed in the order of time.

A replay holds a piece of every file that covers the present, so files that are sorted by time are replayed
in bounded memory however many and large they are."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from connectors.errors import ParquetError
from connectors.parquet.dataset import Dataset
from connectors.parquet.reader import CHUNK_ROWS, Chunk, read_file
from connectors.parquet.time_merge import TimedRows, merged
from connectors.records import Batch, Readings

_REPLAY_ROWS = 1 << 20
_MIN_PIECE_ROWS = 1 << 10


class ParquetSource:
    """A replay of a data set in time order, as readings; ends after the last row.

    Ordering: by time; equal times by file, then by place in the file, as if they had arrived so.
    Offsets count the rows replayed. `poll` never waits.
    """

    def __init__(self, dataset: Dataset, batch_rows: int = 16_384) -> None:
        self._batches = _replay(dataset, batch_rows)

    def poll(self, timeout_seconds: float) -> Batch | None:
        return next(self._batches, None)

    def close(self) -> None:
        """Release the files that are open."""
        self._batches.close()


def _replay(dataset: Dataset, batch_rows: int) -> Generator[Batch, None, None]:
    """Batches in time order."""
    piece_rows = max(_MIN_PIECE_ROWS, min(CHUNK_ROWS, _REPLAY_ROWS // len(dataset.files)))
    for readings in merged([_timed(file, dataset, piece_rows) for file in dataset.files], batch_rows):
        yield Batch(readings)


def _timed(file: Path, dataset: Dataset, piece_rows: int) -> TimedRows:
    """The rows of a file, opened when its time comes, and how old they can be from each place on."""
    starts, oldest, at = [], [], 0
    bare = replace(dataset, channels=(), has_label=False, has_split=False)
    for chunk in read_file(file, bare, CHUNK_ROWS):
        starts.append(at)
        oldest.append(chunk.timestamp_ns.min())
        at += len(chunk)
    from_here = np.minimum.accumulate(np.array(oldest, np.int64)[::-1])[::-1]
    part = replace(dataset, has_label=False, has_split=False)
    return TimedRows(np.array(starts, np.int64), from_here, at, _pieces(file, part, piece_rows))


def _pieces(file: Path, dataset: Dataset, piece_rows: int) -> Iterator[Readings]:
    yield from (_readings(chunk) for chunk in read_file(file, dataset, piece_rows))
    raise ParquetError(f"{file}: damaged: its channels have fewer rows than its times")  # who asks for more


def _readings(chunk: Chunk) -> Readings:
    zeros = np.zeros(len(chunk), np.int32)
    return Readings(
        chunk.names, chunk.series, chunk.timestamp_ns, chunk.values, zeros, zeros.astype(np.int64)
    )
