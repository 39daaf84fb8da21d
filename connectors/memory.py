"""A source and a sink in memory, for tests and notebooks: no broker, no files, no waiting.

    >>> from connectors.memory import CRASH, MemorySink, MemorySource, readings_of
    >>> first = readings_of([("pump-1", 0, [20.5]), ("pump-1", 1_000_000_000, [20.7])])
    >>> second = readings_of([("pump-1", 2_000_000_000, [20.6])])
    >>> source = MemorySource([first, CRASH, second], channels=("temperature",))

A sink keeps what was written to it, and commits the position to the source:

    >>> sink = MemorySink(source)
    >>> def process(source, sink):
    ...     while (batch := source.poll(0.0)) is not None:
    ...         sink.write(batch.readings.values[:, 0].tolist(), batch)
    ...         sink.commit(batch.position)
    >>> process(source, sink)
    Traceback (most recent call last):
    connectors.memory.SimulatedCrashError: the list of this MemorySource has a CRASH here

A restarted process goes on behind the last commit:

    >>> process(source.restarted(), sink)
    >>> sink.results
    [[], [20.5, 20.7], [], [20.6]]

The first batch after a start is empty: it announces the partitions. The loop of the detector
(`detector.engine.loop.run`) takes both, in place of Kafka.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

import numpy as np

from connectors.errors import ConnectorError
from connectors.records import (
    Batch,
    Codec,
    Commits,
    Membership,
    Position,
    Readings,
    Reject,
    StreamSource,
)

Result = TypeVar("Result")


class Marker(Enum):
    """An event in the list of a MemorySource. It happens once, also if the readings before it come again.

    END     the input ends here: `poll` returns None; a restarted source goes on behind it
    CRASH   `poll` raises SimulatedCrashError, once everything before it was read
    PAUSE   `poll` returns an empty batch, as if nothing had arrived in time
    """

    END = "end"
    CRASH = "crash"
    PAUSE = "pause"


END: Final[Literal[Marker.END]] = Marker.END
CRASH: Final[Literal[Marker.CRASH]] = Marker.CRASH
PAUSE: Final[Literal[Marker.PAUSE]] = Marker.PAUSE


class SimulatedCrashError(ConnectorError):
    """Raised by a MemorySource at a CRASH."""


def readings_of(rows: Iterable[tuple[str, int, Sequence[float]]], partition: int = 0) -> Readings:
    """Return readings of plain rows.

    Args:
        rows: (series, timestamp in nanoseconds since the epoch, one value a channel). NaN is a missing value.
        partition: the partition of all rows.

    >>> readings_of([("a", 0, [1.0, 2.0]), ("b", 0, [3.0, 4.0])]).names
    ('a', 'b')
    """
    found = list(rows)
    code = {name: number for number, name in enumerate(dict.fromkeys(name for name, _, _ in found))}
    values = np.array([values for _, _, values in found], np.float64)
    return Readings(
        tuple(code),
        np.array([code[name] for name, _, _ in found], np.int32),
        np.array([timestamp_ns for _, timestamp_ns, _ in found], np.int64),
        values.reshape(len(found), -1),
        np.full(len(found), partition, np.int32),
        np.arange(len(found)),
    )


@dataclass(slots=True)
class _Log:
    """What outlives a source: the list with its offsets, how far it came at most, what is committed."""

    items: list[Batch | Marker]
    ends: dict[int, int]
    committed: dict[int, int] = field(default_factory=dict)
    num_reached: int = 0


class MemorySource:
    """A `StreamSource` over a list. `poll` never waits, and the input ends behind the last item.

    Every reading and every reject takes one offset of its partition, in the order of the list: readings of
    an item first. Offsets and positions of the items are replaced by these. All partitions in the list are
    assigned with the first batch, which is empty. `lost`, `assigned`, `deleted` and `tick_ns` of a Batch in
    the list are passed on, so a list can also script a rebalance.
    """

    def __init__(
        self,
        items: Iterable[Batch | Readings | Marker],
        channels: tuple[str, ...] = (),
        topic: str = "memory",
        awaits_start: bool = False,
    ) -> None:
        """Read `items` in their order.

        Args:
            items: batches or readings of the same channels, and markers.
            channels: the names of the columns; `use_codec` needs them to select other columns.
            topic: the topic in positions.
            awaits_start: read assigned partitions only after `read_from`, as the daemon does.
        """
        batches = [one if isinstance(one, Batch | Marker) else Batch(one) for one in items]
        self._log = _numbered(batches)
        self._channels, self._wanted = channels, channels
        self._topic, self._awaits_start = topic, awaits_start
        self._next: dict[int, int] = {}
        self._offered: frozenset[int] = frozenset()
        self._to_assign = frozenset(self._log.ends)
        self._is_over = self._has_ended = self._is_closed = False
        self._cursor = self.num_rebalances = 0

    def restarted(self) -> MemorySource:
        """Return a source as a restarted process has it: behind what is committed.

        Markers that this source has reached do not happen again.
        """
        again = MemorySource([], self._channels, self._topic, self._awaits_start)
        again._log, again._to_assign = self._log, frozenset(self._log.ends)
        return again

    def poll(self, timeout_seconds: float) -> Batch | None:
        """Return the next item as a batch, or None at the end.

        Raises:
            SimulatedCrashError: the next item is a CRASH.
        """
        if self._is_closed or self._has_ended:
            return None
        if self._to_assign:
            return self._assign()
        log = self._log
        while self._cursor < len(log.items):
            item, is_again = log.items[self._cursor], self._cursor < log.num_reached
            self._cursor += 1
            log.num_reached = max(log.num_reached, self._cursor)
            if isinstance(item, Batch):
                batch = self._unread(item)
                if not is_again:
                    return self._offer(batch) if batch.lost or batch.assigned else batch
                if batch.position:
                    return replace(batch, lost=frozenset(), assigned=frozenset(), deleted={})
            elif not is_again and item is not END:
                return self._happen(item)
            elif not is_again:
                break
        self._has_ended = True
        return None

    def close(self) -> None:
        """End the input; commit nothing."""
        self._is_closed = True

    @property
    def membership(self) -> Membership:
        """An empty membership: there is no group."""
        return Membership(None)

    @property
    def has_lost(self) -> bool:
        """Whether the next batch reports lost partitions, after `start_over`."""
        return self._is_over

    @property
    def is_assigned(self) -> bool:
        """Whether the partitions were assigned by a first `poll`, and none waits for `read_from`."""
        return self.num_rebalances > 0 and not self._offered and not self._is_closed

    @property
    def lag(self) -> Mapping[int, int]:
        """Partition -> readings and rejects not read yet."""
        return {number: self._log.ends[number] - at for number, at in self._next.items()}

    @property
    def lag_seconds(self) -> Mapping[int, float]:
        """Partition -> 0 if nothing is left to read; absent otherwise, since a list has no clock."""
        return {number: 0.0 for number, messages in self.lag.items() if not messages}

    def identity_of(self, partition: int) -> str:
        """Return nothing: a list in memory is never replaced."""
        return ""

    def read_from(self, starts: Mapping[int, int]) -> None:
        """Start the partitions of the last `Batch.assigned`, absent ones behind their last commit."""
        for number in self._offered:
            self._next[number] = starts.get(number, self._log.committed.get(number, 0))
        self._offered = frozenset()
        self._cursor = 0

    def committed(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        """Return the committed offset of each partition, None if nothing was ever committed."""
        return {number: self._log.committed.get(number) for number in partitions}

    def earliest(self, partitions: Collection[int]) -> Mapping[int, int]:
        """Return 0 for each partition: a list forgets nothing."""
        return dict.fromkeys(partitions, 0)

    def commit(self, position: Position) -> None:
        """Commit these offsets: a restarted source begins there."""
        self._log.committed |= {number: offset for (_, number), offset in position.items()}

    def delivered(self, position: Position) -> None:
        """Commit these offsets, as a transaction does together with its messages."""
        self.commit(position)

    def start_over(self) -> None:
        """Report all partitions as lost and assigned with the next batch; read on from what is committed."""
        self._to_assign = frozenset(self._log.ends)
        self._is_over = True

    def use_codec(self, codec: Codec) -> None:
        """Return the columns of these channels from now on, NaN for a channel that the list lacks.

        Readings are decoded already, so this does nothing if the source was made without `channels`.
        """
        self._wanted = codec.channels if self._channels else ()

    def _assign(self) -> Batch:
        assigned, self._to_assign = self._to_assign, frozenset()
        lost = assigned if self._is_over else frozenset()
        self._is_over = False
        self.num_rebalances += 1
        return self._offer(Batch(self._columns(self._empty()), lost=lost, assigned=assigned))

    def _offer(self, batch: Batch) -> Batch:
        """Start the batch's assigned partitions, or wait for `read_from`."""
        self._offered = batch.assigned
        for number in batch.lost | batch.assigned:
            self._next.pop(number, None)
        if batch.assigned and not self._awaits_start:
            self.read_from({})
        return batch

    def _happen(self, marker: Marker) -> Batch:
        if marker is CRASH:
            raise SimulatedCrashError("the list of this MemorySource has a CRASH here")
        return Batch(self._columns(self._empty()))

    def _unread(self, item: Batch) -> Batch:
        """Return what of an item was not read yet, of the partitions that are started."""
        readings = item.readings
        nexts = np.array([self._next.get(number, _NEVER) for number in readings.partition.tolist()], np.int64)
        left = readings.take(readings.offset >= nexts)
        rejects = tuple(one for one in item.rejects if one.offset >= self._next.get(one.partition, _NEVER))
        behind = _behind(left, rejects)
        self._next |= behind
        position = {(self._topic, number): offset for number, offset in behind.items()}
        return replace(item, readings=self._columns(left), rejects=rejects, position=position)

    def _columns(self, readings: Readings) -> Readings:
        """Return the readings with the wanted channels as columns."""
        if self._wanted == self._channels:
            return readings
        values = np.full((len(readings), len(self._wanted)), np.nan)
        for at, name in enumerate(self._wanted):
            if name in self._channels:
                values[:, at] = readings.values[:, self._channels.index(name)]
        return replace(readings, values=values)

    def _empty(self) -> Readings:
        batches = (item for item in self._log.items if isinstance(item, Batch))
        first = next(batches, None)
        return Readings.empty(len(self._channels) if first is None else first.readings.values.shape[1])


