"""Parquet files that verbs write: wrong paths are refused early, and row groups have a good size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connectors.parquet.dataset import Dataset
from connectors.parquet.replay_source import ParquetSource
from connectors.parquet.writer import TableWriter
from connectors.records import Source
from detector.errors import DetectorError

Columns = Mapping[str, NDArray[np.generic]]
_GROUP_CELLS = 1 << 18


def output_file(path: Path, inputs: Sequence[Path] = ()) -> Path:
    """Return `path`. Raises DetectorError if it is a directory or one of the `inputs`."""
    if path.is_dir():
        raise DetectorError(f"{path}: is a directory; name a file in it, such as {path / 'out.parquet'}")
    if path.resolve() in {one.resolve() for one in inputs}:
        raise DetectorError(f"{path}: is the data that is read; name another file to write")
    return path


def write_converted(dataset: Dataset, out: Path, convert: Callable[[Source], Iterable[Columns]]) -> None:
    """Replay a data set through `convert` into one Parquet file, in bounded memory.

    Promise: `out` appears when it is complete.

    Args:
        dataset: the data to read.
        out: the file to write; it must not be one of the data set.
        convert: returns blocks of columns of a source, all with the same names.

    Raises:
        ParquetError, DetectorError: the message names the file and what is wrong with it.
    """
    output_file(out, dataset.files)
    with closing(ParquetSource(dataset)) as source, TableWriter(out) as writer:
        for columns in gathered(convert(source)):
            writer.write(columns)


def gathered(blocks: Iterable[Columns]) -> Iterator[Columns]:
    """Yield the same rows in blocks of about 260,000 cells. All blocks must have the same columns.

    Each block becomes a row group. Small row groups would cost more than the data in them.
    """
    held: list[Columns] = []
    cells = 0
    for block in blocks:
        held.append(block)
        cells += sum(len(column) for column in block.values())
        if cells >= _GROUP_CELLS:
            yield _joined(held)
            held, cells = [], 0
    if held:
        yield _joined(held)


def _joined(blocks: list[Columns]) -> Columns:
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
