"""Actual and expected values of a row to its error, score, state and contributions.

A row's error is the power mean, over the channels that have a value, of |actual - expected| in units of
the channel's residual_scale: (mean of the 4th powers) ^ 1/4, near 1 on held-out normal rows. The fourth
power lets one channel that is far off speak among many that are not (docs/decisions/0007).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from detector.artifact import Spec
from detector.grid import lengths_of, starts_of
from detector.overlap import Judged
from detector.scoring import scale_rows
from detector.slots import SlotArray
from detector.verdicts import State

STUCK, OUT_OF_RANGE = np.uint8(1), np.uint8(2)
"""Bits of a cell's flag: the channel is stuck, the value is impossible."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Final verdicts by slot and row, columns as in `detector.verdicts.Verdicts`."""

    slot: NDArray[np.int32]
    row: NDArray[np.int64]
    score: NDArray[np.float64]
    state: NDArray[np.uint8]
    actual: NDArray[np.float64]
    expected: NDArray[np.float64]
    contribution: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.row)

    @staticmethod
    def joined(parts: list[Scored]) -> Scored:
        """Several parts (at least one) as one, sorted by slot and row."""
        if len(parts) == 1:
            return parts[0]
        columns = [np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Scored)]
        order = np.lexsort((columns[1], columns[0]))
        return Scored(*(column[order] for column in columns))


class Judge:
    """Turns rows with their final expected values into verdicts; remembers what smoothing needs."""

    def __init__(self, spec: Spec) -> None:
        self._center, self._scale = spec.column("center"), spec.column("scale")
        self._residual_scale = spec.column("residual_scale").astype(np.float32)
        self._threshold = spec.threshold.value
        self._smooth = spec.scoring.smooth
        self._recent = SlotArray((self._smooth - 1,), np.float64, np.nan)

    def judge(self, rows: Judged) -> Scored:
        """Verdicts of `rows`, which must be sorted by slot and row."""
        residual = scale_rows(rows.actual, self._center, self._scale) - rows.expected
        power = np.square(np.square((residual / self._residual_scale).astype(np.float64)))
        known = ~np.isnan(power)
        total = np.where(known, power, 0.0).sum(axis=1)
        num_known = known.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.sqrt(np.sqrt(total / np.where(num_known > 0, num_known, np.nan)))
            contribution = (power / total[:, None]).astype(np.float32)
        score = self._smoothed(rows.slot, error) / self._threshold
        state = _states(rows, score)
        expected = rows.expected.astype(np.float64) * self._scale + self._center
        _blame_flagged(contribution, rows.flags, state)
        return Scored(rows.slot, rows.row, score, state, rows.actual, expected, contribution)

    def stale(self, slot: NDArray[np.int32], row: NDArray[np.int64]) -> Scored:
        """Verdicts that say that nothing came any more, at each series' last row."""
        unknown = np.full((len(slot), len(self._center)), np.nan)
        state = np.full(len(slot), int(State.STALE), np.uint8)
        return Scored(
            slot, row, np.full(len(slot), np.nan), state, unknown, unknown, unknown.astype(np.float32)
        )

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._recent.reset(slots)

    def _smoothed(self, slot: NDArray[np.int32], error: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of each row's error and those of the `smooth - 1` rows before it, unknown ones left out."""
        kept = self._smooth - 1
        if kept == 0 or len(error) == 0:
            return error
        self._recent.reserve(int(slot.max()) + 1)
        starts = starts_of(slot)
        lengths = lengths_of(starts, len(slot))
        at = np.arange(len(slot)) + np.repeat(np.arange(1, len(starts) + 1), lengths) * kept
        flat = np.empty(len(slot) + len(starts) * kept)
        flat[at] = error
        first = starts + np.arange(len(starts)) * kept
        flat[first[:, None] + np.arange(kept)] = self._recent.data[slot[starts]]
        last = at[starts + lengths - 1]
        self._recent.data[slot[starts]] = flat[last[:, None] - np.arange(kept)[::-1]]
        span = np.lib.stride_tricks.sliding_window_view(flat, self._smooth)[at - kept]
        known = ~np.isnan(span)
        mean = np.where(known, span, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        return np.where(np.isnan(error), np.nan, mean)


def _states(rows: Judged, score: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The first that applies: gap, warming, out of range, flatline, anomalous, ok."""
    num = len(rows)
    empty = np.isnan(rows.actual).all(axis=1)
    conditions = [
        empty,
        (rows.flags & OUT_OF_RANGE).any(axis=1),
        (rows.flags & STUCK).any(axis=1),
        np.isnan(score),
        score > 1.0,
    ]
    choices = [State.GAP, State.OUT_OF_RANGE, State.FLATLINE, State.WARMING, State.ANOMALOUS]
    state: NDArray[np.uint8] = np.select(
        conditions, [np.full(num, int(choice), np.uint8) for choice in choices], np.uint8(State.OK)
    )
    return state


def _blame_flagged(
    contribution: NDArray[np.float32], flags: NDArray[np.uint8], state: NDArray[np.uint8]
) -> None:
    """Where a rule without the model speaks, the channels that broke it share the blame alone."""
    for kind, bit in ((State.FLATLINE, STUCK), (State.OUT_OF_RANGE, OUT_OF_RANGE)):
        rows = np.flatnonzero(state == kind)
        if len(rows):
            guilty = (flags[rows] & bit) > 0
            contribution[rows] = guilty / guilty.sum(axis=1, keepdims=True)
