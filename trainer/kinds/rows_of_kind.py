"""The rows of some series, out of files that may have others too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from connectors.parquet.dataset import Dataset
from connectors.parquet.reader import Chunk, read_chunks
from trainer.pipeline import TrainingData
from trainer.report.tables import Table, table_of_dataset


@dataclass(frozen=True, slots=True)
class RowsOfSeries:
    """Read the rows of some series of a data set. It holds no open file, and other processes can take it."""

    dataset: Dataset
    series: frozenset[str]

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows of the series, in the order of the files. Raises ParquetError."""
        for chunk in read_chunks(self.dataset):
            rows = self._rows(chunk)
            if rows.any():
                yield of_rows(chunk, rows)

    def training_data(self) -> TrainingData:
        """Return the rows as a training takes them."""
        return TrainingData(self.chunks, self.dataset.channels, self.dataset.interval_ns)

    def table(self) -> Table:
        """Return the rows as the data report takes them."""
        whole = table_of_dataset(self.dataset)

        def pieces() -> Iterator[tuple[Chunk, dict[str, NDArray[np.int64]]]]:
            for chunk, codes in whole.pieces():
                rows = self._rows(chunk)
                if rows.any():
                    yield of_rows(chunk, rows), {name: column[rows] for name, column in codes.items()}

        return replace(whole, pieces=pieces)

    def only(self, name: str) -> RowsOfSeries:
        """Return the rows of one of the series."""
        return replace(self, series=frozenset({name}))

    def _rows(self, chunk: Chunk) -> NDArray[np.bool_]:
        wanted = np.array([name in self.series for name in chunk.names], np.bool_)
        rows: NDArray[np.bool_] = wanted[chunk.series]
        return rows


def of_rows(chunk: Chunk, rows: NDArray[np.bool_]) -> Chunk:
    """Return the rows of a mask, bool [n], as if the chunk had no others."""
    present, first, series = np.unique(chunk.series[rows], return_index=True, return_inverse=True)
    order = np.argsort(first)  # names in order of appearance, as the reader gives them
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order))
    return Chunk(
        chunk.timestamp_ns[rows],
        tuple(chunk.names[code] for code in present[order].tolist()),
        place[series],
        chunk.values[rows],
        None if chunk.label is None else chunk.label[rows],
        None if chunk.split is None else chunk.split[rows],
        chunk.infinite if rows.all() else None,  # of the whole chunk alone
    )
