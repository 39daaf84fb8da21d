"""Several engines in one process: each series is judged by one of them.

The engines share nothing. Each gets the readings of its series in order of arrival, in the columns of its own
model. Its results are therefore equal to the bit to those of a process of its own. Which engine judges
a series is decided before (`detector.delivery.routing`), and stays so while that engine knows the series.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from connectors.records import Readings
from detector.engine.engine import Changed, StepResult, knows
from detector.engine.group.columns import Columns
from detector.engine.group.member import GroupResult, Member, Part
from detector.engine.group.states import Owners, changed_of, save
from detector.engine.snapshot import SeriesState
from detector.engine.values import Forgotten
from detector.errors import DetectorError
from detector.incidents.decision import Decision

IDLE_NS = 10**9
"""An engine without readings looks at the clock once in so long."""


class EngineGroup:
    """Scores the series of several models. It is used like an engine; not thread-safe.

    Args:
        members: their names differ; none where a fallback judges everything.

    Raises:
        DetectorError: two models have one name, which saved states and incidents carry.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self._members: list[Member] = []
        self._home: dict[str, Member] = {}
        self._source, self._decided = 0, list[tuple[int, Decision]]()
        self._ticked, self._young = dict[Member, int](), dict[Member, int]()
        self._has_dropped = False
        self.owners = Owners()
        for member in members:
            _check(self._members, member)
            self._members.append(member)
        self.renew()

    @property
    def members(self) -> tuple[Member, ...]:
        """The models, in the order in which they are asked."""
        return tuple(self._members)

    @property
    def columns(self) -> Columns:
        """The channels of all models: the columns of readings that `step` takes."""
        return self._columns

    @property
    def forgotten(self) -> tuple[Forgotten, ...]:
        """What the last step forgot. `slot` is the number within the engine of the series."""
        return tuple(one for member in self._members for one in member.engine.forgotten)

    @property
    def names(self) -> Collection[str]:
        """The series that some engine knows."""
        return [name for member in self._members for name in member.engine.latest.names]

    def renew(self) -> None:
        """Take in that members came or went, or that a model has other channels."""
        self._columns = Columns.of([member.channels for member in self._members])

    def home_of(self, series: str) -> Member | None:
        """Return the member whose engine knows a series."""
        home = self._home.get(series)
        return home if home is not None and knows(home.engine, series) else None

    def assign(self, series: str, member: Member) -> None:
        """Let a member judge a series that no engine knows."""
        self._home[series] = member

    def step(self, readings: Readings, now_ns: int | None = None) -> GroupResult:
        """Take readings of assigned series; return what became final.

        Args:
            readings: in order of arrival, in the columns of all models.
            now_ns: the service's time; see `Engine.step`. An engine without readings may be passed over for
                up to a second.
        """
        parts = []
        self._young = {one: left - len(readings) for one, left in self._young.items() if left > 0}
        own = dict(self._split(readings))
        for member in self._members:
            taken = own.get(member)
            if taken is None and not self._is_due(member, now_ns):
                member.engine.forgotten = ()
                continue
            taken = Readings.empty(len(member.channels)) if taken is None else taken
            result = member.engine.step(taken, now_ns)
            self._ticked[member] = now_ns or 0
            if len(taken) or _tells(result):
                parts.append(Part(member, taken, result))
        self._forget()
        return tuple(parts)

    def step_in_silence(self, readings: Readings) -> None:
        """Replay readings that were scored before; see `Engine.step_in_silence`."""
        for member, taken in self._split(readings):
            member.engine.step_in_silence(taken)

    def flush(self) -> GroupResult:
        """Close every open row, because the input has ended."""
        found = [(member, member.engine.flush()) for member in self._members]
        return tuple(
            Part(member, Readings.empty(len(member.channels)), result)
            for member, result in found
            if _tells(result)
        )

    def decide(self, decisions: Sequence[tuple[int, Decision]], source: int = 0) -> None:
        """Take decisions of people; see `Engine.decide`. Each engine heeds those on its series."""
        if source != self._source:
            self._source, self._decided = source, []
        self._decided += decisions
        for member in self._members:
            member.engine.decide(decisions, source)

    def drop(self, partitions: Collection[int]) -> None:
        """Forget the series of partitions that another process reads from now on."""
        if not partitions:
            return
        for member in self._members:
            member.engine.drop(partitions)
        self._has_dropped = True  # a reading of this batch may still come from another partition

    def note_replay(self, is_replaying: bool) -> None:
        """Take whether a partition is being replayed; see `Engine.note_replay`."""
        for member in self._members:
            member.engine.note_replay(is_replaying)

    def changed(self) -> Changed:
        """Return the series that have changed since they were saved; the slots are numbers for `save`."""
        for member in self._young:
            member.engine.save_all_soon()
        return changed_of(self._members)

    def save_all_soon(self) -> None:
        """Make every series urgent to save, because what was saved is gone."""
        for member in self._members:
            member.engine.save_all_soon()

    def save(self, slots: NDArray[np.int32]) -> list[SeriesState]:
        """Return the state of these series of `changed`, by ascending slot."""
        return save(self._members, slots)

    def owner_of(self, state: SeriesState) -> Member | None:
        """Return the member that continues a saved series; see `Owners`."""
        return self.owners.of(self._members, state)

    def is_matched(self, series: str) -> bool:
        """Return whether the name of a series matches the patterns of a model, other than a fallback."""
        return any(member.matches(series) for member in self._members)

    def restore(self, states: Sequence[SeriesState], partition: int, now_ns: int | None) -> None:
        """Continue series of one partition from saved states; each by the engine of its model.

        Raises:
            ValueError: as `Engine.restore`.
        """
        by_owner: dict[Member, list[SeriesState]] = {}
        for state in states:
            owner = self.owner_of(state)
            if owner is not None:
                by_owner.setdefault(owner, []).append(state)
        for owner, own in by_owner.items():
            owner.engine.restore(own, partition, now_ns)
            for state in own:
                self._home[state.name] = owner

    def add(self, member: Member, num_readings: int) -> None:
        """Take in a further model as the last one. Raises DetectorError.

        Args:
            member: the model.
            num_readings: for so many readings of all models, its series are urgent to save after each step.
        """
        _check(self._members, member)
        self._young[member] = num_readings
        member.engine.decide(self._decided, self._source)
        self._members.append(member)
        self.renew()

    def arrange(self, members: Sequence[Member]) -> None:
        """Ask the members in this order from now on, and take in their channels; fallbacks stay the last."""
        self._members = [*members, *(one for one in self._members if one.is_fallback)]
        self.renew()

    def remove(self, member: Member) -> None:
        """Take out a model; its series are of no engine from now on."""
        self._members.remove(member)
        self.owners.leave(member)
        for known in (self._ticked, self._young):
            known.pop(member, None)
        self._home = {name: home for name, home in self._home.items() if home is not member}
        self.renew()

    def _split(self, readings: Readings) -> Iterator[tuple[Member, Readings]]:
        """Yield the readings of each member that has some."""
        if not len(readings):
            return
        number: dict[Member | None, int] = {member: at for at, member in enumerate(self._members)}
        homes = np.array([number[self._home.get(name)] for name in readings.names], np.intp)[readings.series]
        for at in np.unique(homes).tolist():
            yield self._members[at], _columns_of(readings.take(homes == at), self._columns.own[at])

    def _is_due(self, member: Member, now_ns: int | None) -> bool:
        """Return whether an engine without readings is to look at the clock."""
        return now_ns is not None and abs(now_ns - self._ticked.get(member, 0)) >= IDLE_NS

    def _forget(self) -> None:
        """Forget where the series were that no engine knows any more."""
        if self._has_dropped:
            self._home = {name: home for name, home in self._home.items() if knows(home.engine, name)}
            self._has_dropped = False
        for one in self.forgotten:
            self._home.pop(one.name, None)


def _check(members: Sequence[Member], member: Member) -> None:
    if any(member.name == one.name for one in members):
        raise DetectorError(
            f"[[models]]: two of them are called {member.name!r}; give one of them a `name` of its own"
        )


def _columns_of(readings: Readings, columns: NDArray[np.intp]) -> Readings:
    return Readings(
        readings.names,
        readings.series,
        readings.timestamp_ns,
        readings.values[:, columns],
        readings.partition,
        readings.offset,
    )


def _tells(result: StepResult) -> bool:
    """Return whether a step had any result."""
    return bool(
        len(result.verdicts)
        or len(result.provisional)
        or result.incidents
        or result.decisions
        or result.forgotten
    )
