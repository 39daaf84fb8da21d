"""The history as the report reads it: rows, codes of columns of text, what the schema states."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from connectors.names import NAMES, ColumnNames
from connectors.parquet.columns import LABEL
from connectors.parquet.dataset import Dataset, discover
from connectors.parquet.reader import CHUNK_ROWS, Chunk
from connectors.parquet.side_columns import Codes, code_of, first_texts, read_with_codes
from connectors.values import Kind
from detector.errors import DetectorError
from detector.offline.frames import chunk_of_frame, column_kinds
from trainer.errors import TrainerError

_TEXTS = 1_000


@dataclass(frozen=True, slots=True)
class Table:
    """Hold what is known before the rows are read, and how to read them.

    Attributes:
        channels: Names of the columns of values.
        kinds: What each column holds, channels and others, by name.
        types: The types of each column as its file or frame names them.
        partial: Channel -> the number of files that lack it, for channels that some files lack.
        num_files, num_rows: Sizes; a frame is no file.
        faults: Column -> the one cell of a CSV file that makes it text, in words.
        texts: Return some texts of a column.
        pieces: Yield the rows with the codes of the columns of text.
    """

    channels: tuple[str, ...]
    kinds: Mapping[str, Kind]
    types: Mapping[str, str]
    partial: Mapping[str, int]
    num_files: int
    num_rows: int
    faults: Mapping[str, str]
    texts: Callable[[str], list[str]]
    pieces: Callable[[], Iterator[tuple[Chunk, Codes]]]

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Return the names of the columns of text."""
        return tuple(name for name, kind in self.kinds.items() if kind == "text")


def table_of(
    data: str | Path | Sequence[str | Path] | pd.DataFrame,
    channels: tuple[str, ...] | None = None,
    names: ColumnNames = NAMES,
) -> Table:
    """Return files or a frame as a table.

    Args:
        data: What `trainer.fit` takes.
        channels: Columns to use; None: all columns of numbers.
        names: Columns of times and series, in files without `timestamp` or `series`.

    Raises:
        ParquetError, TrainerError: The data cannot be read at all; the message has the remedy.
    """
    if not isinstance(data, pd.DataFrame):
        return table_of_dataset(discover(data, channels, names))
    try:
        return _of_frame(data, channels)
    except DetectorError as error:
        raise TrainerError(str(error)) from error


def table_of_dataset(dataset: Dataset) -> Table:
    """Return the files of a data set as a table."""
    kinds = {name: column.kind for name, column in dataset.columns.items()}
    num_files = len(dataset.files)
    present = {name: len(dataset.columns[name].present) for name in dataset.channels}
    texts = tuple(name for name, kind in kinds.items() if kind == "text")
    return Table(
        dataset.channels,
        kinds,
        {name: ", ".join(column.types) for name, column in dataset.columns.items()},
        {name: num_files - num for name, num in present.items() if num < num_files},
        num_files,
        dataset.num_rows,
        {name: column.fault for name, column in dataset.columns.items() if column.fault},
        lambda name: first_texts(dataset, name, _TEXTS),
        lambda: read_with_codes(dataset, texts, CHUNK_ROWS),
    )


def _of_frame(frame: pd.DataFrame, channels: tuple[str, ...] | None) -> Table:
    kinds = column_kinds(frame)
    wanted = channels or tuple(name for name, kind in kinds.items() if kind == "number")
    chunk = chunk_of_frame(frame.drop(columns=LABEL, errors="ignore"), wanted)
    texts = tuple(name for name, kind in kinds.items() if kind == "text")
    return Table(
        wanted,
        kinds,
        {name: str(frame[name].dtype) for name in kinds},
        {},
        0,
        len(frame),
        {},
        lambda name: [str(value) for value in frame[name].dropna().iloc[:_TEXTS]],
        lambda: iter([(chunk, {name: _codes_of(frame[name]) for name in texts})] if len(frame) else []),
    )


def _codes_of(column: pd.Series) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    places, found = pd.factorize(column)
    codes = np.array([*(code_of(one) for one in found), -1], np.int64)
    return codes[places]
