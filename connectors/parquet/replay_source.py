"""Replays a Parquet data set in the order of time, as a source of readings.

    >>> from connectors.parquet.dataset import discover
    >>> source = ParquetSource(discover("history/"))  # doctest: +SKIP
    >>> while (batch := source.poll(0.0)) is not None: ...  # doctest: +SKIP

A replay holds one piece of every file that covers the present time. Files sorted by time are therefore
replayed in bounded memory, however many and large they are.
"""

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
    """A source that replays a data set in time order and ends after the last row.

    Ordering: by time. Rows of equal time come in the order of the files, then of their place in the file.
    Offsets count the replayed rows. `poll` never waits.
    """

    def __init__(self, dataset: Dataset, batch_rows: int = 16_384) -> None:
        """Replay `dataset` in batches of at most `batch_rows` readings. The first poll opens the files."""
        self._batches = _replay(dataset, batch_rows)

    def poll(self, timeout_seconds: float) -> Batch | None:
        """Return the next batch, or None after the last row. Raises ParquetError for a damaged file."""
        return next(self._batches, None)

    def close(self) -> None:
        """Close the open files and end the replay."""
        self._batches.close()


def _replay(dataset: Dataset, batch_rows: int) -> Generator[Batch, None, None]:
    """Yield batches in time order."""
    piece_rows = max(_MIN_PIECE_ROWS, min(CHUNK_ROWS, _REPLAY_ROWS // len(dataset.files)))
    for readings in merged([_timed(file, dataset, piece_rows) for file in dataset.files], batch_rows):
        yield Batch(readings)


def _timed(file: Path, dataset: Dataset, piece_rows: int) -> TimedRows:
    """Return the rows of a file, to be read when its time comes, with the oldest time from each place on."""
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
    # Reached only if the caller wants more rows than the file has.
    raise ParquetError(f"{file}: damaged: its channels have fewer rows than its times")


def _readings(chunk: Chunk) -> Readings:
    zeros = np.zeros(len(chunk), np.int32)
    return Readings(
        chunk.names, chunk.series, chunk.timestamp_ns, chunk.values, zeros, zeros.astype(np.int64)
    )
