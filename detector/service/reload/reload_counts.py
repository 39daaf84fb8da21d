"""Count reloads of the model or of the configuration."""

from __future__ import annotations

import threading
from typing import Literal


class ReloadCounts:
    """Count outcomes of reloads. Thread-safe. `unreachable` says why the last look failed, "" if it did not.

    >>> counts = ReloadCounts()
    >>> counts.add("refused")
    >>> counts.by_outcome
    {'loaded': 0, 'refused': 1}
    """

    def __init__(self) -> None:
        self._counts = {"loaded": 0, "refused": 0}
        self._lock = threading.Lock()
        self.unreachable = ""

    def add(self, outcome: Literal["loaded", "refused"]) -> None:
        """Count one reload."""
        with self._lock:
            self._counts[outcome] += 1

    @property
    def by_outcome(self) -> dict[str, int]:
        """Outcome -> number of reloads."""
        with self._lock:
            return dict(self._counts)
