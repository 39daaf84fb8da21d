"""Verdicts as columns: the engine's output for rows."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray


class State(IntEnum):
    """The state of a row. Promise: an unknown row is never `OK` and never has score 0."""

    OK = 0
    ANOMALOUS = 1
    WARMING = 2
    GAP = 3
    FLATLINE = 4
    OUT_OF_RANGE = 5
    STALE = 6
    MISSING = 7
    LATE = 8
    TRANSITION = 9
    IDLE = 10

    @property
    def label(self) -> str:
        """The state's name in messages, metrics and files.

        >>> State.OUT_OF_RANGE.label
        'out_of_range'
        """
        return self.name.lower()


_WITHOUT_SCORE = (int(State.FLATLINE), int(State.OUT_OF_RANGE), int(State.ANOMALOUS))
"""A row in one of these states is judged although it has no score: a fault was found without one."""


def is_judged(score: NDArray[np.float64], state: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which rows were judged: they have a score, or a fault that needs none.

    Args:
        score: float64 [n], NaN where unknown.
        state: uint8 [n], a `State` each.

    >>> is_judged(np.array([0.5, np.nan, np.nan]), np.array([State.OK, State.GAP, State.FLATLINE])).tolist()
    [True, False, True]
    """
    judged: NDArray[np.bool_] = ~np.isnan(score) | np.isin(state, _WITHOUT_SCORE)
    return judged


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Verdicts of n rows, all final or all provisional, sorted by series and, within one, by time.

    names         the distinct series of these verdicts
    series        int32 [n], index into `names`
    timestamp_ns  int64 [n], start of the row's interval
    score         float64 [n], (error / calibrated threshold) ** sharpness, see
                  `detector.artifact.spec.Threshold`; above 1 is unusual; NaN where unknown
    state         uint8 [n], a `State`
    actual        float64 [n, channels], physical units, NaN where none came
    expected      float64 [n, channels], the model's reconstruction in physical units, NaN where unknown
    contribution  float32 [n, channels], each channel's share of the error; sums to 1, so that contribution *
                  score sums to the score; NaN where unknown
    threshold     float64 [n], the page level: the score from which the row counts for incidents; at least 1
    missing       bool [n, channels], the channel has stopped sending while others of the series go on
    paged         bool [n], the row counts for incidents: its score is above `threshold`, or `cumulative` is
                  above its own page level
    cumulative    evidence that adds up, float64 [n], the largest of all kinds; above 1 is anomalous; NaN
                  where unknown, and in provisional verdicts
    kind          uint8 [n], the `Kind` of evidence that spoke loudest
    mode          int16 [n], the mode of operation, an index into `Modes.names`; -1 where it is unknown
    left          int16 [n], of rows between two modes: the mode that the series has left; else -1
    clipped       bool [n, channels], the expected value left what history showed, and is the nearest that
                  history showed
    cold          bool [n], the series is new to the model, and learns its own scales
    lines         object [n], where drift counts for incidents: of each channel the `Line` along which it
                  drifts, or None; in other rows None
    """

    names: tuple[str, ...]
    series: NDArray[np.int32]
    timestamp_ns: NDArray[np.int64]
    score: NDArray[np.float64]
    state: NDArray[np.uint8]
    actual: NDArray[np.float64]
    expected: NDArray[np.float64]
    contribution: NDArray[np.float32]
    threshold: NDArray[np.float64]
    missing: NDArray[np.bool_]
    paged: NDArray[np.bool_]
    cumulative: NDArray[np.float64]
    kind: NDArray[np.uint8]
    mode: NDArray[np.int16]
    left: NDArray[np.int16]
    clipped: NDArray[np.bool_]
    lines: NDArray[np.object_]
    cold: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.timestamp_ns)

    @classmethod
    def empty(cls, num_channels: int) -> Self:
        """Return no verdicts, for series with `num_channels` channels."""
        wide = np.empty((0, num_channels))
        return cls(
            (),
            np.empty(0, np.int32),
            np.empty(0, np.int64),
            np.empty(0),
            np.empty(0, np.uint8),
            wide,
            wide,
            wide.astype(np.float32),
            np.empty(0),
            np.empty((0, num_channels), np.bool_),
            np.empty(0, np.bool_),
            np.empty(0),
            np.empty(0, np.uint8),
            np.empty(0, np.int16),
            np.empty(0, np.int16),
            np.empty((0, num_channels), np.bool_),
            np.empty(0, np.object_),
            np.empty(0, np.bool_),
        )

    @property
    def is_judged(self) -> NDArray[np.bool_]:
        """Which rows were judged; see the function `is_judged`."""
        return is_judged(self.score, self.state)

    @property
    def is_masked(self) -> NDArray[np.bool_]:
        """Which rows were judged without one of their values, bool [n]."""
        masked: NDArray[np.bool_] = self.is_judged & np.isnan(self.actual).any(axis=1)
        return masked

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """Return the verdicts at `rows` (an index or a mask)."""
        columns = [getattr(self, f.name)[rows] for f in fields(self) if f.name != "names"]
        return type(self)(self.names, *columns)
