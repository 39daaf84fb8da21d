"""Columns that are no channels, as codes beside the rows: what a data report needs to say why they matter."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from connectors.errors import ParquetError
from connectors.parquet.columns import TIMESTAMP, kind_of_type
from connectors.parquet.dataset import Dataset
from connectors.parquet.files import batches_of, schema_of
from connectors.parquet.reader import Chunk, read_file

Codes = dict[str, NDArray[np.int64]]
"""Column -> int64 [n]: equal values of a column have equal codes in all files; -1 is no value."""


def read_with_codes(dataset: Dataset, names: Sequence[str], chunk_rows: int) -> Iterator[tuple[Chunk, Codes]]:
    """Yield all rows of a data set with the codes of some columns of text. Raises ParquetError."""
    for file in dataset.files:
        yield from zip(
            read_file(file, dataset, chunk_rows), _read_codes(file, dataset, names, chunk_rows), strict=True
        )


def first_texts(dataset: Dataset, name: str, most: int) -> list[str]:
    """Return the first texts of a column from every file, at most `most` of each. Raises ParquetError."""
    found: list[str] = []
    for file in dataset.columns[name].present:
        with closing(batches_of(file, dataset.names, most, [name])) as batches:
            batch = next(batches, None)
            values = [] if batch is None else batch.column(0).to_pylist()
        found += [str(value) for value in values if value is not None]
    return found


def code_of(value: object) -> int:
    """Return the code of one value, -1 for None: the same in every process."""
    if value is None:
        return -1
    raw = value if isinstance(value, bytes) else str(value).encode(errors="replace")
    return zlib.crc32(raw) | len(raw) << 32


def _read_codes(file: Path, dataset: Dataset, names: Sequence[str], chunk_rows: int) -> Iterator[Codes]:
    schema = schema_of(file, dataset.names)
    present = [n for n in names if n in schema.names and kind_of_type(schema.field(n).type) == "text"]
    try:
        # One column more gives the number of rows where none of these is present.
        for batch in batches_of(file, dataset.names, chunk_rows, [TIMESTAMP, *present]):
            if batch.num_rows:
                absent = np.full(batch.num_rows, -1, np.int64)
                yield {n: _codes(batch.column(n)) if n in present else absent for n in names}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ParquetError(f"{file}: damaged: {str(error).splitlines()[0]}") from error


def _codes(column: pa.Array) -> NDArray[np.int64]:
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    codes = np.array([*map(code_of, encoded.dictionary.to_pylist()), -1], np.int64)
    found: NDArray[np.int64] = codes[encoded.indices.fill_null(len(codes) - 1).to_numpy()]
    return found
