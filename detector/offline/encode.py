"""Windows of a source to the codes of the model, with a measure of what the codes lose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectors.records import Source
from detector.artifact.spec import Artifact
from detector.errors import DetectorError
from detector.offline.aligned_rows import Alignment, OnRows, ignore_progress
from detector.offline.autoencoder import DEFAULT_ROUNDS, Coder, WindowReader
from detector.offline.history_files import history_for
from detector.offline.output_files import Columns, write_converted
from detector.offline.reconstruction_error import ReconstructionError
from detector.rows.series_arrays import SeriesArray
from detector.rows.windows import NewRows


@dataclass(frozen=True, slots=True)
class Encoded:
    """Hold the figures of an encoding.

    windows       windows written
    empty         windows left out because they had too few known cells (`autoencoder.TOO_EMPTY`)
    left_over     rows of each series in no window: before long gaps, between strides, at the end
    latent        numbers in a code
    cells         numbers in a window
    fidelity      the decoded codes compared with the known cells of their windows
    input_bytes   size of the files read; 0 without files
    output_bytes  size of the file written; 0 without a file
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
        """Return the bytes of a window divided by the bytes of its code, both float32."""
        return self.cells / self.latent

    @property
    def file_ratio(self) -> float | None:
        """Return the bytes read divided by the bytes written, or None if no file was written."""
        return self.input_bytes / self.output_bytes if self.output_bytes else None

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
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
    """Encode one pass over a source, window by window. `outcome` has the figures so far."""

    def __init__(self, artifact: Artifact, stride: int | None = None, device: str = "cpu") -> None:
        """Encode a window every `stride` rows; None: every `window` rows, so that each row is in one code.

        Raises DetectorError if the stride is less than 1.
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

    def encode(self, source: Source, on_rows: OnRows = ignore_progress) -> Iterator[Columns]:
        """Yield the codes in blocks of columns.

        The columns are `timestamp` (int64 nanoseconds, start of a window's last row), `series`, and `z0`,
        `z1` and so on (float32). Blocks follow one another in time; in a block, series follow one another.

        Raises DetectorError at the end if there was no window, and what the source raises.
        """
        alignment = Alignment(source, self._spec, on_rows)
        self._names = alignment.names
        for stretch in alignment.stretches():
            ends, z_NL = self._codes(stretch)
            if len(ends):
                names = np.array(self._names, dtype=object)
                yield {
                    "timestamp": alignment.starts(stretch.slot[ends], stretch.row[ends]),
                    "series": names[stretch.slot[ends]],
                    **{f"z{at}": z_NL[:, at] for at in range(z_NL.shape[1])},
                }
        if self._num_windows == 0:
            raise alignment.no_window()

    def outcome(self) -> Encoded:
        """Return the figures so far."""
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
        """Return the rows at which windows end, intp [N], and the windows' codes, float32 [N, L]."""
        window = self._spec.window
        due = (stretch.age >= window) & ((stretch.age - window) % self._stride == 0)
        self._count(stretch, due)
        ends, x_NWC = self._windows.ending(stretch, due, self._names)
        self._num_empty += int(due.sum()) - len(ends)
        self._num_windows += len(ends)
        if len(ends) == 0:
            return ends, np.empty((0, 0), np.float32)
        z_NL = self._coder.encode(self._coder.complete(x_NWC, DEFAULT_ROUNDS))
        self._latent = z_NL.shape[1]
        y_NWC = self._coder.decode(z_NL, window)
        slots = np.repeat(stretch.slot[ends], window)
        rows = (part.reshape(len(slots), -1) for part in (x_NWC, y_NWC))
        self._fidelity.add(*(self._windows.physical(part, slots) for part in rows))
        return ends, z_NL

    def _count(self, stretch: NewRows, due: NDArray[np.bool_]) -> None:
        """Count the rows of each series, less the rows that a window covers for the first time."""
        window = self._spec.window
        first_covered = np.where(stretch.age == window, window, min(window, self._stride))
        self._left_over.reserve(int(stretch.slot.max()) + 1)
        np.add.at(self._left_over.data, stretch.slot, 1 - due * first_covered)


def encode_parquet(
    artifact: Artifact, data: Path, out: Path, stride: int | None = None, on_rows: OnRows = ignore_progress
) -> Encoded:
    """Encode Parquet into one Parquet file, in bounded memory; `out` appears when it is complete.

    Args:
        artifact: the model.
        data: a Parquet file or directory.
        out: the file to write, with the columns of `WindowEncoder.encode`.
        stride: rows from one window to the next; None: one window.
        on_rows: called with the number of readings of each batch.

    Raises:
        ParquetError, DetectorError: the message names the file and what is wrong with it.
    """
    encoder = WindowEncoder(artifact, stride)
    dataset = history_for(artifact.spec, data)
    write_converted(dataset, out, lambda source: encoder.encode(source, on_rows))
    input_bytes = sum(file.stat().st_size for file in dataset.files)
    return replace(encoder.outcome(), input_bytes=input_bytes, output_bytes=out.stat().st_size)
