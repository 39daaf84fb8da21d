"""For how long the service has listened without a reading of each series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import SeriesArray

LONGEST_TICK_NS = 60 * 10**9
"""Between two looks at the clock so much counts at most: the rest was a pause, or a jump of the clock."""
_LOOKS = 256
"""The limit is measured in so many steps."""
_SAVES = 32
"""The state of a silent series is saved so often until it is forgotten."""


@dataclass(frozen=True, slots=True)
class Found:
    """Slots of series, int32 each: beyond the limit, and those whose silence is to be saved."""

    gone: NDArray[np.int32]
    to_save: NDArray[np.int32]


class Listening:
    """Adds up the time since the last reading of each series. Not thread-safe.

    Args:
        limit_ns: time without a reading after which a series is gone; 0: never.

    is_replaying  whether readings come that were read before: no time counts
    """

    def __init__(self, limit_ns: int) -> None:
        self._limit_ns = limit_ns
        self._silent_ns = SeriesArray((), np.int64, 0)
        self._now_ns: int | None = None
        self._pending_ns = 0
        self._stands = False
        self.is_replaying = False

    def note(self, slots: NDArray[np.int32]) -> None:
        """Note that these series sent something. What is pending will be added to all, so less it is."""
        self._silent_ns.data[slots] = -self._pending_ns

    def tick(self, now_ns: int, stands: bool) -> None:
        """Take the service's time; `stands`: the time since the last look does not count."""
        before, self._now_ns, self._stands = self._now_ns, now_ns, stands or self.is_replaying
        if before is not None and self._limit_ns and not self._stands:
            self._pending_ns += min(max(0, now_ns - before), LONGEST_TICK_NS)

    @property
    def is_due(self) -> bool:
        """Whether time counts, and enough is pending for a look at the series."""
        return not self._stands and self._pending_ns > self._limit_ns // _LOOKS

    def look(self, known: Callable[[], NDArray[np.int32]]) -> Found:
        """Add the pending time to all series; return those beyond the limit, and those to save.

        Args:
            known: returns the slots of all known series, int32, ascending.
        """
        slots, step_ns = known(), max(1, self._limit_ns // _SAVES)
        before = np.maximum(self._silent_ns.data[slots], 0)
        self._silent_ns.data[slots] += self._pending_ns
        self._pending_ns = 0
        now = np.maximum(self._silent_ns.data[slots], 0)
        return Found(slots[now > self._limit_ns], slots[now // step_ns > before // step_ns])

    def continue_from(self, other: Listening, theirs: NDArray[np.int32], ours: NDArray[np.int32]) -> None:
        """Take over the times of series, whose slots are `theirs` in `other` and `ours` here, int32 [n]."""
        self._now_ns, self.is_replaying = other._now_ns, other.is_replaying
        self._silent_ns.data[ours] = other._silent_ns.data[theirs]

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the saved cells."""
        return [self._silent_ns]

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._silent_ns.reset(slots)
