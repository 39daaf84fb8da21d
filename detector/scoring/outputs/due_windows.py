"""Which windows end at new rows, and what every member of the ensemble gives for them.

Letters: n rows, C channels, N windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Member, Spec
from detector.rows.windows import MIN_KNOWN_SHARE, NewRows
from detector.scoring.inference import Scorer, WindowStatistics, scored_by_both
from detector.scoring.missing_levels import without_missing
from detector.scoring.outputs.held import HeldOutput
from detector.scoring.outputs.overlap import WindowOutput

_LEAST_SHARE_OF_PRESENT = 0.5


@dataclass(frozen=True, slots=True)
class Placed:
    """New rows in their places between the rows before them.

    flat, raw  float32 [rows, C], cleaned, and as they came; the same object where nothing was cleaned
    at         intp [n], the place of each new row
    departs    bool [n], a cell of the row was cleaned
    """

    new_rows: NewRows
    flat: NDArray[np.float32]
    raw: NDArray[np.float32]
    at: NDArray[np.intp]
    departs: NDArray[np.bool_]

    def due(self, window: int, stride: int) -> NDArray[np.intp]:
        """Return the new rows at which a window ends that can be scored, intp [N]."""
        due = (self.new_rows.age >= window) & ((self.new_rows.row + 1) % stride == 0)
        ends = np.flatnonzero(due)
        return ends[_enough_values(self.flat, self.at[ends], window)]


@dataclass(frozen=True, slots=True)
class MemberScorer:
    """Runs one member of the ensemble on the windows that are due.

    span  for how many of its last rows a window gives outputs
    held  what holds between the windows that are read; None: every window is
    """

    member: Member
    scorer: Scorer
    span: int
    held: HeldOutput | None


def outputs_of(
    spec: Spec,
    scorers: Sequence[MemberScorer],
    placed: Placed,
    count: Callable[[NDArray[np.int32]], None],
) -> list[WindowOutput]:
    """Return expected values, statistics and blame of the windows that end at new rows.

    Args:
        spec: the model.
        scorers: one for each member of the ensemble; the first one reads every window.
        placed: the new rows.
        count: takes the series of each window that was read, int32 [N].
    """
    expected: list[WindowOutput] = []
    statistics, blame = [], []
    for one in scorers:
        ends = placed.due(one.member.window, spec.stride)
        slot, row = placed.new_rows.slot[ends], placed.new_rows.row[ends]
        if one.held is None:
            found, judged = _read(one, placed, ends, one.span if not expected else 0)
            blamed, read = found.blame, slot
        else:
            blocks = one.held.blocks(slot, row)
            found, judged = _read(one, placed, ends[blocks.read], 0)
            read = slot[blocks.read]
            judged, blamed = one.held.spread(slot, row, blocks, (judged, found.blame))
        expected = expected or [WindowOutput(ends, found.expected)]
        statistics.append(WindowOutput(ends, judged[:, None]))
        blame.append(WindowOutput(ends, blamed[:, None]))
        count(read)
    return [*expected, *statistics, *blame]


def _read(
    one: MemberScorer, placed: Placed, ends: NDArray[np.intp], span: int
) -> tuple[WindowStatistics, NDArray[np.float64]]:
    """Return the outputs of a member for the windows that end at these new rows, and what they say.

    The second are the statistics without the share of missing channels, float64 [N, K].
    """
    flat, at, member = placed.flat, placed.at[ends], one.member
    found = scored_by_both(one.scorer, (flat, placed.raw), at, placed.departs[ends], member.window, span)
    return found, without_missing(found.statistics, flat, at, member)


def _enough_values(flat: NDArray[np.float32], ends: NDArray[np.intp], window: int) -> NDArray[np.bool_]:
    """Return which windows of `flat` have enough known cells to be scored, bool [N].

    Channels without any value in the window do not count, if half of the cells of the others are known.
    """
    if not np.isnan(flat.sum(dtype=np.float64)):  # one cheap pass where nothing is missing
        return np.ones(len(ends), np.bool_)
    valid = np.cumsum(~np.isnan(flat), axis=0)
    inside = valid[ends] - np.where((ends >= window)[:, None], valid[ends - window], 0)
    known, present = inside.sum(axis=1), np.maximum((inside > 0).sum(axis=1), 1)
    enough: NDArray[np.bool_] = (known >= MIN_KNOWN_SHARE * window * flat.shape[1]) | (
        known >= _LEAST_SHARE_OF_PRESENT * window * present
    )
    return enough
