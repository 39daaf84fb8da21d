"""How many messages to take at once: what can be judged in about two seconds.

A member that does not come back to `poll` within the group's `max.poll.interval` loses its partitions; its
heartbeats go on meanwhile, in the client's own thread. However slow the model is, batches that are bounded
in time keep it a member; however fast, they stay large. The first batch is small, for nobody knows yet how
fast the model is, and a batch is to take a thirtieth of the interval at most: a model that becomes thirty
times slower from one batch to the next (150 times with the interval's default, five minutes) stays a member.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_SECONDS, _SHARE = 2.0, 1 / 30
_FIRST, _FEWEST, _GROWTH = 100, 1, 4.0


class Pace:
    """The size of the next batch, from how long the last ones took. `most` is the configured bound; the group
    waits `interval_seconds` for us to come back."""

    def __init__(
        self, most: int, interval_seconds: float = 300.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._clock = most, clock
        self._seconds = min(_SECONDS, interval_seconds * _SHARE)
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
        wanted = self._taken * self._seconds / seconds
        if wanted < self.limit or self._taken == self.limit:
            self.limit = round(min(max(wanted, _FEWEST), self.limit * _GROWTH, self._most))
        self._taken = 0
