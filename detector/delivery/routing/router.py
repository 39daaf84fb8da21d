"""Route the messages of a batch to the models of a group; take out those of unassigned series.

The rule. A series that no model knows goes to the first model that fits it. Its patterns match the name, and
one message of the series had enough of its channels. The series stays there while that model knows it. Every
other series is *unassigned*. Its messages are counted, and they are neither judged nor dead letters. Where a
model has topics, messages from other topics are unassigned, whatever the name of their series.

A series begins with a message that has a value. Later a message without any value is a reading of its model,
as a fault of its sensors. One that has values of other models alone gives no reading: its values are
unknown ones, as for a process of one model.

The order of messages in a partition decides, and not how they are cut into batches.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch, Readings, Reject
from detector.delivery.routing.tally import Tally, Unassigned
from detector.delivery.unassigned import MOST_LOGGED, Begins, begins_of, messages_of
from detector.engine.group.columns import Columns
from detector.engine.group.member import Member

_MOST_NAMES = 10_000
_NOBODY = -1


class Group(Protocol):
    """The part of `detector.engine.group.group.EngineGroup` that a router needs."""

    @property
    def members(self) -> tuple[Member, ...]: ...

    @property
    def columns(self) -> Columns: ...

    def home_of(self, series: str) -> Member | None: ...

    def assign(self, series: str, member: Member) -> None: ...


class Router:
    """Assigns series to the models of a group. One thread calls `route`; any may read `unassigned`.

    Args:
        group: the models, and which series they know.
        most_logged: unassigned series that are logged, once each; further ones are not.
        numbers: of the partitions; None: those of one topic.
    """

    def __init__(
        self, group: Group, most_logged: int = MOST_LOGGED, numbers: PartitionNumbers | None = None
    ) -> None:
        self._group, self._numbers = group, numbers or PartitionNumbers("input")
        self._tally = Tally("[[models]]", most_logged)
        self._matching: dict[str, tuple[int, ...]] = {}
        self._asked: tuple[Member, ...] = ()
        self._number: dict[Member, int] = {}

    @property
    def unassigned(self) -> Unassigned:
        """What is unassigned now."""
        return self._tally.unassigned

    def forget_unassigned(self, names: Collection[str]) -> None:
        """Take that these series are judged elsewhere from now on."""
        self._tally.assign(names)

    def route(self, batch: Batch) -> Batch:
        """Return the batch without unassigned messages, and count these; the group learns new series.

        Args:
            batch: what was read, messages to replay included, in the columns of all models.
        """
        self._tally.begin(batch.tick_ns or 0)
        if self._asked != self._group.members:
            self._asked = self._group.members
            self._number = {member: at for at, member in enumerate(self._asked)}
            self._matching.clear()
        readings = batch.readings
        home, first, fits = self._homes(readings)
        is_own = home[readings.series] != _NOBODY
        keep = is_own & (np.arange(len(readings)) >= first[readings.series])
        for at, member in enumerate(self._asked):
            if member.topics:
                keep &= (home[readings.series] != at) | self._is_read(member, readings.partition)
        self._count_readings(readings, keep)
        begins = begins_of(readings, fits)
        rejects = tuple(one for one in batch.rejects if not self._count_reject(one, begins))
        self._assign(readings, home)
        self._tally.count_strangers(
            batch.strangers, self._is_own, lambda name: self._group.home_of(name) is not None
        )
        keep, num_unknown = self._without_strangers(readings, home, keep)
        num_unknown += batch.unknown_values
        if keep.all() and len(rejects) == len(batch.rejects):
            return replace(batch, unknown_values=num_unknown)
        self._tally.renew()
        kept = readings if keep.all() else readings.take(keep)
        return replace(batch, readings=kept, rejects=rejects, unknown_values=num_unknown)

    def _homes(self, readings: Readings) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.bool_]]:
        """Return the member of each name, -1 for none; the reading from which it judges; what fits it.

        intp [names], int64 [names], bool [readings]. The last one is of new series alone.
        """
        num = len(readings)
        home = np.full(len(readings.names), _NOBODY, np.intp)
        first = np.zeros(len(readings.names), np.int64)
        new = np.zeros(len(readings.names), np.bool_)
        for at, name in enumerate(readings.names):
            known = self._group.home_of(name)
            if known is None:
                new[at] = bool(self._members_of(name))
            elif known.matches(name):
                home[at] = self._number[known]
        first[new] = num
        return home, first, self._begin(readings, new, home, first)

    def _begin(
        self,
        readings: Readings,
        new: NDArray[np.bool_],
        home: NDArray[np.intp],
        first: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """Find members for new series, in place; return which readings fit the member of their series.

        Of several members that one message fits, the first is taken.
        """
        rows = np.flatnonzero(new[readings.series])
        fits = np.zeros(len(readings), np.bool_)
        if len(rows) == 0:
            return fits
        has, message = messages_of(_rows_of(readings, rows))
        series, fitting = readings.series[rows], []
        for at, own in enumerate(self._group.columns.own):
            matches = np.array([at in self._members_of(name) for name in readings.names], np.bool_)
            enough = has[:, own].sum(axis=1)[message] >= self._asked[at].least_channels
            is_read = self._is_read(self._asked[at], readings.partition[rows])
            fitting.append(rows[enough & matches[series] & is_read])
            begin = np.full(len(readings.names), len(readings), np.int64)
            np.minimum.at(begin, readings.series[fitting[at]], fitting[at])
            home[begin < first] = at
            np.minimum(first, begin, out=first)
        for at, some in enumerate(fitting):
            fits[some[home[readings.series[some]] == at]] = True
        return fits

    def _is_read(self, member: Member, partitions: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which partitions are of topics that a member reads, bool [n]."""
        if not member.topics:
            return np.ones(len(partitions), np.bool_)
        own = [
            number
            for number in np.unique(partitions).tolist()
            if member.reads(self._numbers.topic_of(number))
        ]
        return np.isin(partitions, own)

    def _members_of(self, name: str) -> tuple[int, ...]:
        """Return the members whose patterns match a name."""
        found = self._matching.get(name)
        if found is None:
            if len(self._matching) >= _MOST_NAMES:
                self._matching.clear()
            found = tuple(at for at, member in enumerate(self._asked) if member.matches(name))
            self._matching[name] = found
        return found

    def _assign(self, readings: Readings, home: NDArray[np.intp]) -> None:
        """Tell the group which member judges each series, and forget that it was unassigned."""
        names = []
        for name, at in zip(readings.names, home.tolist(), strict=True):
            if at != _NOBODY:
                self._group.assign(name, self._asked[at])
                names.append(name)
        self._tally.assign(names)

    def _without_strangers(
        self, readings: Readings, home: NDArray[np.intp], keep: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], int]:
        """Leave out readings that have values of other models alone; count all values of other models."""
        if not keep.any() or len(self._asked) == 1:
            return keep, 0
        rows = np.flatnonzero(keep)
        has = ~np.isnan(readings.values[rows])
        own = self._group.columns.masks()[home[readings.series[rows]]]
        is_strange = (has & ~own).any(axis=1) & ~(has & own).any(axis=1)
        kept = keep.copy()
        kept[rows[is_strange]] = False
        return kept, int(np.count_nonzero(has & ~own))

    def _count_readings(self, readings: Readings, keep: NDArray[np.bool_]) -> None:
        left = np.flatnonzero(~keep)
        keys = readings.series[left].astype(np.int64) << 32 | readings.partition[left]
        found, counts = np.unique(keys, return_counts=True)
        for key, num in zip(found.tolist(), counts.tolist(), strict=True):
            name, topic = readings.names[key >> 32], self._numbers.topic_of(key & 0xFFFFFFFF)
            if self._is_own(name, topic):
                self._tally.count(name, "channels", num)
            else:  # a series of this name may be assigned in another topic
                self._tally.count(f"{name} in topic {topic}" if self._is_own(name) else name, "name", num)

    def _is_own(self, name: str, topic: str | None = None) -> bool:
        """Return whether a series may be one of the group, by its name and, where it is known, its topic."""
        known = self._group.home_of(name)
        members = [self._asked[at] for at in self._members_of(name)] if known is None else [known]
        matching = members if known is None or known.matches(name) else []
        return any(topic is None or member.reads(topic) for member in matching)

    def _count_reject(self, reject: Reject, begins: Begins) -> bool:
        """Return whether a rejected message is of unassigned series alone; then it is counted for each."""

        def is_own(name: str) -> bool:
            return self._is_own(name, reject.topic)

        def is_assigned(name: str) -> bool:
            first = begins.get((name, reject.partition))
            has_begun = first is not None and first <= reject.offset
            return is_own(name) and (has_begun or self._group.home_of(name) is not None)

        return self._tally.count_reject(reject, is_own, is_assigned)


def _rows_of(readings: Readings, rows: NDArray[np.intp]) -> Readings:
    """Return some of the readings, with all names."""
    return Readings(
        readings.names,
        readings.series[rows],
        readings.timestamp_ns[rows],
        readings.values[rows],
        readings.partition[rows],
        readings.offset[rows],
    )
