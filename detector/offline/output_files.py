"""Files that verbs write: refused early where they cannot be meant, in row groups of a good size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detector.errors import DetectorError

Columns = Mapping[str, NDArray[np.generic]]
_GROUP_CELLS = 1 << 18


def output_file(path: Path, inputs: Sequence[Path] = ()) -> Path:
    """`path`, where it can be a file of its own. Raises DetectorError that says what it is instead."""
    if path.is_dir():
        raise DetectorError(f"{path}: is a directory; name a file in it, such as {path / 'out.parquet'}")
    if path.resolve() in {one.resolve() for one in inputs}:
        raise DetectorError(f"{path}: is the data that is read; name another file to write")
    return path


def gathered(blocks: Iterable[Columns]) -> Iterator[Columns]:
    """The same rows in blocks of about a quarter of a million cells, as all blocks have the same columns.

    Each block becomes a row group, and small ones cost more than what they hold.
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
