"""Matches the rows of two engines by series and time, and counts where they agree."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import numpy as np

from detector.incidents.incident import IncidentEvent
from detector.lifecycle.shadow_view import Judge, ShadowView
from detector.scoring.verdicts import State, Verdicts

_MOST_WAITING = 200_000
"""Rows that only one of the two has judged so far; the oldest are given up."""


class Agreement:
    """Counts of a candidate and of the current version. Not thread-safe."""

    def __init__(self) -> None:
        self._waiting: dict[Judge, dict[tuple[str, int], bool]] = {"candidate": {}, "current": {}}
        self._series: set[str] = set()
        self._rows = self._alike = 0
        self._since = time.time()
        self._anomalous: Counter[Judge] = Counter()
        self._incidents: Counter[Judge] = Counter()

    def add(self, judge: Judge, verdicts: Verdicts, events: Sequence[IncidentEvent]) -> None:
        """Take in what one of the two gave for some readings. Rows without a score count for neither."""
        known = np.flatnonzero(~np.isnan(verdicts.score))
        names = [verdicts.names[at] for at in verdicts.series[known].tolist()]
        is_anomalous = (verdicts.state[known] == State.ANOMALOUS).tolist()
        other: Judge = "current" if judge == "candidate" else "candidate"
        for name, at, bad in zip(names, verdicts.timestamp_ns[known].tolist(), is_anomalous, strict=True):
            theirs = self._waiting[other].pop((name, at), None)
            if theirs is None:
                self._wait(judge, (name, at), bad)
                continue
            self._rows += 1
            self._alike += bad == theirs
            self._anomalous[judge] += bad
            self._anomalous[other] += theirs
        if judge == "candidate":
            self._series.update(names)
        opened = [one for one in events if one.kind == "opened" and one.incident.series in self._series]
        self._incidents[judge] += len(opened)

    def view(self, version: str, restarts: int) -> ShadowView:
        """Return the counts so far."""
        judges: tuple[Judge, ...] = ("candidate", "current")
        anomalous = {judge: self._anomalous[judge] for judge in judges}
        incidents = {judge: self._incidents[judge] for judge in judges}
        return ShadowView(version, self._rows, self._alike, anomalous, incidents, restarts, self._since)

    def _wait(self, judge: Judge, key: tuple[str, int], bad: bool) -> None:
        waiting = self._waiting[judge]
        waiting[key] = bad
        if len(waiting) > _MOST_WAITING:
            del waiting[next(iter(waiting))]
