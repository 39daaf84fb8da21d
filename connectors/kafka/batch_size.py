"""How many messages to take at once: what can be judged in about two seconds.

A member that does not come back to `poll` within the group's `max.poll.interval` loses its partitions; its
heartbeats go on meanwhile, in the client's own thread. However slow the model is, batches that are bounded
in time keep it a member; however fast, they stay large. The first batch is small, for nobody knows yet how
fast the model is, and a batch is to take a thirtieth of the interval at most: a model that becomes thirty
times slower from one batch to the next (150 times with the interval's default, five minutes) stays a member.

Smaller batches help against what each message costs, not against what each batch costs: a slow transaction
must not make batches ever smaller. So the two are told apart, by a line through the last few batches.
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
    """The size of the next batch, from how long the last ones took. `most` is the configured bound; the group
    waits `interval_seconds` for us to come back."""

    def __init__(
        self, most: int, interval_seconds: float = 300.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._clock = most, clock
        self._seconds = min(_SECONDS, interval_seconds * _SHARE)
        self._past: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        self._taken = 0
        self._taken_at = clock()
        self.limit = min(_FIRST, most)

    def taken(self, num_messages: int) -> None:
        """A batch of so many was handed out now."""
        self._taken, self._taken_at = num_messages, self._clock()

    def back(self) -> None:
        """Whoever took the last batch asks for the next one."""
        if self._taken == 0:
            return
        seconds = max(self._clock() - self._taken_at, 1e-6)
        if self._past:
            each, fixed = self._costs()
            if seconds > _SURPRISE * (fixed + each * self._taken):
                self._past.clear()  # not the model that it was
        self._past.append((self._taken, seconds))
        wanted = self._seconds / self._costs()[0]
        if wanted < self.limit or self._taken == self.limit:
            self.limit = round(min(max(wanted, _FEWEST), self.limit * _GROWTH, self._most))
        self._taken = 0

    def _costs(self) -> tuple[float, float]:
        """Seconds that a message costs, and that a batch costs whatever its size."""
        sizes, seconds = zip(*self._past, strict=True)
        if len(set(sizes)) == 1:  # nothing to tell them apart by: all may come of the messages
            return seconds[-1] / sizes[-1], 0.0
        slope, intercept = linear_regression(sizes, seconds)
        return max(slope, _LEAST), max(intercept, 0.0)
