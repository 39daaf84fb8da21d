"""Centres and scales of series that the model does not know, and how wide their band is.

Scoring reads from here how far a new series has come. What it learns and when is decided between two parts
of a series (`detector.engine.cold.cold_series`).

Letters: n rows or series, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from detector.artifact.cold.cold_start import LEAST_WARMUP, ColdStart
from detector.artifact.spec import Spec
from detector.rows.series_arrays import SeriesArray

NO_ERROR = -np.inf
_FAR, _OF_RANGE = 3.0, 0.5
"""A value outside the range of a cold series by so many scales, or such a part of it, has the score 1."""


class Stage(IntEnum):
    """How far a series has come.

    KNOWN     the model knows it
    LEARNING  its first rows show its centres and scales; it has no verdict
    SETTLING  the next rows show its usual errors; it has no verdict
    COLD      it is judged, with a wider band
    LEARNT    it is judged as any other; nothing is learnt any more
    """

    KNOWN = 0
    LEARNING = 1
    SETTLING = 2
    COLD = 3
    LEARNT = 4


@dataclass(frozen=True, slots=True)
class ColdOptions:
    """Say whether and how new series begin.

    enabled      whether they learn their own scales first
    warmup_rows  rows that show the scales; None: the number of the model
    warmup_ns    the same as a time in nanoseconds; None: `warmup_rows` counts
    """

    enabled: bool = False
    warmup_rows: int | None = None
    warmup_ns: int | None = None

    def begins(self, cold: ColdStart | None) -> bool:
        """Return whether a series that the model does not know is cold at first."""
        return cold is not None and self.enabled

    def warmup(self, cold: ColdStart, interval_ns: int) -> int:
        """Return how many rows show the scales of a series whose rows have this length."""
        rows = cold.warmup if self.warmup_rows is None else self.warmup_rows
        if self.warmup_ns is not None:
            rows = -(-self.warmup_ns // interval_ns)
        return max(rows, LEAST_WARMUP)


class LearntScales:
    """Keep what is learnt of every new series. Not thread-safe.

    Args:
        spec: The model.

    Attributes:
        is_used: Whether series that the model does not know are new ones. Else nothing is kept.
        stage: A `Stage` of each series.
        center, scale: In the units of the channels, float64 [slots, C]; NaN where nothing was learnt.
        moving: Channels that move here, and never did in the history, bool [slots, C].
        low, high: The range of the rows from which a cold series has learnt, float64 [slots, C].
        log_factor: Logarithm by which the threshold of each series is higher.
        highest: Logarithm of the largest error of the rows of its part so far, in units of the threshold.
        has_no_history: Whether the model has no history at all (`detector.artifact.fallback`). Then series
            stay cold, and how long each channel may stand still is learnt too.
        stuck_rows: Rows of one value from which a channel is stuck, float64 [slots, C]; infinite: never.
    """

    def __init__(self, spec: Spec) -> None:
        num = len(spec.channels)
        self._scale = spec.column("scale")
        self.is_used = False
        self._known = frozenset(() if spec.cold is None else spec.cold.series)
        self.has_no_history = spec.cold is not None and not spec.cold.series
        self.stuck_rows = SeriesArray((num,), np.float64, np.inf)
        self._is_known = SeriesArray((), np.bool_, False)
        self.stage = SeriesArray((), np.uint8, int(Stage.KNOWN))
        self.center, self.scale = (SeriesArray((num,), np.float64, np.nan) for _ in range(2))
        self.low, self.high = (SeriesArray((num,), np.float64, np.nan) for _ in range(2))
        self.moving = SeriesArray((num,), np.bool_, False)
        self.log_factor = SeriesArray((), np.float64, 0.0)
        self.highest = SeriesArray((), np.float64, NO_ERROR)
        self._may_have = False

    def use(self, begins: bool) -> None:
        """Say whether series that the model does not know are new ones from now on."""
        self.is_used = begins

    def name(self, slots: NDArray[np.int32], names: Sequence[str]) -> None:
        """Let series begin that the model does not know, by their numbers, int32 [n], and names."""
        if not self.is_used or len(slots) == 0:
            return
        self.reserve(slots)
        known = np.array([name in self._known for name in names], np.bool_)
        self._is_known.data[slots] = known
        if not known.all():
            self.stage.data[slots[~known]] = int(Stage.LEARNING)
            self._may_have = True

    def note_restored(self, slots: NDArray[np.int32]) -> None:
        """Go on with series that were restored from snapshots; those that the model knows are not new."""
        if not self.is_used:
            return
        self.reserve(slots)
        self._reset(slots[self._is_known.data[slots]])
        self._may_have = bool((self.stage.data > int(Stage.KNOWN)).any())

    @property
    def any(self) -> bool:
        """Whether some series may be new."""
        return self._may_have

    def stages(self, slots: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Return the `Stage` of these series, uint8 [n]."""
        if not self._may_have:
            return np.zeros(len(slots), np.uint8)
        self.reserve(slots)
        stages: NDArray[np.uint8] = self.stage.data[slots]
        return stages

    def are_cold(self, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which of these series still learn, bool [n]."""
        stages = self.stages(slots)
        cold: NDArray[np.bool_] = (stages > int(Stage.KNOWN)) & (stages < int(Stage.LEARNT))
        return cold

    def instead_of(
        self, slots: NDArray[np.int32], center: NDArray[np.float64], scale: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return centre and scale of these series, those that were learnt in place of others, [n, C] each."""
        self.reserve(slots)
        own, spread = self.center.data[slots], self.scale.data[slots]
        unknown = np.isnan(own)
        return np.where(unknown, center, own), np.where(unknown, scale, spread)

    def restless(self, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which channels move in these series that never did in the history, bool [n, C]."""
        self.reserve(slots)
        moving: NDArray[np.bool_] = self.moving.data[slots]
        return moving

    def judged(self, slots: NDArray[np.int32], error: NDArray[np.float64], note: bool) -> NDArray[np.float64]:
        """Return errors in units of the threshold of each series, float64 [n]; NaN before its first verdict.

        Args:
            slots: The series of each row, int32 [n].
            error: In units of the threshold of the model, float64 [n].
            note: Whether the rows are final, so that the largest error of normal rows is kept.
        """
        if not self._may_have:
            return error
        stages, factor = self.stages(slots), self.log_factor.data[slots]
        known = np.log(np.maximum(error, 1e-300))
        if note:
            calm = (stages == int(Stage.SETTLING)) | ((stages == int(Stage.COLD)) & (known <= factor))
            calm &= ~np.isnan(known)
            np.maximum.at(self.highest.data, slots[calm], known[calm])
        hidden = (stages == int(Stage.LEARNING)) | (stages == int(Stage.SETTLING))
        return np.where(hidden, np.nan, np.where(factor == 0.0, error, error / np.exp(factor)))

    def with_range(
        self, slots: NDArray[np.int32], values: NDArray[np.float64], score: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the scores of rows, float64 [n], with what is far outside the range of a cold series.

        How far a value is outside its range is a score. The unit is 3 scales, or half of the range if that is
        more. It needs no network, and so it finds a jump while the threshold is high.

        Args:
            slots: The series of each row, int32 [n].
            values: In the units of the channels, float64 [n, C], NaN where there is no credible one.
            score: float64 [n], NaN where unknown.
        """
        cold = np.flatnonzero(self.stages(slots) == int(Stage.COLD))
        if len(cold) == 0:
            return score
        whose = slots[cold]
        low, high, scale = self.low.data[whose], self.high.data[whose], self.scale.data[whose]
        far = np.fmax(_FAR * np.where(np.isnan(scale), self._scale, scale), _OF_RANGE * (high - low))
        with np.errstate(invalid="ignore"):
            found = np.nan_to_num(np.fmax(low - values[cold], values[cold] - high) / far, nan=0.0)
        score = score.copy()
        score[cold] = np.where(np.isnan(score[cold]), np.nan, np.maximum(score[cold], found.max(axis=1)))
        return score

    def stuck_limits(self, slots: NDArray[np.int32]) -> NDArray[np.float64] | None:
        """Return from how many rows of one value each channel is stuck, float64 [n, C].

        It is None where the model itself has these limits.
        """
        if not (self.is_used and self.has_no_history):
            return None
        self.reserve(slots)
        limits: NDArray[np.float64] = self.stuck_rows.data[slots]
        return limits

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._is_known.reset(slots)
        self._reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        kept = [
            self.stage,
            self.center,
            self.scale,
            self.moving,
            self.low,
            self.high,
            self.log_factor,
            self.highest,
        ]
        if self.has_no_history:
            kept.append(self.stuck_rows)
        return kept if self.is_used else []

    def reserve(self, slots: NDArray[np.int32]) -> None:
        """Make room for these series."""
        for array in (self._is_known, self.moving, *self.arrays()):
            array.reserve(int(slots.max(initial=-1)) + 1)

    def _reset(self, slots: NDArray[np.int32]) -> None:
        for array in self.arrays():
            array.reset(slots)
