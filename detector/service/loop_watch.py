"""Whether the loop is alive: the time of its last turn, and reports to systemd."""

from __future__ import annotations

import time
from collections.abc import Callable

from detector.service import systemd

STALLED_SECONDS = 60.0
"""A loop that finishes no turn for so long is reported as stalled."""


class LoopWatch:
    """Takes in each turn on the loop's thread; `is_alive` may be read from any."""

    def __init__(self) -> None:
        self._supervision = systemd.Supervision()
        self._last_turn = time.monotonic()

    def note_turn(self) -> None:
        """Note that a turn has ended, before anything is done with its results."""
        self._last_turn = time.monotonic()

    def tell(self, is_ready: bool, status: str) -> None:
        """Tell systemd what the loop does."""
        self._supervision.on_turn(is_ready, status)

    def on_wait(self, missing: str) -> None:
        """Take in that the loop waits for a right in Kafka: it is alive, and not ready."""
        self.note_turn()
        self.tell(False, f"waiting for a right in Kafka: {missing}")

    def around_reload(self, reload: Callable[[], None]) -> None:
        """Run `reload`, and report its begin and end to systemd."""
        systemd.reloading()
        reload()
        self._supervision.reloaded()

    @property
    def is_alive(self) -> bool:
        """Whether the loop has finished a turn within the last minute."""
        return time.monotonic() - self._last_turn < STALLED_SECONDS
