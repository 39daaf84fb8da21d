"""Chooses how many messages to poll at once: as many as are processed in about two seconds.

A process that does not poll within the group's `max.poll.interval` loses its partitions; heartbeats of the
client's own thread do not prevent that. Batches that are bounded in time keep a process with a slow model in
the group, and stay large for a fast model.

The first batch is small, because the speed of the model is not known yet. Later a batch may take at most a
thirtieth of the interval. A model that becomes thirty times slower from one batch to the next
therefore stays in the group. With the default interval, five minutes, the factor is 150.

A smaller batch reduces the cost of messages, but not the fixed cost of a batch: a slow transaction must not
make batches ever smaller. A line through the last few batches separates the two costs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import linear_regression

_SECONDS, _SHARE = 2.0, 1 / 30
_FIRST, _FEWEST, _GROWTH = 100, 1, 4.0
_REMEMBERED, _SURPRISE = 8, 4.0
_LEAST = 1e-9


class BatchSizer:
    """Computes the size of the next batch from the durations of the last ones."""

    def __init__(
        self, most: int, interval_seconds: float = 300.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start with a small batch.

        Args:
            most: the configured bound of a batch.
            interval_seconds: the longest time between two polls that the group accepts.
            clock: monotonic seconds.
        """
        self._most, self._clock = most, clock
        self._seconds = min(_SECONDS, interval_seconds * _SHARE)
        self._past: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        self._taken = 0
        self._taken_at = clock()
        self.limit = min(_FIRST, most)

    def taken(self, num_messages: int) -> None:
        """Note that a batch of `num_messages` is handed out now."""
        self._taken, self._taken_at = num_messages, self._clock()

    def back(self) -> None:
        """Note that the last batch is processed, and update `limit`."""
        if self._taken == 0:
            return
        seconds = max(self._clock() - self._taken_at, 1e-6)
        if self._past:
            each, fixed = self._costs()
            if seconds > _SURPRISE * (fixed + each * self._taken):
                self._past.clear()  # the speed has changed: forget the old batches
        self._past.append((self._taken, seconds))
        wanted = self._seconds / self._costs()[0]
        if wanted < self.limit or self._taken == self.limit:
            self.limit = round(min(max(wanted, _FEWEST), self.limit * _GROWTH, self._most))
        self._taken = 0

    def _costs(self) -> tuple[float, float]:
        """Return the seconds that each message costs, and those that a batch costs whatever its size."""
        sizes, seconds = zip(*self._past, strict=True)
        if len(set(sizes)) == 1:  # one size cannot separate the costs: count all as cost of messages
            return seconds[-1] / sizes[-1], 0.0
        slope, intercept = linear_regression(sizes, seconds)
        return max(slope, _LEAST), max(intercept, 0.0)