class MemorySink(Generic[Result]):
    """A sink that keeps results in memory. What is not committed is not in `results`, as after a crash.

    results   what was written and then committed, in order
    pending   what was written since the last commit
    commits   the position of each commit
    """

    def __init__(self, source: Commits | None = None) -> None:
        """`source` gets each committed position, so that reading resumes behind it."""
        self._source = source
        self.results: list[Result] = []
        self.pending: list[Result] = []
        self.commits: list[Position | None] = []

    def write(self, result: Result, batch: Batch) -> None:
        """Take the result of a batch."""
        self.pending.append(result)

    def commit(self, position: Position | None) -> None:
        """Move everything pending to `results`, then commit the position to the source."""
        self.results += self.pending
        self.pending = []
        self.commits.append(position)
        if self._source is not None and position:
            self._source.commit(position)

    def close(self) -> None:
        """Discard what is pending."""
        self.pending = []


_NEVER = np.iinfo(np.int64).max
"""An offset that no reading reaches: of partitions that are not started."""


def _numbered(items: list[Batch | Marker]) -> _Log:
    """Give every reading and reject its offset."""
    ends: dict[int, int] = {}
    numbered: list[Batch | Marker] = []
    for item in items:
        if isinstance(item, Batch):
            offset = np.empty(len(item.readings), np.int64)
            for row, number in enumerate(item.readings.partition.tolist()):
                offset[row] = ends[number] = ends.get(number, -1) + 1
            rejects = []
            for one in item.rejects:
                ends[one.partition] = ends.get(one.partition, -1) + 1
                rejects.append(replace(one, offset=ends[one.partition]))
            item = replace(item, readings=replace(item.readings, offset=offset), rejects=tuple(rejects))
        numbered.append(item)
    return _Log(numbered, {number: last + 1 for number, last in ends.items()} or {0: 0})


def _behind(readings: Readings, rejects: tuple[Reject, ...]) -> dict[int, int]:
    """Return the offset behind the last reading or reject of each partition."""
    behind: dict[int, int] = {}
    for number, offset in zip(readings.partition.tolist(), readings.offset.tolist(), strict=True):
        behind[number] = offset + 1
    for one in rejects:
        behind[one.partition] = max(behind.get(one.partition, 0), one.offset + 1)
    return behind


if TYPE_CHECKING:
    _: type[StreamSource] = MemorySource
