"""Closed rows through every member of the ensemble: the hot path of the engine.

    1. fill    put NaN rows into gaps
    2. check   flag stuck and missing channels; impossible values and those not judged are holes in windows
    3. infer   reconstruct the windows of every member, compute their distances
    4. average give each row the mean over the windows that contain it

The calibration drives this same object, without the stages after it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Artifact, Member, Spec
from detector.rows.grid import Rows
from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of
from detector.rows.windows import MIN_KNOWN_SHARE, GapFiller, NewRows, WindowBuffer
from detector.scoring.cell_flags import DEPARTS, HOLE, CellFlags, FlaggedRows
from detector.scoring.inference import Scorer, Threads
from detector.scoring.lasting.clean_past import CleanPast, Departures
from detector.scoring.outputs.due_windows import MemberScorer, Placed, outputs_of
from detector.scoring.outputs.held import HeldOutput
from detector.scoring.outputs.overlap import OutputSpec, OverlapAverager, RowOutput, WindowOutput
from detector.scoring.series_scales import SeriesScales

_Keeper = SeriesScales | GapFiller | WindowBuffer | CellFlags | OverlapAverager | CleanPast | HeldOutput


@dataclass(slots=True)
class WindowCounters:
    """Totals since the start.

    windows            those of all members
    common_scale_rows  rows that have only the common scales, although other series have their own
    """

    rows: int = 0
    gap_rows: int = 0
    windows: int = 0
    cells: int = 0
    nan_cells: int = 0
    common_scale_rows: int = 0


class CountsOfSeries:
    """Keeps `WindowCounters` by series, so that rows can be taken back together with the state."""

    def __init__(self) -> None:
        self.array = SeriesArray((len(fields(WindowCounters)),), np.int64, 0)

    def count(self, rows: Rows, new_rows: NewRows, scales: SeriesScales) -> None:
        """Count closed rows, and what the rows of their gaps add."""
        present, lengths = new_rows.present, new_rows.lengths
        self.array.reserve(int(present.max(initial=-1)) + 1)
        num = lengths_of(starts_of(rows.slot), len(rows))
        counted = self.array.data
        counted[present, _ROWS] += num
        counted[present, _GAP_ROWS] += lengths - num
        counted[present, _CELLS] += lengths * new_rows.values.shape[1]
        unknown = np.isnan(new_rows.values)
        if unknown.any():
            counted[present, _NAN_CELLS] += np.add.reduceat(unknown.sum(axis=1), new_rows.starts)
        if scales.has_own:
            counted[present, _COMMON_SCALE_ROWS] += lengths * scales.are_common(present)

    def count_windows(self, slot: NDArray[np.int32]) -> None:
        """Count windows of one member, by the series of each, int32 [N]; sorted."""
        starts = starts_of(slot)
        self.array.reserve(int(slot.max(initial=-1)) + 1)
        self.array.data[slot[starts], _WINDOWS] += lengths_of(starts, len(slot))

    def take(self) -> WindowCounters:
        """Return the totals since the last call, and count from zero again."""
        totals = WindowCounters(*self.array.data.sum(axis=0).tolist())
        self.array.data[:] = 0
        return totals


_ROWS, _GAP_ROWS, _WINDOWS, _CELLS, _NAN_CELLS, _COMMON_SCALE_ROWS = range(len(fields(WindowCounters)))


@dataclass(frozen=True, slots=True)
class RowOutputs:
    """The outputs of the ensemble for rows.

    The `means` of both fields are the expected values, each member's statistics, and each member's blame of
    each channel.

    final        rows that no later window covers
    provisional  the new rows, by the windows that end at them; None if no row waits for later windows
    """

    final: RowOutput
    provisional: RowOutput | None


class WindowScorer:
    """Computes the outputs of the ensemble for the rows of any number of series. Not thread-safe.

    Promise: the outputs of a row do not depend on how the rows are cut into calls.

    Args:
        artifact: the trained model.
        device: "cpu", "cuda" or "auto".
        num_threads: batches of windows scored at once.
    """

    def __init__(self, artifact: Artifact, device: str, num_threads: int = 1) -> None:
        spec = artifact.spec
        self._spec = spec
        num_channels = len(spec.channels)
        self.scales = SeriesScales(spec)
        self._gap_filler = GapFiller(spec.max_gap)
        self._window_buffer = WindowBuffer(spec.window - 1, num_channels)
        self.cells = CellFlags(spec, self.scales.learnt.stuck_limits)
        threads = Threads(num_threads)
        self._spans = [_span(spec.scoring.delay, spec.stride, member) for member in spec.members]
        self._held = [_held(spec, member) for member in spec.members]
        self._scorers = [
            MemberScorer(
                *(member, Scorer.on(artifact.module[at], spec.batch_size, device, threads)),
                *(self._spans[at], self._held[at]),
            )
            for at, member in enumerate(spec.members)
        ]
        self._overlap = OverlapAverager(num_channels, self._output_specs(self._spans), self.cells.num_context)
        self._has_delay = spec.scoring.delay > 0
        self._clean_past: CleanPast | None = None
        self.counts = CountsOfSeries()

    def clean_by(self, spread: NDArray[np.float64], departures: Departures) -> CleanPast | None:
        """Make it possible to clean the past of series; None where rows wait for later windows."""
        if max(self._spans) == 1 and self._spec.window > 1:
            self._clean_past = CleanPast(spread, departures, self._spec.window - 1)
        return self._clean_past

    def add(self, rows: Rows) -> RowOutputs:
        """Take the next closed rows of some series; return the rows that became final, and the new ones."""
        new_rows = self._gap_filler.extend(rows)  # 1. fill
        flagged = self.cells.flag(new_rows)  # 2. check
        outputs = self._infer(new_rows, flagged.cells)  # 3. infer
        self.counts.count(rows, new_rows, self.scales)
        final = self._overlap.add(new_rows, flagged.cells, outputs, flagged.context)  # 4. average
        return RowOutputs(final, self._provisional(new_rows, flagged, outputs) if self._has_delay else None)

    def flush(self, slots: NDArray[np.int32] | None = None) -> RowOutput:
        """Return every waiting row, or those of some series, with the outputs so far; forget these rows."""
        return self._overlap.flush(slots)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for part in self._keepers():
            part.drop(slots)

    def ages(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the number of rows since the window of each series was empty, int64 [n]."""
        return self._gap_filler.ages(slots)

    def newest(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the number of the last row of each series, int64 [n]; far below 0 where there is none."""
        return self._gap_filler.newest(slots)

    @property
    def past(self) -> SeriesArray:
        """The last rows of each series, in the units of the model, float32 [slots, window - 1, C]."""
        return self._window_buffer.rows

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that the parts keep, in the order of the snapshot's cells."""
        return [array for part in self._keepers() for array in part.arrays()]

    def _keepers(self) -> tuple[_Keeper, ...]:
        """Return the parts that keep something of every series, in the order of the snapshot's cells."""
        clean = () if self._clean_past is None else (self._clean_past,)
        held = [one for one in self._held if one is not None]
        return self.scales, self._gap_filler, self._window_buffer, self.cells, self._overlap, *clean, *held

    def rescale(
        self, slots: NDArray[np.int32], center: NDArray[np.float64], scale: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Convert the kept rows of these series from the units of another model to those of this one.

        Args:
            slots: the series, int32 [n].
            center: the centre of each channel in each series by the other model, float64 [n, C].
            scale: its scale of each channel in each series, float64 [n, C].

        Returns:
            What values in the other units were multiplied by, and what was added then, float64 [n, C] each.
        """
        new_center, new_scale = self.scales.trained_at(slots)
        if self._clean_past is not None:
            self._clean_past.drop(slots)
        differ = ((center != new_center) | (scale != new_scale)).any(axis=1)
        shift = np.where(differ[:, None], self.scales.shifts(slots), 0.0)
        factor, offset = scale / new_scale, (center + shift - new_center) / new_scale
        if differ.any():
            self._window_buffer.rescale(slots[differ], factor[differ], offset[differ])
            self.scales.move(slots[differ], -shift[differ])
            self._read_anew(slots[differ])
        return factor, offset

    def accept(self, slot: int, by: NDArray[np.float64], start_row: int) -> None:
        """Move the level of each channel of a series, and convert the kept rows from `start_row` on.

        The rows before it stay as they are: what was normal by the old level is normal by the new one.

        Args:
            slot: the series; no row of it may be waiting.
            by: how far each level moves, float64 [C], in the units of the channels.
            start_row: the first row of the accepted stretch.
        """
        slots = np.array([slot], np.int32)
        _, scale = self.scales.trained_at(slots)
        newest = int(self._gap_filler.newest(slots)[0])
        if self._clean_past is not None and self._clean_past.are_active(slots)[0]:
            self._window_buffer.rows.data[slot] = self._clean_past.raw(slot)
            self._clean_past.drop(slots)
        seen = np.where(self.scales.still, 0.0, by)  # windows see the others at rest, before and after
        self._window_buffer.move_newest(slot, newest - start_row + 1, seen / scale[0])
        self._read_anew(slots)
        self.scales.move(slots, by[None])

    def discard_outputs(self, slots: NDArray[np.int32]) -> None:
        """Discard partial window outputs of rows that are still waiting; they came from the previous model.

        Every waiting row will still be covered by at least one later window.
        """
        self._overlap.discard_outputs(slots)
        self._read_anew(slots)

    def _read_anew(self, slots: NDArray[np.int32]) -> None:
        """Let every member read the next window of these series: the rows in it have changed."""
        for held in self._held:
            if held is not None:
                held.drop(slots)

    def _output_specs(self, spans: list[int]) -> list[OutputSpec]:
        """Return width and span of every output: expected values, statistics, blame."""
        num_channels = len(self._spec.channels)
        statistics = [OutputSpec(self._spec.num_statistics, span) for span in spans]
        return [
            OutputSpec(num_channels, spans[0]),
            *statistics,
            *(OutputSpec(num_channels, span) for span in spans),
        ]

    def _infer(self, new_rows: NewRows, flags: NDArray[np.uint8]) -> list[WindowOutput]:
        """Return the outputs of every member's windows, in the order of `_output_specs`.

        A cell that is impossible or not judged is a hole in every window that contains it. Cells that are
        cleaned are flagged.
        """
        scaled = self.scales.to_model(new_rows.values, new_rows.slot)
        scaled[(flags & HOLE) > 0] = np.nan
        entering = None if self._clean_past is None else self._clean_past.entering(new_rows, scaled)
        flat, at = self._window_buffer.flatten(new_rows, scaled if entering is None else entering.clean)
        raw = flat
        if self._clean_past is not None and entering is not None:
            raw = self._clean_past.as_they_came(new_rows, flat, at, scaled)
            flags |= entering.changed * DEPARTS
        placed = Placed(new_rows, flat, raw, at, np.any((flags & DEPARTS) > 0, axis=1))
        return outputs_of(self._spec, self._scorers, placed, self.counts.count_windows)

    def _provisional(self, new_rows: NewRows, flagged: FlaggedRows, outputs: list[WindowOutput]) -> RowOutput:
        """Return the new rows with the outputs of the windows that end at them."""
        specs = self._output_specs([1] * len(self._spans))
        no_delay = OverlapAverager(len(self._spec.channels), specs, self.cells.num_context)
        return no_delay.add(new_rows, flagged.cells, outputs, flagged.context)


def slow_rows_of(max_gap: int) -> int:
    """Return the longest usual step of a series, in rows, with which its windows can still be judged.

    A longer step is a long gap, or leaves too few known cells in a window (`MIN_KNOWN_SHARE`).
    """
    return min(max_gap + 1, int(1 / MIN_KNOWN_SHARE))


def _span(delay: int, stride: int, member: Member) -> int:
    """Return for how many of its last rows a window of `member` gives outputs: those that may wait for it."""
    return min(max(delay, stride - 1) + 1, member.window)


def _held(spec: Spec, member: Member) -> HeldOutput | None:
    return HeldOutput(member.stride, spec.num_statistics, len(spec.channels)) if member.stride > 1 else None
