"""Observe the loop of several models: metrics, log and systemd, as `TurnObserver` does for one."""

from __future__ import annotations

from detector.engine.group.group import EngineGroup
from detector.engine.group.member import GroupResult, Member
from detector.engine.loop import TurnOf
from detector.incidents.rules import FoldRules
from detector.metrics.plant.recorder import GroupMetrics
from detector.service.clock_log import ClockLog
from detector.service.incident_log import IncidentLog, log_decisions
from detector.service.loop_watch import LoopWatch
from detector.service.turn_observer import log_forgotten


class GroupObserver:
    """Receives every completed turn, on the loop's thread; `loop.is_alive` may be read from any.

    Args:
        metrics: of all models.
        group: the models.
        rules: how incidents of many series are folded in the log.
    """

    def __init__(self, metrics: GroupMetrics, group: EngineGroup, rules: FoldRules) -> None:
        self._metrics, self._group, self.fold = metrics, group, rules
        self._incidents = IncidentLog(rules)
        self._clocks: dict[Member, ClockLog] = {}
        self.loop = LoopWatch()

    def on_turn(self, turn: TurnOf[GroupResult]) -> None:
        """Take in one turn."""
        self.loop.note_turn()
        self._metrics.observe(turn)
        self.loop.tell(self._metrics.sources.ready(), self._status())
        for part in turn.result:
            clocks = self._clocks.setdefault(part.member, ClockLog())
            clocks.on_turn(part.member.engine, self._metrics.models[part.member.name].snapshot.latest)
            log_forgotten(part.result.forgotten)
            log_decisions(part.result.decisions)
        self._incidents.log([event for part in turn.result for event in part.result.incidents], self.fold)
        self._clocks = {member: log for member, log in self._clocks.items() if member in self._group.members}

    def _status(self) -> str:
        if not self._metrics.sources.ready():
            return "waiting for partitions and their state"
        snapshots = [metrics.snapshot for metrics in self._metrics.models.values()]
        num_open = sum(len(one.open_incidents) for one in snapshots)
        readings = sum(one.totals["readings"] for one in snapshots)
        return f"{readings:,.0f} readings processed by {len(snapshots)} models, {num_open} incidents open"
