"""Which series have gauges of their own: those that are named first, then the highest scores, to a bound."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray


class Selection:
    """Chooses at most `most` series. `patterns` are of shells ("pump-*") and match whole names, case and all.

    What a pattern said of a series is remembered by its slot. Not thread-safe.
    """

    def __init__(self, most: int, patterns: Sequence[str] = ()) -> None:
        self.most = most
        self._pattern = re.compile("|".join(map(translate, patterns))) if patterns else None
        self._names: dict[int, str] = {}
        self._is_named = SeriesArray((), np.bool_, False)

    def choose(
        self, names: Sequence[str], slots: NDArray[np.int32], score: NDArray[np.float64]
    ) -> NDArray[np.intp]:
        """Which of the series to export, ascending; `score` NaN where unknown, which counts as the lowest."""
        if len(names) <= self.most:
            return np.arange(len(names))
        if self.most == 0:
            return np.empty(0, np.intp)
        rank = np.where(np.isnan(score), -1.0, score)
        if self._pattern is not None:
            rank = np.where(self._named(names, slots), np.inf, rank)
        # Stable where scores are equal: a series does not come and go without a reason.
        return np.sort(np.argsort(-rank, kind="stable")[: self.most])

    def _named(self, names: Sequence[str], slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        assert self._pattern is not None
        self._is_named.reserve(int(slots.max(initial=-1)) + 1)
        known = self._names
        for name, slot in zip(names, slots.tolist(), strict=True):
            if known.get(slot) != name:
                known[slot] = name
                self._is_named.data[slot] = self._pattern.match(name) is not None
        found: NDArray[np.bool_] = self._is_named.data[slots]
        return found
