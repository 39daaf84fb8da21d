"""Labelled files as evaluation reads them: one series per file, in memory, in the order of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connectors.errors import ParquetError
from connectors.parquet.dataset import Dataset, discover, infer_interval
from connectors.parquet.files import find_files as files_below
from connectors.parquet.reader import Chunk, read_chunks
from detector.offline.measuring.measures import autocorrelation_period
from trainer.errors import TooLittleDataError, TrainerError


@dataclass(frozen=True, slots=True)
class Labelled:
    """Hold one labelled series of n rows, sorted by time; rows of equal time keep the order of the file.

    Attributes:
        timestamp_ns: int64 [n].
        values: float64 [n, channels], NaN where missing.
        label: int8 [n], 1 for an anomalous row.
        split: object [n], the text of the column `split`.
        train: bool [n], the rows to fit on.
        place: intp [n], position of each row in the file.
        channels: Names, sorted, so that the order of the columns changes no figure.
        interval_ns: Step of the grid.
        buffer: Rows of the VUS buffer.
    """

    timestamp_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    label: NDArray[np.int8]
    split: NDArray[np.object_]
    train: NDArray[np.bool_]
    place: NDArray[np.intp]
    channels: tuple[str, ...]
    interval_ns: int
    buffer: int

    def training_chunk(self) -> Chunk:
        """Return the rows to fit on, without their labels, which no training may see."""
        train = self.train
        series = np.zeros(int(train.sum()), np.int32)
        return Chunk(self.timestamp_ns[train], ("series",), series, self.values[train], None, None)


def find_files(directory: Path) -> list[Path]:
    """Return the files at or below `directory` without hidden ones; raise TrainerError for none."""
    if not directory.exists():
        raise TrainerError(f"{directory}: no such file or directory")
    if not directory.is_dir():
        return [directory]
    try:
        return files_below(directory)
    except ParquetError as error:
        raise TrainerError(str(error)) from error


def read_labelled(path: Path, train_rows: int | None) -> Labelled:
    """Read a file with its labels.

    Args:
        path: A Parquet or CSV file of one series.
        train_rows: Fit on the first so many rows; None: on the rows with `split = train`.

    Raises:
        TrainerError, ParquetError: The file lacks a column or holds several series.
    """
    dataset = discover(path)
    if not dataset.has_label:
        raise TrainerError("no column `label`; add one with 1 on anomalous rows and 0 elsewhere")
    if train_rows is None and not dataset.has_split:
        raise TrainerError("no column `split`; add one with train or test on each row, or give --train-rows")
    first_channel = dataset.channels[0]
    dataset = replace(dataset, channels=tuple(sorted(dataset.channels)))
    chunks = list(read_chunks(dataset))
    _check_one_series(chunks)
    timestamp_ns = np.concatenate([chunk.timestamp_ns for chunk in chunks])
    place = np.argsort(timestamp_ns, kind="stable")
    timestamp_ns = timestamp_ns[place]
    values = np.concatenate([chunk.values for chunk in chunks])[place]
    label = np.concatenate([chunk.label for chunk in chunks if chunk.label is not None])[place]
    split = _split(chunks, place, train_rows)
    train = split == "train"
    return Labelled(
        timestamp_ns=timestamp_ns,
        values=values,
        label=label,
        split=split,
        train=train,
        place=place,
        channels=dataset.channels,
        interval_ns=_interval_ns(dataset, timestamp_ns, train),
        buffer=_buffer(dataset, values[:, dataset.channels.index(first_channel)]),
    )


def _check_one_series(chunks: Iterable[Chunk]) -> None:
    names = sorted({chunk.names[code] for chunk in chunks for code in np.unique(chunk.series)})
    if len(names) > 1:
        raise TrainerError(
            f"{len(names)} series ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}); evaluation"
            " fits one model per file: write one file per series"
        )


def _split(chunks: list[Chunk], place: NDArray[np.intp], train_rows: int | None) -> NDArray[np.object_]:
    if train_rows is None:
        return np.concatenate([chunk.split for chunk in chunks if chunk.split is not None])[place]
    return np.where(np.arange(len(place)) < train_rows, "train", "test").astype(object)


def _interval_ns(dataset: Dataset, timestamp_ns: NDArray[np.int64], train: NDArray[np.bool_]) -> int:
    if not train.any():
        raise TooLittleDataError(f"no training rows: none of its {len(train)} rows has `split` = train")
    interval_ns = dataset.interval_ns or infer_interval(timestamp_ns)
    if interval_ns is None:
        raise TooLittleDataError(f"all of its {len(train)} rows have the same time")
    return interval_ns


def _buffer(dataset: Dataset, values: NDArray[np.float64]) -> int:
    stated = dataset.metadata.get("vus_window", "")
    return int(stated) if stated.isdecimal() else autocorrelation_period(values)
