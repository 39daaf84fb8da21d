"""Closed rows to what the members say of them: the hot path of the engine.

rows -> stretch (gaps filled with NaN) -> windows of every member -> reconstruction and distances -> rows,
each with the mean of what its windows say. Calibration drives this same object, without what follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Artifact, Member
from detector.rows.grid import Rows
from detector.rows.sensor_checks import Flatline, out_of_range
from detector.rows.series_arrays import SeriesArray
from detector.rows.windows import MIN_KNOWN_SHARE, GapFiller, NewRows, WindowBuffer
from detector.scoring.inference import Scorer, Threads
from detector.scoring.overlap import OutputSpec, OverlapAverager, RowOutput, WindowOutput
from detector.scoring.preprocessing import scale_rows

STUCK, OUT_OF_RANGE = np.uint8(1), np.uint8(2)
"""Bits of a cell's flag: the channel is stuck, the value is impossible."""


@dataclass(slots=True)
class WindowCounters:
    """Totals since the start; `windows` are those of all members."""

    rows: int = 0
    gap_rows: int = 0
    windows: int = 0
    cells: int = 0
    nan_cells: int = 0


@dataclass(frozen=True, slots=True)
class RowOutputs:
    """What is said of rows; `means` of both: the expected values, each member's statistics, and each
    member's blame of each channel.

    settled  rows of which no more will be said
    fresh    the new rows, by the windows that end at them; None where nothing waits
    """

    settled: RowOutput
    fresh: RowOutput | None


