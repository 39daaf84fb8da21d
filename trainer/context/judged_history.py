"""The history as a model with modes of operation learns it: what is not judged is unknown.

Cells that are not judged in their mode, and rows of transitions, are read as NaN. Long runs of rows without
any judged cell are cut out. The rows as they were sent stay at hand (`History.as_sent`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.modes import Modes
from detector.rows.windows import NewRows
from detector.scoring.context.modes import WIDTH, ModeRules, ModeTracker, RowModes
from trainer.data.history import History, Segment
from trainer.errors import TooLittleDataError

_READ_ROWS = 1 << 16


class JudgedHistory(History):
    """A history whose cells are NaN where they are not judged. It shares the scratch file of `sent`.

    Args:
        sent: The history as it was sent.
        segments: The parts of it that may be learnt.
        kind: Which line of `holes` belongs to each row of the file, uint8 [rows of the file].
        holes: Which channels are not judged, bool [kinds, C].
    """

    def __init__(
        self,
        sent: History,
        segments: tuple[Segment, ...],
        kind: NDArray[np.uint8],
        holes: NDArray[np.bool_],
    ) -> None:
        super().__init__(sent.file, sent.channels, sent.rate, segments, sent.fingerprint)
        self._sent, self._kind, self._holes = sent, kind, holes

    @property
    def as_sent(self) -> History:
        """Return the history with every value that was sent."""
        return self._sent

    def read(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the rows at positions start..stop, float64 [rows, channels], NaN where nothing is judged."""
        return np.where(self._holes[self._kind[start:stop]], np.nan, super().read(start, stop))

    def narrowed(self, segments: tuple[Segment, ...]) -> History:
        """Return the history of `segments` alone, which are parts of its own."""
        return JudgedHistory(self._sent, segments, self._kind, self._holes)


@dataclass(frozen=True, slots=True)
class HistoryModes:
    """Hold the modes of all rows of a history, by position in the file.

    Attributes:
        rows: Modes of the rows of the file; those between segments mean nothing.
    """

    history: History
    rows: RowModes

    def of(self, segment: Segment) -> RowModes:
        """Return the modes of the rows of a segment."""
        part = slice(segment.position, segment.stop)
        rows = self.rows
        return RowModes(rows.mode[part], rows.left[part], rows.age[part], rows.unsettled[part])


def modes_of(history: History, modes: Modes) -> HistoryModes:
    """Return the mode of every row, as the engine will decide it; each segment begins without one."""
    num = history.segments[-1].stop
    found = RowModes(*(np.full(num, -1, np.int32) for _ in range(WIDTH)))
    for segment in history.segments:
        tracker = ModeTracker(modes, history.channels)
        for start in range(segment.position, segment.stop, _READ_ROWS):
            values = history.read(start, min(segment.stop, start + _READ_ROWS))
            row = segment.row + np.arange(start, start + len(values)) - segment.position
            nothing = np.zeros(len(values), np.int64)
            new_rows = NewRows(
                nothing.astype(np.int32), row, values, nothing, nothing > 0, np.zeros(1, np.intp)
            )
            part = tracker.follow(new_rows, values)
            at = slice(start, start + len(values))
            found.mode[at], found.left[at], found.age[at] = part.mode, part.left, part.age
            found.unsettled[at] = part.unsettled
    return HistoryModes(history, found)


def judged_history(decided: HistoryModes, modes: Modes, max_gap: int) -> History:
    """Return the history that a model may learn, with holes where nothing is judged.

    Args:
        decided: The history, with its modes.
        modes: The modes, with the rows that each needs to settle.
        max_gap: Rows in sequence without a judged cell that a window may bridge.

    Raises:
        TooLittleDataError: No row is judged.
    """
    history = decided.history
    num_kinds, num_channels = len(modes.all) + 1, len(history.channels)
    holes = np.ones((num_kinds, num_channels), np.bool_)
    for at, mode in enumerate(modes.all):
        holes[at] = [not mode.judges(name) for name in history.channels]
    rows = modes_of(history, modes).rows  # how long rows settle decides since when they have not
    is_transition = ModeRules(modes, history.channels, 1).is_transition(rows)
    number = np.where(rows.mode < 0, len(modes.modes), rows.mode)
    kind = np.where(is_transition, num_kinds - 1, number).astype(np.uint8)
    is_empty = np.logical_and.reduce(holes, axis=1)[kind]
    segments: list[Segment] = []
    for segment in history.segments:
        segments += _without_long_runs(segment, is_empty[segment.position : segment.stop], max_gap)
    if not segments:
        raise TooLittleDataError(
            "no row of the history is judged: every row is in a mode that judges nothing"
        )
    return JudgedHistory(history, tuple(segments), kind, holes)


def _without_long_runs(segment: Segment, is_empty: NDArray[np.bool_], most: int) -> list[Segment]:
    """Return a segment without its runs of more than `most` rows that are empty."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_empty, [False]]).astype(np.int8)))
    runs = edges.reshape(-1, 2)
    long = runs[runs[:, 1] - runs[:, 0] > most] + segment.position
    bounds = [segment.position, *long.ravel().tolist(), segment.stop]
    parts = [segment.cut(start, stop) for start, stop in zip(bounds[::2], bounds[1::2], strict=True)]
    return [part for part in parts if part is not None]
