"""Recovery: what a member leaves in the state topic, and how its successor goes on from there.

Saved state is a snapshot a series, each with the offset up to which it holds, written in the transaction of
the batch after which it was taken; and a mark a partition: how far it was read, and the oldest offset from
which some series must be fed again. On assignment the snapshots are restored and the partition is read from
that offset: readings that a snapshot holds are skipped, the others below the committed offset are judged
with all output suppressed, and from there on everything is live. The engine is deterministic, so what comes
is what would have come. Series are saved when their snapshot is `max_replay_rows` / 2 messages of the
partition old, a few at each batch, so that no more than `max_replay_rows` are ever read again.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from connectors.records import Batch, Message, Readings
from detector import logs
from detector.delivery.deleted_input import Deletions
from detector.engine.engine import Changed, Engine
from detector.engine.snapshot import SeriesState, decode_state, encode_state

_FEWEST = 16
MARK = b""
"""The key of a partition's mark; no series has an empty name."""


class Mark(msgspec.Struct):
    """next: the offset to read next; before: what it was a batch earlier; replay_from: the oldest reading
    that some snapshot lacks."""

    next: int
    before: int
    replay_from: int


class Log(Protocol):
    """What recovery asks of the source: offsets of partitions of the input topic."""

    def committed(self, partitions: Collection[int]) -> Mapping[int, int | None]: ...

    def earliest(self, partitions: Collection[int]) -> Mapping[int, int]: ...

    def read_from(self, starts: Mapping[int, int]) -> None: ...


ReadState = Callable[[Iterable[int]], Mapping[int, Mapping[bytes, bytes]]]


@dataclass(slots=True)
class _Replay:
    """A partition that is being read again up to `until`; `holds` is the offset of each snapshot."""

    until: int
    begun: float
    holds: dict[str, int] = field(default_factory=dict)
    readings: int = 0


