"""Which series have their own gauges: those with configured names first, then the highest scores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray


class Selection:
    """Chooses at most `most` series. Not thread-safe.

    Args:
        most: Maximum number of series. patterns: Shell patterns ("pump-*") that match whole names,
        case-sensitively. Matches are cached by slot.
    """

    def __init__(self, most: int, patterns: Sequence[str] = ()) -> None:
        self.most = most
        self._pattern = re.compile("|".join(map(translate, patterns))) if patterns else None
        self._names: dict[int, str] = {}
        self._is_named = SeriesArray((), np.bool_, False)

    def choose(
        self, names: Sequence[str], slots: NDArray[np.int32], score: NDArray[np.float64]
    ) -> NDArray[np.intp]:
        """Return the indices of the series to export, intp, ascending.

        Args:
            names: Names of all series.
            slots: Slot of each series, int32 [n].
            score: Newest score of each, float64 [n]. NaN means unknown, and ranks lowest.
        """
        if len(names) <= self.most:
            return np.arange(len(names))
        if self.most == 0:
            return np.empty(0, np.intp)
        rank = np.where(np.isnan(score), -1.0, score)
        if self._pattern is not None:
            rank = np.where(self._named(names, slots), np.inf, rank)
        # A stable sort: among equal scores, the same series are exported at every scrape.
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
