"""How many messages to take at once: what can be judged in about two seconds.

A member that does not come back to `poll` within the group's `max.poll.interval` loses its partitions.
However slow the model is, batches that are bounded in time keep it a member; however fast, they stay large.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_SECONDS = 2.0
_FIRST, _FEWEST, _GROWTH = 1_000, 10, 4.0


class Pace:
    """The size of the next batch, from how long the last ones took. `most` is the configured bound."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
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
        wanted = self._taken * _SECONDS / seconds
        if wanted < self.limit or self._taken == self.limit:
            self.limit = round(min(max(wanted, _FEWEST), self.limit * _GROWTH, self._most))
        self._taken = 0
