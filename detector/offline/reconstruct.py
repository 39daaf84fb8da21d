"""Rows of a source to their reconstruction by the model: less noise, short gaps filled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from connectors.records import Source
from detector.artifact.spec import Artifact
from detector.errors import DetectorError
from detector.offline.aligned_rows import Alignment, OnRows, ignore_progress
from detector.offline.autoencoder import DEFAULT_ROUNDS, Coder, WindowReader
from detector.offline.history_files import history_for
from detector.offline.output_files import Columns, write_converted
from detector.offline.reconstruction_error import ReconstructionError
from detector.rows.windows import NewRows
from detector.scoring.outputs.overlap import OutputSpec, OverlapAverager, RowOutput, WindowOutput


@dataclass(frozen=True, slots=True)
class ReconstructOptions:
    """Choose how rows are reconstructed. Raises DetectorError if `rounds` is negative.

    only_gaps  keep every observed value; fill only missing values
    rounds     times that the missing cells of a window are replaced by their reconstruction; 0: one pass
    device     "auto", "cpu" or "cuda"
    """

    only_gaps: bool = False
    rounds: int = DEFAULT_ROUNDS
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise DetectorError(f"rounds is {self.rounds}; it must be at least 0")


@dataclass(frozen=True, slots=True)
class Reconstructed:
    """Hold the figures of a reconstruction.

    rows       rows written, including the rows of short gaps
    windows    windows reconstructed
    filled     cells that were missing and now have a value
    missing    cells that have no value in the output either
    uncovered  rows in no window, because their stretch is too short or every window is too empty
    long_gaps  gaps longer than the artifact's `max_gap`: no row was written for them
    fidelity   the reconstruction compared with the observed cells
    """

    rows: int
    windows: int
    filled: int
    missing: int
    uncovered: int
    long_gaps: int
    fidelity: ReconstructionError

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "rows": self.rows,
            "windows": self.windows,
            "cells_filled": self.filled,
            "cells_missing": self.missing,
            "rows_in_no_window": self.uncovered,
            "gaps_too_long": self.long_gaps,
            "difference": self.fidelity.as_json(),
        }


class Reconstructor:
    """Reconstruct one pass over a source, row by row. `outcome` has the figures so far."""

    def __init__(self, artifact: Artifact, options: ReconstructOptions | None = None) -> None:
        self._spec = spec = artifact.spec
        self._window = spec.window
        self._options = options or ReconstructOptions()
        self._coder = Coder.of(artifact, self._options.device)
        self._windows = WindowReader(artifact)
        self._overlap = OverlapAverager(len(spec.channels), [OutputSpec(len(spec.channels), self._window)])
        self._fidelity = ReconstructionError(spec.channel_names, spec.column("scale"))
        self._num_windows = self._num_rows = 0
        self._filled = self._missing = self._uncovered = self._long_gaps = 0

    def reconstruct(self, source: Source, on_rows: OnRows = ignore_progress) -> Iterator[Columns]:
        """Yield the rows in blocks of columns.

        The columns are `timestamp` (int64 nanoseconds, start of the row), `series`, and the channels
        (float64, in their own units). A row is the mean over all windows that contain it. The rows of one
        series are in the order of time, with rows of other series between them.

        Raises DetectorError at the end if there was no window, and what the source raises.
        """
        alignment = Alignment(source, self._spec, on_rows)
        for stretch in alignment.stretches():
            yield from self._columns(self._covered(stretch, alignment.names), alignment)
            self._long_gaps = alignment.long_gaps
        yield from self._columns(self._overlap.flush(), alignment)
        if self._num_windows == 0:
            raise alignment.no_window()

    def outcome(self) -> Reconstructed:
        """Return the figures so far."""
        return Reconstructed(
            rows=self._num_rows,
            windows=self._num_windows,
            filled=self._filled,
            missing=self._missing,
            uncovered=self._uncovered,
            long_gaps=self._long_gaps,
            fidelity=self._fidelity,
        )

    def _covered(self, stretch: NewRows, names: list[str]) -> RowOutput:
        """Return the rows that no later window contains, with the mean over the windows that contain them."""
        ends, x_NWC = self._windows.ending(stretch, stretch.age >= self._window, names)
        if len(ends):
            x_NWC = self._coder.reconstruct(self._coder.complete(x_NWC, self._options.rounds))
        self._num_windows += len(ends)
        unused = np.zeros(stretch.values.shape, np.uint8)
        return self._overlap.add(stretch, unused, [WindowOutput(ends, x_NWC)])

    def _columns(self, rows: RowOutput, alignment: Alignment) -> Iterator[Columns]:
        if len(rows) == 0:
            return
        expected = self._windows.physical(rows.means[0].astype(np.float32), rows.slot)
        absent = np.isnan(rows.actual)
        values = np.where(absent, expected, rows.actual) if self._options.only_gaps else expected
        self._fidelity.add(rows.actual, expected)
        self._num_rows += len(rows)
        self._filled += int(np.count_nonzero(absent & ~np.isnan(values)))
        self._missing += int(np.count_nonzero(np.isnan(values)))
        self._uncovered += int(np.count_nonzero(np.isnan(expected).all(axis=1)))
        yield {
            "timestamp": alignment.starts(rows.slot, rows.row),
            "series": np.array(alignment.names, dtype=object)[rows.slot],
            **{name: values[:, at] for at, name in enumerate(self._spec.channel_names)},
        }


def reconstruct_parquet(
    artifact: Artifact,
    data: Path,
    out: Path,
    options: ReconstructOptions | None = None,
    on_rows: OnRows = ignore_progress,
) -> Reconstructed:
    """Reconstruct Parquet into one Parquet file, in bounded memory; `out` appears when it is complete.

    Args:
        artifact: the model.
        data: a Parquet file or directory.
        out: the file to write, with the columns of `Reconstructor.reconstruct`.
        options: how to reconstruct; None: the defaults.
        on_rows: called with the number of readings of each batch.

    Raises:
        ParquetError, DetectorError: the message names the file and what is wrong with it.
    """
    reconstructor = Reconstructor(artifact, options)
    dataset = history_for(artifact.spec, data)
    write_converted(dataset, out, lambda source: reconstructor.reconstruct(source, on_rows))
    return reconstructor.outcome()