class Recovery:
    """Saves the engine's state to a topic and restores it from there. Not thread-safe."""

    def __init__(
        self,
        read_state: ReadState,
        topic: str,
        source: str,
        max_replay_rows: int,
        deletions: Deletions | None = None,
    ) -> None:
        """`topic` holds the state, `source` is the input topic."""
        self._deletions = deletions or Deletions()
        self._read_state, self._topic, self._input = read_state, topic, source
        self._stride = max(1, max_replay_rows // 2)
        self._replays: dict[int, _Replay] = {}
        self._next: dict[int, int] = {}
        self._before: dict[int, int] = {}
        self.replayed = 0

    @property
    def is_replaying(self) -> bool:
        """Whether some partition is not live yet."""
        return bool(self._replays)

    @property
    def num_replaying(self) -> int:
        """Partitions that are not live yet."""
        return len(self._replays)

    def standing(self) -> dict[tuple[str, int], int]:
        """Where each partition that is live stands."""
        live = self._next.keys() - self._replays.keys()
        return {(self._input, partition): self._next[partition] for partition in live}

    def prepare(self, source: Log, engine: Engine, batch: Batch) -> Batch:
        """Forget what the member has lost, take up what it was assigned, judge in silence what was judged
        before; return the part of the batch that is live."""
        self._deletions.notice(batch.deleted, {number: one.until for number, one in self._replays.items()})
        engine.drop(batch.lost)
        for partition in batch.lost:
            self._forget(partition)
        if batch.assigned:
            source.read_from(self.restore(engine, source, batch.assigned, batch.tick_ns))
        silent, live = self.split(batch)
        if silent is not None and len(silent):
            engine.step_in_silence(silent)
        return live

    def restore(
        self, engine: Engine, log: Log, partitions: Collection[int], now_ns: int | None
    ) -> dict[int, int]:
        """Take up newly assigned partitions; return the offsets from which they are to be read. Partitions
        that nobody has read yet are absent. What the engine knew of them must have been dropped."""
        if not partitions:
            return {}
        began = time.monotonic()
        committed = log.committed(partitions)
        saved = self._read_state(partitions)
        earliest = log.earliest(partitions)
        starts = {}
        for partition in sorted(partitions):
            self._forget(partition)
            found = self._take_up(
                engine, partition, dict(saved.get(partition, {})), committed.get(partition), now_ns
            )
            if found is not None:
                starts[partition] = self._from(partition, found, earliest.get(partition, 0), began)
            else:
                logs.event("partition taken up", partition=partition, committed="nothing yet")
        return starts

    def split(self, batch: Batch) -> tuple[Readings | None, Batch]:
        """The readings to be judged in silence (None: none), and the batch that is live."""
        if not self._replays:
            self._move(batch.position or {})
            return None, batch
        until = np.zeros(1 + max(self._replays), np.int64)
        for partition, replay in self._replays.items():
            until[partition] = replay.until
        readings = batch.readings
        number = readings.partition
        old = readings.offset < until[np.minimum(number, len(until) - 1)] * (number < len(until))
        silent = _take(readings, old & ~self._is_held(readings, old))
        rejects = tuple(
            one
            for one in batch.rejects
            if one.partition not in self._replays or one.offset >= self._replays[one.partition].until
        )
        position = {
            key: at for key, at in (batch.position or {}).items() if self._is_live(key[1], at, silent)
        }
        self._move(position)
        live = replace(batch, readings=_take(readings, ~old), rejects=rejects, position=position)
        self.replayed += len(silent)
        return silent, live

    def save(self, engine: Engine, position: Mapping[tuple[str, int], int]) -> list[Message]:
        """What to write with a batch after which the partitions stand at `position`."""
        changed = engine.changed()
        due = self._due(changed, position)
        messages = []
        order = np.argsort(changed.slot[due])
        partitions = changed.partition[due][order].tolist()
        for state, partition in zip(engine.save(changed.slot[due]), partitions, strict=True):
            value = encode_state(state, self._next[partition])
            messages.append(Message(self._topic, state.name.encode(), value, (), partition))
        rest = _oldest(changed, ~due)
        for (_, partition), at in position.items():
            mark = Mark(at, self._before[partition], rest.get(partition, at))
            messages.append(Message(self._topic, MARK, msgspec.json.encode(mark), (), partition))
        return messages

    def _move(self, position: Mapping[tuple[str, int], int]) -> None:
        for (_, partition), at in position.items():
            self._before[partition] = self._next.get(partition, at)
            self._next[partition] = at

    def _forget(self, partition: int) -> None:
        for known in (self._replays, self._next, self._before):
            known.pop(partition, None)

    def _take_up(
        self,
        engine: Engine,
        partition: int,
        records: dict[bytes, bytes],
        committed: int | None,
        now_ns: int | None,
    ) -> tuple[int, int, dict[str, int]] | None:
        """(where to read from, up to where in silence, what each snapshot holds), None: as if new."""
        mark = _mark_of(records.pop(MARK, None))
        at = committed if committed is not None else mark.next if mark else None
        if at is None:
            return None
        if mark is None:
            return at, at, {}
        if mark.before <= at < mark.next:
            at = mark.next  # the batch's outputs are out; its offsets were not seen or not committed any more
        if at < mark.before:
            logs.event(
                "offsets were set back: starting without state",
                logging.WARNING,
                partition=partition,
                committed=at,
                state_at=mark.next,
            )
            return at, at, {}
        states, holds = self._decoded(engine, records)
        try:
            engine.restore(states, partition, now_ns)
        except ValueError as error:
            logs.event("saved state does not fit", logging.WARNING, partition=partition, error=str(error))
            return at, at, {}
        return min(mark.replay_from, at), at, holds

    def _decoded(
        self, engine: Engine, records: Mapping[bytes, bytes]
    ) -> tuple[list[SeriesState], dict[str, int]]:
        states, holds = [], {}
        for key, value in records.items():
            name = key.decode(errors="replace")
            found = decode_state(name, value)
            if found is not None:
                states.append(found[0])
                if found[0].origin.grid == engine.origin.grid:  # else nothing of its readings is taken up
                    holds[name] = found[1]
        return states, holds

    def _from(
        self, partition: int, found: tuple[int, int, dict[str, int]], earliest: int, began: float
    ) -> int:
        """Remember the replay; notice what retention has deleted."""
        start, until, holds = found
        if earliest > start:
            self._deletions.notice({partition: (start, earliest)}, {partition: until})
            start = earliest
        if start < until:
            self._replays[partition] = _Replay(until, began, holds)
        else:
            self._next[partition] = start
        logs.event(
            "partition taken up",
            partition=partition,
            series=len(holds),
            replay_from=start,
            committed=until,
            seconds=round(time.monotonic() - began, 3),
        )
        return start

    def _is_held(self, readings: Readings, old: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which old readings a restored snapshot holds already."""
        if not old.any():
            return old
        partition_of = np.zeros(len(readings.names), np.int64)
        partition_of[readings.series] = readings.partition
        holds = [
            self._replays[partition].holds.get(name, 0) if partition in self._replays else 0
            for name, partition in zip(readings.names, partition_of.tolist(), strict=True)
        ]
        held: NDArray[np.bool_] = readings.offset < np.array(holds, np.int64)[readings.series]
        return held

    def _is_live(self, partition: int, at: int, silent: Readings) -> bool:
        """Whether the partition has reached what was committed; ends its replay then."""
        replay = self._replays.get(partition)
        if replay is None:
            return True
        replay.readings += int((silent.partition == partition).sum())
        if at < replay.until:
            return False
        del self._replays[partition]
        self._next[partition] = replay.until
        logs.event(
            "partition live",
            partition=partition,
            replayed=replay.readings,
            seconds=round(time.monotonic() - replay.begun, 3),
        )
        return at > replay.until

    def _due(self, changed: Changed, position: Mapping[tuple[str, int], int]) -> NDArray[np.bool_]:
        """Which series to save now: a fair share of those that are half of the bound old, the oldest first,
        and all that are urgent."""
        at = np.array([self._next.get(p, -1) for p in changed.partition.tolist()], np.int64)
        age = np.where((at < 0) | (changed.since < 0), -1, at - changed.since)
        moved = sum(now - self._before.get(partition, now) for (_, partition), now in position.items())
        share = max(_FEWEST, math.ceil(len(age) * moved / self._stride))
        old = np.flatnonzero(age >= self._stride)
        chosen = (age >= 1.5 * self._stride) | (changed.urgent & (at >= 0))
        chosen[old[np.argsort(-age[old], kind="stable")[:share]]] = True
        return chosen


def _mark_of(data: bytes | None) -> Mark | None:
    try:
        return None if data is None else msgspec.json.decode(data, type=Mark)
    except msgspec.MsgspecError:
        return None


def _oldest(changed: Changed, rows: NDArray[np.bool_]) -> dict[int, int]:
    """The oldest `since` of each partition among the masked rows."""
    rows = rows & (changed.since >= 0)
    partition, since = changed.partition[rows], changed.since[rows]
    return {number: int(since[partition == number].min()) for number in np.unique(partition).tolist()}


def _take(readings: Readings, rows: NDArray[np.bool_]) -> Readings:
    """Some of the readings; the names of series stay in use only where a reading is left."""
    present, series = np.unique(readings.series[rows], return_inverse=True)
    return Readings(
        tuple(readings.names[at] for at in present.tolist()),
        series.astype(np.int32),
        readings.timestamp_ns[rows],
        readings.values[rows],
        readings.partition[rows],
        readings.offset[rows],
    )
