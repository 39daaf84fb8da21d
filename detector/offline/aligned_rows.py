"""The readings of a source as stretches of its series' grids, of a bounded size.

What the engine does with rows before it judges them, for whoever does something else with them: the same
grid, the same filling of short gaps, the same restart after long ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from connectors.records import Source
from detector.artifact.spec import Spec
from detector.errors import DetectorError
from detector.rows.grid import Grid, Rows
from detector.rows.series_arrays import SeriesIndex, starts_of
from detector.rows.windows import GapFiller, NewRows

Tell = Callable[[int], None]
_BLOCK_CELLS = 1 << 21  # of the windows of a stretch; 8 MiB as float32


def untold(rows: int) -> None:
    """Nobody watches how far the work is."""


class Alignment:
    """One pass over a source. Not thread-safe.

    rows          rows of the grid so far, those of short gaps included
    long_gaps     gaps longer than `max_gap` so far: their rows do not exist, and windows start anew
    """

    def __init__(self, source: Source, spec: Spec, tell: Tell = untold) -> None:
        self._source = source
        self._spec = spec
        self._tell = tell
        self._slots = SeriesIndex()
        self._grid = Grid(len(spec.channels), spec.interval_ns, 0)
        self._lines = GapFiller(spec.max_gap)
        self._num_restarts = 0
        self.rows = 0

    @property
    def names(self) -> list[str]:
        """The series by slot."""
        return self._slots.names

    @property
    def long_gaps(self) -> int:
        return self._num_restarts - len(self._slots)

    def stretches(self) -> Iterator[NewRows]:
        """All rows, each once, as their rows close; a window at every row of a stretch stays within a bound.

        `tell` is called with the number of readings after each batch. Raises what the source raises.
        """
        while (batch := self._source.poll(0.0)) is not None:
            readings = batch.readings
            slot = self._slots.of(readings.names)[readings.series]
            yield from self._extended(self._grid.add(slot, readings.timestamp_ns, readings.values))
            self._tell(len(readings))
        yield from self._extended(self._grid.flush())

    def no_window(self) -> DetectorError:
        """The error of a source without a single window, with what is probably wrong."""
        spec = self._spec
        return DetectorError(
            f"none of the {len(self._slots)} series has {spec.window} rows (the model's window), half of"
            f" their values known, without a gap of more than {spec.max_gap} rows: give more data,"
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
