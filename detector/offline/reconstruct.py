"""`streamgauge reconstruct`: rows as the model sees them, noise left out and short gaps filled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
from detector.rows.windows import NewRows
from detector.scoring.overlap import OutputSpec, OverlapAverager, RowOutput, WindowOutput


@dataclass(frozen=True, slots=True)
class ReconstructOptions:
    """How rows are reconstructed.

    only_gaps  keep every value that was observed; fill only what is missing
    rounds     times that a window's missing cells are replaced by their reconstruction; 0: one pass
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
    """What a reconstruction came to.

    rows       rows written, those of short gaps included
    windows    windows reconstructed
    filled     cells that were missing and now have a value; `missing` ones have none in what was written
    uncovered  rows in no window: their stretch is too short, or every window too empty
    long_gaps  gaps longer than the artifact's `max_gap`: no row was written for them
    fidelity   the reconstruction against the cells that were observed
    """

    rows: int
    windows: int
    filled: int
    missing: int
    uncovered: int
    long_gaps: int
    fidelity: ReconstructionError

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
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
    """One pass over a source, row by row. `outcome` says at any time what it came to so far."""

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

    def repair(self, source: Source, tell: Tell = untold) -> Iterator[Columns]:
        """Columns of the rows, a block at a time: `timestamp` int64 nanoseconds (the row's start), `series`,
        the channels float64 in their own units.

        A row is the mean over all windows that hold it. Blocks are not sorted: a series' rows are in the
        order of time, other series' rows lie between them. Raises DetectorError at the end where there was
        no window, and what the source raises.
        """
        alignment = Alignment(source, self._spec, tell)
        for stretch in alignment.stretches():
            yield from self._columns(self._judged(stretch), alignment.names)
            self._long_gaps = alignment.long_gaps
        yield from self._columns(self._overlap.flush(), alignment.names)
        if self._num_windows == 0:
            raise alignment.no_window()

    def outcome(self) -> Reconstructed:
        """What was reconstructed so far."""
        return Reconstructed(
            rows=self._num_rows,
            windows=self._num_windows,
            filled=self._filled,
            missing=self._missing,
            uncovered=self._uncovered,
            long_gaps=self._long_gaps,
            fidelity=self._fidelity,
        )

    def _judged(self, stretch: NewRows) -> RowOutput:
        """Rows that no further window will hold, with the mean over those that did."""
        ends, x_NWC = self._windows.ending(stretch, stretch.age >= self._window)
        if len(ends):
            x_NWC = self._coder.reconstruct(self._coder.complete(x_NWC, self._options.rounds))
        self._num_windows += len(ends)
        unused = np.zeros(stretch.values.shape, np.uint8)
        return self._overlap.add(stretch, unused, [WindowOutput(ends, x_NWC)])

    def _columns(self, judged: RowOutput, names: list[str]) -> Iterator[Columns]:
        if len(judged) == 0:
            return
        expected = self._windows.physical(judged.means[0].astype(np.float32))
        absent = np.isnan(judged.actual)
        values = np.where(absent, expected, judged.actual) if self._options.only_gaps else expected
        self._fidelity.add(judged.actual, expected)
        self._num_rows += len(judged)
        self._filled += int(np.count_nonzero(absent & ~np.isnan(values)))
        self._missing += int(np.count_nonzero(np.isnan(values)))
        self._uncovered += int(np.count_nonzero(np.isnan(expected).all(axis=1)))
        yield {
            "timestamp": judged.row * self._spec.interval_ns,
            "series": np.array(names, dtype=object)[judged.slot],
            **{name: values[:, at] for at, name in enumerate(self._spec.channel_names)},
        }


def reconstruct_parquet(
    artifact: Artifact, data: Path, out: Path, options: ReconstructOptions | None = None, tell: Tell = untold
) -> Reconstructed:
    """Reconstruct Parquet into one Parquet file, in bounded memory; `out` appears when it is complete.

    Raises ParquetError or DetectorError that names the file and what is wrong with it.
    """
    repairer = Reconstructor(artifact, options)
    dataset = discover(data, artifact.spec.channel_names)
    output_file(out, dataset.files)
    with closing(ParquetSource(dataset)) as source, TableWriter(out) as writer:
        for columns in gathered(repairer.repair(source, tell)):
            writer.write(columns)
    return repairer.outcome()
