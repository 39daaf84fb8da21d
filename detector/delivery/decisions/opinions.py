"""What people said that incidents were: false alarms, or real. The newest opinion on an incident counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set

from detector.incidents.decision import OPINIONS, Decision


class Opinions:
    """Counts incidents by opinion, and has the ids of those called real.

    `take_in` belongs to one thread; any thread may read `counts` and `real`.
    """

    def __init__(self) -> None:
        self._source = 0
        self._of: dict[str, str] = {}
        self.counts: Mapping[str, int] = {}
        self.real: Set[str] = frozenset()

    def take_in(self, decisions: Sequence[tuple[int, Decision]], source: int) -> None:
        """Take in decisions in the order of their numbers; those of another source replace all."""
        if source != self._source:
            self._source = source
            self._of.clear()
        elif not decisions:
            return
        self._of.update({one.incident: one.action for _, one in decisions if one.action in OPINIONS})
        self.counts = Counter(self._of.values())
        self.real = frozenset(name for name, action in self._of.items() if action == "real")
