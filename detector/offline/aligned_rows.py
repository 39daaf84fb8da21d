"""Readings of a source, aligned to the grids of their series, in stretches of bounded size.

The engine aligns rows in the same way before it scores them. Short gaps are filled, and windows restart after
long gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from connectors.records import Source
from detector.artifact.spec import Spec
from detector.errors import DetectorError
from detector.offline.autoencoder import ENOUGH_KNOWN
from detector.rows.grid import Grid, Rows
from detector.rows.series_arrays import SeriesIndex, starts_of
from detector.rows.windows import GapFiller, NewRows

OnRows = Callable[[int], None]
"""Called with the number of rows finished since the last call."""

_NO_OTHER_RATE = 1 << 62  # here a series keeps the interval that training found: codes of two rates mix badly
_BLOCK_CELLS = 1 << 21  # cells in the windows of a stretch: 8 MiB as float32


def ignore_progress(rows: int) -> None:
    """Do nothing with the progress."""


class Alignment:
    """Align one pass over a source. Not thread-safe.

    rows          rows of the grid so far, including the rows of short gaps
    long_gaps     gaps longer than `max_gap` so far: they have no rows, and windows restart after them
    """

    def __init__(self, source: Source, spec: Spec, on_rows: OnRows = ignore_progress) -> None:
        """Read `source` on the grid of `spec`; call `on_rows` with the number of readings of each batch."""
        self._source = source
        self._spec = spec
        self._on_rows = on_rows
        self._slots = SeriesIndex()
        self._grid = Grid(len(spec.channels), spec.interval_ns, 0, _NO_OTHER_RATE, spec.hold_ns)
        self._lines = GapFiller(spec.max_gap)
        self._num_restarts = 0
        self.rows = 0

    @property
    def names(self) -> list[str]:
        """Return the name of each series, by slot."""
        return self._slots.names

    @property
    def long_gaps(self) -> int:
        """Return the number of gaps longer than `max_gap` so far."""
        return self._num_restarts - len(self._slots)

    def starts(self, slot: NDArray[np.int32], row: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the start of rows, by slot and number, int64 [n], in nanoseconds."""
        starts: NDArray[np.int64] = row * self._grid.intervals.data[slot]
        return starts

    def stretches(self) -> Iterator[NewRows]:
        """Yield all rows, each once, when they are closed.

        A stretch is so short that one window at each of its rows fits in memory. Raises the source's errors.
        """
        while (batch := self._source.poll(0.0)) is not None:
            readings = batch.readings
            slots = self._slots.of(readings.names)
            new = self._grid.newest(slots) < 0
            own = np.array([self._spec.interval_of(name) for name in readings.names], np.int64)
            self._grid.know(slots[new], own[new])
            slot = slots[readings.series]
            for turned, rows in self._grid.rounds(slot, readings.timestamp_ns, readings.values):
                self._lines.drop(np.array(sorted(turned), np.int32))
                yield from self._extended(rows)
            self._on_rows(len(readings))
        yield from self._extended(self._grid.flush())

    def no_window(self) -> DetectorError:
        """Return the error for a source without any window; it names the probable reasons."""
        spec = self._spec
        return DetectorError(
            f"none of the {len(self._slots)} series has {spec.window} rows (the model's window) with"
            f" {ENOUGH_KNOWN}, without a gap of more than {spec.max_gap} rows: give more data,"
            f" sampled every {spec.interval_ns / 1e9:g} s as the model's was"
        )

    def _extended(self, rows: Rows) -> Iterator[NewRows]:
        if len(rows) == 0:
            return
        stretch = self._lines.extend(rows)
        self.rows += len(stretch)
        self._num_restarts += int(stretch.restart.sum())
        step = max(1, _BLOCK_CELLS // (self._spec.window * len(self._spec.channels)))
        for at in range(0, len(stretch), step):
            part = slice(at, at + step)
            slot = stretch.slot[part]
            yield NewRows(
                slot,
                stretch.row[part],
                stretch.values[part],
                stretch.age[part],
                stretch.restart[part],
                starts_of(slot),
            )
