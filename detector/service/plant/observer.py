"""Observe the loop of several models: metrics, log and systemd, as `TurnObserver` does for one."""

from __future__ import annotations

import time
from collections.abc import Callable

from detector.engine.group.group import EngineGroup
from detector.engine.group.member import GroupResult, Member
from detector.engine.loop import TurnOf
from detector.incidents.rules import FoldRules
from detector.metrics.plant.recorder import GroupMetrics
from detector.service import systemd
from detector.service.clock_log import ClockLog
from detector.service.incident_log import IncidentLog, log_decisions
from detector.service.turn_observer import STALLED_SECONDS, log_forgotten


class GroupObserver:
    """Receives every completed turn, on the loop's thread; `is_alive` may be read from any.

    Args:
        metrics: of all models.
        group: the models.
        rules: how incidents of many series are folded in the log.
    """

    def __init__(self, metrics: GroupMetrics, group: EngineGroup, rules: FoldRules) -> None:
        self._metrics, self._group, self.fold = metrics, group, rules
        self._incidents = IncidentLog(rules)
        self._clocks: dict[Member, ClockLog] = {}
        self._supervision = systemd.Supervision()
        self._last_turn = time.monotonic()

    def on_turn(self, turn: TurnOf[GroupResult]) -> None:
        """Take in one turn."""
        self._last_turn = time.monotonic()
        self._metrics.observe(turn)
        self._supervision.on_turn(self._metrics.sources.ready(), self._status())
        for part in turn.result:
            clocks = self._clocks.setdefault(part.member, ClockLog())
            clocks.on_turn(part.member.engine, self._metrics.models[part.member.name].snapshot.latest)
            log_forgotten(part.result.forgotten)
            log_decisions(part.result.decisions)
        self._incidents.log([event for part in turn.result for event in part.result.incidents], self.fold)
        self._clocks = {member: log for member, log in self._clocks.items() if member in self._group.members}

    def on_wait(self, missing: str) -> None:
        """Take in that the loop waits for a right in Kafka: it is alive, and not ready."""
        self._last_turn = time.monotonic()
        self._supervision.on_turn(False, f"waiting for a right in Kafka: {missing}")

    def around_reload(self, reload: Callable[[], None]) -> None:
        """Run `reload`, and report its begin and end to systemd."""
        systemd.reloading()
        reload()
        self._supervision.reloaded()

    @property
    def is_alive(self) -> bool:
        """Whether the loop has finished a turn within the last minute."""
        return time.monotonic() - self._last_turn < STALLED_SECONDS

    def _status(self) -> str:
        if not self._metrics.sources.ready():
            return "waiting for partitions and their state"
        snapshots = [metrics.snapshot for metrics in self._metrics.models.values()]
        num_open = sum(len(one.open_incidents) for one in snapshots)
        readings = sum(one.totals["readings"] for one in snapshots)
        return f"{readings:,.0f} readings processed by {len(snapshots)} models, {num_open} incidents open"
