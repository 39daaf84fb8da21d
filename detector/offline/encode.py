"""`streamgauge encode`: windows of a source become the model's codes, and what that costs is measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectors.parquet.dataset import discover
from connectors.parquet.replay_source import ParquetSource
from connectors.parquet.writer import TableWriter
from connectors.records import Source
from detector.artifact.spec import Artifact
from detector.errors import DetectorError
from detector.offline.aligned_rows import Alignment, Tell, untold
from detector.offline.autoencoder import DEFAULT_ROUNDS, Coder, WindowReader
from detector.offline.output_files import Columns, gathered, output_file
from detector.offline.reconstruction_error import ReconstructionError
from detector.rows.series_arrays import SeriesArray
from detector.rows.windows import NewRows


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoding came to.

    windows       windows written
    empty         windows left out because less than half of their cells had a value
    left_over     rows of each series in no window: before long gaps, between strides, at the end
    latent        numbers of a code
    cells         numbers of a window
    fidelity      the decoded codes against the known cells of their windows
    input_bytes   of the files read, and `output_bytes` of the file written; 0 where there are none
    """

    windows: int
    empty: int
    left_over: dict[str, int]
    latent: int
    cells: int
    fidelity: ReconstructionError
    input_bytes: int = 0
    output_bytes: int = 0

    @property
    def ratio(self) -> float:
        """Bytes of a window over bytes of its code, both float32."""
        return self.cells / self.latent

    @property
    def file_ratio(self) -> float | None:
        """Bytes read over bytes written."""
        return self.input_bytes / self.output_bytes if self.output_bytes else None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "windows": self.windows,
            "windows_too_empty": self.empty,
            "rows_left_over": self.left_over,
            "latent": self.latent,
            "cells_a_window": self.cells,
            "compression_ratio": self.ratio,
            "input_bytes": self.input_bytes,
            "output_bytes": self.output_bytes,
            "file_compression_ratio": self.file_ratio,
            "error": self.fidelity.as_json(),
        }


class WindowEncoder:
    """One pass over a source, window by window. `outcome` says at any time what it came to so far."""

    def __init__(self, artifact: Artifact, stride: int | None = None, device: str = "cpu") -> None:
        """`stride` rows from window to window; None: the window, so that every row is in one code.

        Raises DetectorError where the stride is less than 1.
        """
        self._spec = spec = artifact.spec
        self._stride = spec.window if stride is None else stride
        if self._stride < 1:
            raise DetectorError(f"the stride is {stride}; it must be at least 1 row")
        self._coder = Coder.of(artifact, device)
        self._windows = WindowReader(artifact)
        self._left_over = SeriesArray((), np.int64, 0)
        self._names: list[str] = []
        self._num_windows = self._num_empty = self._latent = 0
        self._fidelity = ReconstructionError(spec.channel_names, spec.column("scale"))

    def encode(self, source: Source, tell: Tell = untold) -> Iterator[Columns]:
        """Columns of the codes, a block at a time: `timestamp` int64 nanoseconds (of a window's last row),
        `series`, `z0` and so on float32.

        Blocks follow one another in time; within one, series follow one another. Raises DetectorError at the
        end where there was no window, and what the source raises.
        """
        alignment = Alignment(source, self._spec, tell)
        self._names = alignment.names
        for stretch in alignment.stretches():
            ends, z_NL = self._codes(stretch)
            if len(ends):
                names = np.array(self._names, dtype=object)
                yield {
                    "timestamp": stretch.row[ends] * self._spec.interval_ns,
                    "series": names[stretch.slot[ends]],
                    **{f"z{at}": z_NL[:, at] for at in range(z_NL.shape[1])},
                }
        if self._num_windows == 0:
            raise alignment.no_window()

    def outcome(self) -> Encoded:
        """What was encoded so far."""
        left = self._left_over.data[: len(self._names)].tolist()
        return Encoded(
            windows=self._num_windows,
            empty=self._num_empty,
            left_over={name: rows for name, rows in zip(self._names, left, strict=False) if rows},
            latent=self._latent,
            cells=self._spec.window * len(self._spec.channels),
            fidelity=self._fidelity,
        )

    def _codes(self, stretch: NewRows) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """The rows at which windows end, intp [N], and their codes, float32 [N, L]."""
        window = self._spec.window
        due = (stretch.age >= window) & ((stretch.age - window) % self._stride == 0)
        self._count(stretch, due)
        ends, x_NWC = self._windows.ending(stretch, due)
        self._num_empty += int(due.sum()) - len(ends)
        self._num_windows += len(ends)
        if len(ends) == 0:
            return ends, np.empty((0, 0), np.float32)
        z_NL = self._coder.encode(self._coder.complete(x_NWC, DEFAULT_ROUNDS))
        self._latent = z_NL.shape[1]
        y_NWC = self._coder.decode(z_NL, window)
        actual, approximate = (self._windows.physical(part) for part in (x_NWC, y_NWC))
        num_channels = len(self._spec.channels)
        self._fidelity.add(actual.reshape(-1, num_channels), approximate.reshape(-1, num_channels))
        return ends, z_NL

    def _count(self, stretch: NewRows, due: NDArray[np.bool_]) -> None:
        """Rows less those that their windows cover for the first time."""
        window = self._spec.window
        first_covered = np.where(stretch.age == window, window, min(window, self._stride))
        self._left_over.reserve(int(stretch.slot.max()) + 1)
        np.add.at(self._left_over.data, stretch.slot, 1 - due * first_covered)


def encode_parquet(
    artifact: Artifact, data: Path, out: Path, stride: int | None = None, tell: Tell = untold
) -> Encoded:
    """Encode Parquet into one Parquet file, in bounded memory; `out` appears when it is complete.

    Raises ParquetError or DetectorError that names the file and what is wrong with it.
    """
    encoder = WindowEncoder(artifact, stride)
    dataset = discover(data, artifact.spec.channel_names)
    output_file(out, dataset.files)
    with closing(ParquetSource(dataset)) as source, TableWriter(out) as writer:
        for columns in gathered(encoder.encode(source, tell)):
            writer.write(columns)
    input_bytes = sum(file.stat().st_size for file in dataset.files)
    return replace(encoder.outcome(), input_bytes=input_bytes, output_bytes=out.stat().st_size)