class WindowScorer:
    """Of any number of series. Deterministic, whatever the cut of the rows. Not thread-safe."""

    def __init__(self, artifact: Artifact, device: str, num_threads: int = 1) -> None:
        spec = artifact.spec
        self._spec = spec
        num_channels = len(spec.channels)
        self._center, self._scale = spec.column("center"), spec.column("scale")
        self._valid_min, self._valid_max = spec.column("valid_min"), spec.column("valid_max")
        self._lines = GapFiller(spec.max_gap)
        self._tails = WindowBuffer(spec.window - 1, num_channels)
        self._flatline = Flatline(spec.column("flatline_rows"))
        threads = Threads(num_threads)
        self._scorers = [
            Scorer.on(artifact.module[at], spec.batch_size, device, threads)
            for at in range(len(spec.members))
        ]
        self._spans = [_span(spec.scoring.delay, spec.stride, member) for member in spec.members]
        self._overlap = OverlapAverager(num_channels, self._kinds(self._spans))
        self._has_delay = spec.scoring.delay > 0
        self.counters = WindowCounters()

    def add(self, rows: Rows) -> RowOutputs:
        """The next closed rows of some series."""
        stretch = self._lines.extend(rows)
        flags = self._flags(stretch)
        said = self._said(stretch)
        self._count(stretch, len(rows))
        settled = self._overlap.judge(stretch, flags, said)
        return RowOutputs(settled, self._fresh(stretch, flags, said) if self._has_delay else None)

    def flush(self) -> RowOutput:
        """Every waiting row, as it stands: the input has ended."""
        return self._overlap.flush()

    def use_ranges(self, valid_min: NDArray[np.float64], valid_max: NDArray[np.float64]) -> None:
        """Other ranges of the possible from the next row on, float64 [C], NaN: no bound."""
        self._valid_min, self._valid_max = valid_min, valid_max

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for part in (self._lines, self._tails, self._flatline, self._overlap):
            part.drop(slots)

    def ages(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Rows since the window of each of these series was empty, int64 [n]."""
        return self._lines.ages(slots)

    def arrays(self) -> list[SeriesArray]:
        """What is remembered of a series."""
        parts = (self._lines, self._tails, self._flatline, self._overlap)
        return [array for part in parts for array in part.arrays()]

    def rescale(
        self, slots: NDArray[np.int32], center: NDArray[np.float64], scale: NDArray[np.float64]
    ) -> None:
        """What is kept of these series is in units of another center and scale, float64 [C]: make it ours."""
        if not (np.array_equal(center, self._center) and np.array_equal(scale, self._scale)):
            self._tails.rescale(slots, (scale / self._scale), (center - self._center) / self._scale)

    def discard_outputs(self, slots: NDArray[np.int32]) -> None:
        """What was said of the waiting rows of these series another model has said: forget it. Each of them
        has a window to come, or it would not wait."""
        self._overlap.discard_outputs(slots)

    def _kinds(self, spans: list[int]) -> list[OutputSpec]:
        num_channels = len(self._spec.channels)
        statistics = [OutputSpec(self._spec.num_statistics, span) for span in spans]
        return [
            OutputSpec(num_channels, spans[0]),
            *statistics,
            *(OutputSpec(num_channels, span) for span in spans),
        ]

    def _said(self, stretch: NewRows) -> list[WindowOutput]:
        """What every member's windows say, in the order of `_kinds`."""
        scaled = scale_rows(stretch.values, self._center, self._scale)
        flat, at = self._tails.flatten(stretch, scaled)
        expected: list[WindowOutput] = []
        statistics, blame = [], []
        for member, scorer, span in zip(self._spec.members, self._scorers, self._spans, strict=True):
            ends = self._due(stretch, flat, at, member.window)
            assessed = scorer.assess(flat, at[ends], member.window, span if not expected else 0)
            expected = expected or [WindowOutput(ends, assessed.expected)]
            statistics.append(WindowOutput(ends, assessed.statistics[:, None]))
            blame.append(WindowOutput(ends, assessed.blame[:, None]))
            self.counters.windows += len(ends)
        return [*expected, *statistics, *blame]

    def _due(
        self, stretch: NewRows, flat: NDArray[np.float32], at: NDArray[np.intp], window: int
    ) -> NDArray[np.intp]:
        """The new rows at which a window ends that can be judged."""
        due = (stretch.age >= window) & ((stretch.row + 1) % self._spec.stride == 0)
        ends = np.flatnonzero(due)
        return ends[_enough_values(flat, at[ends], window)]

    def _fresh(self, stretch: NewRows, flags: NDArray[np.uint8], said: list[WindowOutput]) -> RowOutput:
        """The new rows as they look now."""
        fresh = OverlapAverager(len(self._center), self._kinds([1] * len(self._spans)))
        return fresh.judge(stretch, flags, said)

    def _flags(self, stretch: NewRows) -> NDArray[np.uint8]:
        stuck = self._flatline.stuck(stretch)
        impossible = out_of_range(stretch.values, self._valid_min, self._valid_max)
        flags: NDArray[np.uint8] = stuck * STUCK | impossible * OUT_OF_RANGE
        return flags

    def _count(self, stretch: NewRows, num_rows: int) -> None:
        self.counters.rows += num_rows
        self.counters.gap_rows += len(stretch) - num_rows
        self.counters.cells += stretch.values.size
        self.counters.nan_cells += int(np.count_nonzero(np.isnan(stretch.values)))


def _span(delay: int, stride: int, member: Member) -> int:
    """Rows that a window of `member` speaks of: those it contains that may wait for it."""
    return min(max(delay, stride - 1) + 1, member.window)


def _enough_values(flat: NDArray[np.float32], ends: NDArray[np.intp], window: int) -> NDArray[np.bool_]:
    """Which windows of `flat` hold values in enough of their cells to be judged, bool [N]."""
    if not np.isnan(flat.sum(dtype=np.float64)):  # one cheap pass where nothing is missing
        return np.ones(len(ends), np.bool_)
    valid = np.cumsum((~np.isnan(flat)).sum(axis=1))
    inside = valid[ends] - np.where(ends >= window, valid[ends - window], 0)
    enough: NDArray[np.bool_] = inside >= MIN_KNOWN_SHARE * window * flat.shape[1]
    return enough
