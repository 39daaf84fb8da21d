"""Columns that are no channels, as codes beside the rows: what a data report needs to say why they matter."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from connectors.errors import ParquetError
from connectors.parquet.columns import TIMESTAMP, kind_of_type
from connectors.parquet.dataset import Dataset
from connectors.parquet.files import batches_of, schema_of
from connectors.parquet.reader import Chunk, is_wanted, of_rows, read_file

_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
"""What Hive and Spark write as the value of a key for rows without one."""
Codes = dict[str, NDArray[np.int64]]
"""Column -> int64 [n]: equal values of a column have equal codes in all files; -1 is no value."""


def read_with_codes(dataset: Dataset, names: Sequence[str], chunk_rows: int) -> Iterator[tuple[Chunk, Codes]]:
    """Yield all rows of a data set with the codes of some columns of text. Raises ParquetError."""
    whole = replace(dataset, only=None)  # chunks and codes come side by side
    for file in dataset.files:
        codes_of_file = _read_codes(file, dataset, names, chunk_rows)
        for chunk, codes in zip(read_file(file, whole, chunk_rows), codes_of_file, strict=True):
            rows = is_wanted(chunk, dataset.only)
            if rows.all():
                yield chunk, codes
            elif rows.any():
                yield of_rows(chunk, rows), {name: column[rows] for name, column in codes.items()}


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


@dataclass(frozen=True, slots=True)
class Texts:
    """The values of one column beside the rows of a chunk, as texts.

    values  the distinct texts
    codes   int64 [n], index into `values`; -1 where a row has none
    """

    values: tuple[str, ...]
    codes: NDArray[np.int64]


def read_with_texts(dataset: Dataset, name: str, chunk_rows: int) -> Iterator[tuple[Path, Chunk, Texts]]:
    """Yield all rows of a data set with the texts of one column; numbers become texts.

    A file without the column has the value of its Hive key of this name, or no value. Raises ParquetError.
    """
    for file in dataset.files:
        in_path = hive_value(file, name)
        if name not in schema_of(file, dataset.names).names:
            values, code = ((), -1) if in_path is None else ((in_path,), 0)
            for chunk in read_file(file, dataset, chunk_rows):
                yield file, chunk, Texts(values, np.full(len(chunk), code, np.int64))
            continue
        for chunk, texts in zip(
            read_file(file, dataset, chunk_rows), _read_texts(file, dataset, name, chunk_rows), strict=True
        ):
            yield file, chunk, texts


def hive_value(file: Path, name: str) -> str | None:
    """Return the value of a Hive key in the path of a file; the nearest one, None without one or for a null.

    >>> hive_value(Path("history/kind=pump/series=p-1/a.parquet"), "kind")
    'pump'
    """
    keys = (part.partition("=") for part in reversed(file.parts[:-1]))
    found = next((unquote(value) for key, equals, value in keys if equals and key == name), None)
    return None if found == _HIVE_NULL else found


def _read_texts(file: Path, dataset: Dataset, name: str, chunk_rows: int) -> Iterator[Texts]:
    try:
        for batch in batches_of(file, dataset.names, chunk_rows, [TIMESTAMP, name]):
            if batch.num_rows:
                column = batch.column(name)
                plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
                encoded = plain.cast(pa.string()).dictionary_encode()
                codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
                yield Texts(tuple(encoded.dictionary.to_pylist()), codes)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ParquetError(f"{file}: damaged: {str(error).splitlines()[0]}") from error
