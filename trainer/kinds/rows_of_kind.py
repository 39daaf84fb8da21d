"""The rows of some series, out of files that may have others too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

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
        yield from read_chunks(self._narrowed())

    def training_data(self) -> TrainingData:
        """Return the rows as a training takes them."""
        return TrainingData(self.chunks, self.dataset.channels, self.dataset.interval_ns)

    def table(self) -> Table:
        """Return the rows as the data report takes them."""
        return table_of_dataset(self._narrowed())

    def only(self, name: str) -> RowsOfSeries:
        """Return the rows of one of the series."""
        return replace(self, series=frozenset({name}))

    def _narrowed(self) -> Dataset:
        return replace(self.dataset, only=self.series)
