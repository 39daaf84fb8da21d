"""Find series whose readings come from several partitions: their producer sends no key.

There is no order between partitions. So the readings of such a series come out of order, and many are late.

The rule. A series lies in the partition of its newest reading by event time. Two signs speak against it.
A newer reading comes from a partition that the series had left. Or a reading of another partition is from the
time after the series came to its present one. After three signs within the memory the series is *split*.
A series that moves, because partitions were added, gives no sign: all that is left in its old partition is
older. Of several topics one must have all readings of a series, so that one from another topic is enough.
A series is no longer split when it has kept to one partition for as long as the memory.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch, Readings
from detector import logs
from detector.rows.series_arrays import SeriesIndex

MEMORY_NS = 600 * 10**9
"""Least time for which signs count, and for which a series stays split."""
_MEMORY_ROWS = 20
_SIGNS = 3
_MOST_WALKS = 1_000
_NAMES = 10
_MOST_WARNINGS = 20
_ONE_TOPIC = "let the producers use the series as the key of their messages"
_SEVERAL_TOPICS = (
    'a series must come from one topic: put the topic into its name with `series = ["topic", "$.series"]` in'
    " [input], or let one topic have it; within a topic, the series must be the key of the messages"
)
_NOWHERE = -1
_NEVER = np.iinfo(np.int64).min
_UNKNOWN = np.array([[_NOWHERE], [0], [0], [0], [0], [0]], np.int64)
"""The state of a series of which nothing is known yet, a column of the table."""


@dataclass(frozen=True, slots=True)
class Split:
    """Hold how many series are split, and the names of some of them."""

    num: int = 0
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class _Walk:
    """Follow one series through the readings of a batch, in the order of event time.

    partition  where the series lies
    since      event time of its first reading from there, nanoseconds
    newest     event time of its newest reading
    left       the partitions that it left within the memory, with the time of the service's clock
    """

    partition: int
    since: int
    newest: int
    left: dict[int, int]

    def signs(self, partitions: Sequence[int], times: Sequence[int], slack: int, now: int) -> int:
        """Take readings sorted by time; return the signs found, and stop when they are enough."""
        found = 0
        for partition, at in zip(partitions, times, strict=True):
            if partition == self.partition:
                self.newest = max(self.newest, at)
            elif at > self.newest:
                found += partition in self.left
                self.left[self.partition] = now
                self.partition, self.since, self.newest = partition, at, at
            elif at > self.since + slack:
                found += 1
            if found >= _SIGNS:
                break
        return found


class SeriesPartitions:
    """Watches which partition each series comes from. One thread calls `notice`; any may read `split`.

    A batch without surprises costs a lookup of each name and a comparison of whole columns. It sees the
    partitions of this process alone.

    Args:
        slack_ns: readings may be out of order by so much; nanoseconds.
        interval_ns: the sampling interval; the memory is at least 20 of them, and at least ten minutes.
        numbers: of the partitions; None: those of one topic.
    """

    def __init__(self, slack_ns: int, interval_ns: int, numbers: PartitionNumbers | None = None) -> None:
        self._numbers = numbers or PartitionNumbers("input")
        self._slack, self._memory = slack_ns, max(MEMORY_NS, _MEMORY_ROWS * interval_ns)
        self.split = Split()
        self._left: dict[int, dict[int, int]] = {}
        self._num_warnings, self._warned_at = 0, 0
        self._clear()

    def notice(self, batch: Batch) -> None:
        """Take the readings of a batch; log series that are split from now on."""
        now, readings = batch.tick_ns or 0, batch.readings
        if batch.lost:
            self._forget(batch.lost)
        if len(readings):
            slots = self._slots(readings.names)[readings.series]
            self._begin(slots, readings)
            away = self._partition[slots] != readings.partition
            if away.any():
                self._look(slots, away, readings, now)
            else:
                np.maximum.at(self._newest, slots, readings.timestamp_ns)
        self._count(now)

    def forget(self, names: Collection[str]) -> None:
        """Forget series that have vanished."""
        if gone := [name for name in names if name in self._index]:
            slots = self._index.of(gone)
            self._index.drop(slots.tolist())
            self._table[:, slots] = _UNKNOWN
            for slot in slots.tolist():
                self._left.pop(slot, None)

    def _look(self, slots: NDArray[np.int64], away: NDArray[np.bool_], readings: Readings, now: int) -> None:
        """Take a batch in which some readings, bool [n], are not from where their series lies."""
        again = away & (self._split_at[slots] > 0)
        self._split_at[slots[again]] = now
        self._partition[slots[again]] = readings.partition[again]
        odd = np.unique(slots[away & ~again])[:_MOST_WALKS]
        calm = ~np.isin(slots, odd)
        np.maximum.at(self._newest, slots[calm], readings.timestamp_ns[calm])
        order = np.flatnonzero(~calm)
        order = order[np.lexsort((readings.timestamp_ns[order], slots[order]))]
        ends = np.searchsorted(slots[order], odd, side="right").tolist()
        partitions, times = readings.partition[order].tolist(), readings.timestamp_ns[order].tolist()
        told = [
            slot
            for slot, begin, end in zip(odd.tolist(), [0, *ends][:-1], ends, strict=True)
            if self._walk(slot, partitions[begin:end], times[begin:end], now)
        ]
        if told:
            self._tell(told, now)

    def _walk(self, slot: int, partitions: Sequence[int], times: Sequence[int], now: int) -> bool:
        """Take the readings of one series; return whether it is split from now on."""
        left = {at: since for at, since in self._left.get(slot, {}).items() if now - since < self._memory}
        walk = _Walk(int(self._partition[slot]), int(self._since[slot]), int(self._newest[slot]), left)
        if walk.newest == _NEVER:  # a new series: it begins where its oldest reading is from
            walk = _Walk(partitions[0], times[0], times[0], left)
        topics = self._numbers.topics_of({*partitions, walk.partition})
        signs = walk.signs(partitions, times, self._slack, now)
        if len(topics) > 1:
            signs = _SIGNS
        self._partition[slot], self._since[slot] = walk.partition, walk.since
        self._newest[slot] = walk.newest
        self._left[slot] = walk.left
        if signs:
            before = self._signs[slot] if now - self._sign_at[slot] < self._memory else 0
            self._signs[slot], self._sign_at[slot] = before + signs, now
        if not signs or self._signs[slot] < _SIGNS:
            return False
        self._split_at[slot], self._signs[slot] = max(now, 1), 0
        self._left.pop(slot)
        return True

    def _tell(self, slots: list[int], now: int) -> None:
        """Log what is new, in a bounded number of lines."""
        if self._num_warnings >= _MOST_WARNINGS and now - self._warned_at < self._memory:
            return
        self._num_warnings, self._warned_at = self._num_warnings + 1, now
        logs.event(
            "series come from several partitions: their readings are out of order, and many are late",
            logging.WARNING,
            series=[self._index.names[slot] for slot in slots[:_NAMES]],
            num_series=len(slots),
            remedy=_ONE_TOPIC if self._numbers.topic else _SEVERAL_TOPICS,
        )

    def _count(self, now: int) -> None:
        """Take out series that have kept to one partition for long enough, and publish the others."""
        if not self.split.num and not self._split_at.any():
            return
        self._split_at[now - self._split_at >= self._memory] = 0
        slots = np.flatnonzero(self._split_at)
        before, self.split = (
            self.split,
            Split(len(slots), tuple(self._index.names[slot] for slot in slots[:_NAMES].tolist())),
        )
        if before.num and not self.split.num:
            logs.event("every series comes from one partition again")

    def _begin(self, slots: NDArray[np.int64], readings: Readings) -> None:
        """Note where series lie that have no partition yet: where the first of their readings is from."""
        new = np.flatnonzero(self._partition[slots] == _NOWHERE)
        if len(new):
            backwards = slots[new][::-1]  # of equal slots the last one assigned wins: the first reading
            self._partition[backwards] = readings.partition[new][::-1]
            self._since[backwards], self._newest[backwards] = readings.timestamp_ns[new][::-1], _NEVER
            own = new[self._partition[slots[new]] == readings.partition[new]]
            np.minimum.at(self._since, slots[own], readings.timestamp_ns[own])

    def _slots(self, names: tuple[str, ...]) -> NDArray[np.int64]:
        """Return the number of each series, int64 [names]; new ones are appended."""
        found = self._index.of(names).astype(np.int64)
        self._make_room(self._index.size)
        return found

    def _make_room(self, num: int) -> None:
        has = self._table.shape[1]
        if num > has:
            more = np.repeat(_UNKNOWN, 2 * num - has, axis=1)
            self._use(np.concatenate([self._table, more], axis=1))

    def _use(self, table: NDArray[np.int64]) -> None:
        """Keep the state of all series in this table, int64 [6, slots]; the columns are views."""
        self._table = table
        self._partition, self._since, self._newest, self._signs, self._sign_at, self._split_at = table

    def _forget(self, lost: Collection[int]) -> None:
        """Forget where series of these partitions lie: another process reads them, or this one again."""
        self._partition[np.isin(self._partition, list(lost))] = _NOWHERE
        if (self._partition == _NOWHERE).all() and not self.split.num:
            self._clear()

    def _clear(self) -> None:
        self._index = SeriesIndex()
        self._left.clear()
        self._use(np.empty((6, 0), np.int64))
