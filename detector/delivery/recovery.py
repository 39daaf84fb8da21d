"""Save the engine's state to a topic, and resume from it after a restart or a rebalance.

What is saved. A snapshot for each series, with the offset up to which it contains readings. It is written in
the transaction of the batch after which it was taken. A mark for each partition (`detector.delivery.marks`).

When it is saved. A series is due when its snapshot is `max_replay_rows` / 2 messages of the partition old. A
few series are saved with each batch, so that a replay never reads more than `max_replay_rows` messages.

How a partition is resumed. Its snapshots are restored, and reading starts at the mark's `replay_from`.
Readings that a snapshot contains are skipped. The others before the committed offset are replayed without
output (`detector.delivery.progress`). From the committed offset on, results are published. The engine is
deterministic, so the results are those of an undisturbed run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec
import numpy as np

from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch, Message, Position
from detector import logs
from detector.delivery.deleted_input import Deletions
from detector.delivery.marks import (
    MARK,
    Mark,
    Resume,
    decode_mark,
    oldest_unsaved,
    published_until,
    series_due,
)
from detector.delivery.progress import Progress
from detector.delivery.saved.state_topic import StateTopic
from detector.delivery.tombstones import Tombstones
from detector.engine.group.resumable import Resumable, known_names, owner_of
from detector.engine.snapshot import SeriesState, decode_state, encode_state


class OffsetLog(Protocol):
    """The part of `connectors.records.StreamSource` that recovery needs."""

    def committed(self, partitions: Collection[int]) -> Mapping[int, int | None]: ...

    def earliest(self, partitions: Collection[int]) -> Mapping[int, int]: ...

    def read_from(self, starts: Mapping[int, int]) -> None: ...

    def identity_of(self, partition: int) -> str: ...


ReadState = Callable[[Iterable[int]], Mapping[int, Mapping[bytes, bytes]]]
"""Return partition -> key -> newest value of the state topic."""


@dataclass(frozen=True, slots=True)
class Saved:
    """Hold the saved state of a partition.

    mark    None where nothing was saved
    states  the snapshots of its series
    holds   series -> offset up to which its snapshot has its readings
    """

    mark: Mark | None
    states: list[SeriesState]
    holds: dict[str, int]

    @classmethod
    def of(cls, engine: Resumable, records: Mapping[bytes, bytes]) -> Saved:
        """Decode the records of a state partition; leave out what cannot be read, and models not in use."""
        states, holds = [], {}
        for key, value in records.items():
            name = key.decode(errors="replace")
            found = None if key == MARK else decode_state(name, value)
            owner = None if found is None else owner_of(engine, found[0])
            if found is not None and owner is not None:
                states.append(found[0])
                if found[0].origin.grid == owner.origin.grid:  # else none of its readings is restored
                    holds[name] = found[1]
        return cls(decode_mark(records.get(MARK)), states, holds)

    @property
    def names(self) -> frozenset[str]:
        """The series with a snapshot."""
        return frozenset(state.name for state in self.states)

    def forgotten_in(self, resume: Resume) -> dict[str, int]:
        """Return the ends of forgotten series by the mark, if the partition is resumed from it."""
        found = {} if self.mark is None else self.mark.forgotten
        return {name: end for name, end in found.items() if name in resume.holds}


class Recovery:
    """Save the engine's state to a topic and restore it from there.

    Not thread-safe, except `num_replaying`, `is_replaying` and `replayed`.
    """

    def __init__(
        self,
        read_state: ReadState,
        topic: str,
        numbers: PartitionNumbers,
        max_replay_rows: int,
        deletions: Deletions | None = None,
    ) -> None:
        """Begin without partitions.

        Args:
            read_state: reads partitions of the state topic.
            topic: the state topic.
            numbers: of the partitions of the input, as readings have them.
            max_replay_rows: most messages of a partition that a replay may read, above 0.
            deletions: counts input that was deleted before it was read.
        """
        self._read_state, self._state, self._numbers = read_state, StateTopic(topic, numbers), numbers
        self._stride = max(1, max_replay_rows // 2)
        self._deletions = deletions or Deletions()
        self._progress, self._identity = Progress(numbers), dict[int, str]()
        self._tombstones = Tombstones(self._state)

    @property
    def num_replaying(self) -> int:
        """The number of partitions that are being replayed."""
        return self._progress.num_replaying

    @property
    def is_replaying(self) -> bool:
        """Whether some partition is being replayed."""
        return self.num_replaying > 0

    @property
    def replayed(self) -> int:
        """The number of readings that were replayed so far."""
        return self._progress.replayed

    def standing(self) -> dict[tuple[str, int], int]:
        """Return the position of every live partition."""
        return self._numbers.position(self._progress.live())

    def prepare(self, source: OffsetLog, engine: Resumable, batch: Batch) -> Batch:
        """Bring the engine to the state that precedes a batch; return the live part of the batch.

        1. Count input that was deleted before it was read.
        2. Drop the state of lost partitions.
        3. Restore the state of assigned partitions, and start reading them.
        4. Replay readings that were scored before, without output.
        """
        self._deletions.notice(batch.deleted, self._progress.replayed_until())  # 1
        self._deletions.notice_recreated(batch.recreated)
        engine.drop(batch.lost)  # 2
        for partition in batch.lost:
            self._progress.forget(partition)
            self._tombstones.lose(partition)
        if batch.assigned:  # 3
            source.read_from(self.restore(engine, source, batch.assigned, batch.tick_ns))
        silent, live = self._progress.split(batch)  # 4
        engine.note_replay(self.is_replaying)
        if silent is not None and len(silent):
            engine.step_in_silence(silent)
        return live

    def restore(
        self, engine: Resumable, log: OffsetLog, partitions: Collection[int], now_ns: int | None
    ) -> dict[int, int]:
        """Restore newly assigned partitions. The engine must not have state of them.

        Args:
            engine: receives the saved series.
            log: the offsets of the input.
            partitions: the assigned partitions.
            now_ns: the source's clock, for series that were silent meanwhile.

        Returns:
            partition -> the offset from which to read it. A partition that nobody has read yet is absent.
        """
        if not partitions:
            return {}
        started = time.monotonic()
        self._identity |= {number: one for number in partitions if (one := log.identity_of(number))}
        committed = log.committed(partitions)
        read = self._read_state(self._state.partitions(partitions))
        records = {
            number: self._state.records(number, read, self._identity.get(number, "")) for number in partitions
        }
        found = {number: Saved.of(engine, one.own) for number, one in records.items()}
        saved = _newest(found, engine)
        earliest = log.earliest(partitions)
        starts = {}
        for partition in sorted(partitions):
            self._progress.forget(partition)
            begin = _begin(
                saved[partition].mark, self._identity.get(partition, ""), earliest.get(partition, 0)
            )
            resume = begin or self._restored(
                engine, partition, saved[partition], committed.get(partition), now_ns
            )
            if resume is None:
                words = self._numbers.words(partition)
                logs.event("partition assigned: no saved state", **words, committed="nothing yet")
                continue
            resume = self._without_deleted(partition, resume, earliest.get(partition, 0))
            self._progress.begin(partition, resume, started)
            self._tombstones.begin(
                partition,
                found[partition].forgotten_in(resume),
                found[partition].names - saved[partition].names,
                records[partition].obsolete,
            )
            starts[partition] = resume.read_from
            num_series = len(saved[partition].names & resume.holds.keys())
            _log_restored(self._numbers.words(partition), resume, num_series, started)
        if any(one.is_foreign for one in records.values()):
            engine.save_all_soon()
        return starts

    def save(self, engine: Resumable, position: Position) -> list[Message]:
        """Return the state to write with a batch after which the partitions stand at `position`.

        1. Choose the series that are due.
        2. Encode a snapshot of each, with the offset up to which it contains readings.
        3. Delete the snapshots of series that were forgotten with this batch.
        4. Encode a mark of each partition of the batch, with the oldest reading that no snapshot contains.
        """
        changed = engine.changed()
        at, previous = self._progress.position, self._progress.previous
        read = self._numbers.of(position)
        moved = sum(now - previous.get(partition, now) for partition, now in read.items())
        due = series_due(changed, at, moved, self._stride)  # 1
        order = np.argsort(changed.slot[due])
        partitions = changed.partition[due][order].tolist()
        messages = []
        for state, partition in zip(engine.save(changed.slot[due]), partitions, strict=True):  # 2
            value = encode_state(state, at[partition])
            messages.append(self._state.message(partition, state.name.encode(), value))
        messages += self._tombstones.of(engine.forgotten, at)  # 3
        oldest = oldest_unsaved(changed, ~due)
        for partition in sorted(read.keys() | self._tombstones.unmarked):  # 4
            now = at[partition]
            replay_from = oldest.get(partition, now)
            forgotten = self._tombstones.mark(partition, replay_from)
            identity = self._identity.get(partition, "")
            mark = Mark(now, previous.get(partition, now), replay_from, identity, forgotten)
            messages.append(self._state.message(partition, MARK, msgspec.json.encode(mark)))
        return messages

    def _restored(
        self,
        engine: Resumable,
        partition: int,
        saved: Saved,
        committed: int | None,
        now_ns: int | None,
    ) -> Resume | None:
        """Restore the saved series; return how to resume, None for a partition that nobody has read."""
        mark = saved.mark
        at = published_until(mark, committed)
        if at is None:
            return None
        if mark is None:
            _log_no_state(self._numbers.words(partition), at, self._state.name)
            return Resume(at, at)
        if at < mark.before:
            logs.event(
                "committed offsets were set back: starting without saved state",
                logging.WARNING,
                **self._numbers.words(partition),
                committed=at,
                state_at=mark.next,
            )
            return Resume(at, at)
        try:
            engine.restore(saved.states, partition, now_ns)
        except ValueError as error:
            logs.event(
                "saved state does not fit: starting without it",
                logging.WARNING,
                **self._numbers.words(partition),
                error=str(error),
            )
            return Resume(at, at)
        return Resume(min(mark.replay_from, at), at, mark.forgotten | saved.holds)

    def _without_deleted(self, partition: int, resume: Resume, earliest: int) -> Resume:
        """Return where reading can start, given the oldest offset that retention has left."""
        if earliest <= resume.read_from:
            return resume
        self._deletions.notice({partition: (resume.read_from, earliest)}, {partition: resume.publish_from})
        return replace(resume, read_from=earliest)


def _begin(mark: Mark | None, identity: str, earliest: int) -> Resume | None:
    """Return where to begin a topic that replaced the one of the mark; None if it is the same one.

    A committed offset may be one of the old topic, so that it does not count.
    """
    if mark is None or not (mark.topic and identity) or mark.topic == identity:
        return None
    logs.event(
        "input topic was recreated: starting without saved state",
        logging.WARNING,
        state_at=mark.next,
        remedy="none needed if the topic was recreated on purpose",
    )
    return Resume(earliest, earliest)


def _newest(saved: Mapping[int, Saved], engine: Resumable) -> dict[int, Saved]:
    """Leave out snapshots of series that have moved to another partition, where a newer one lies.

    Keyed messages move when partitions are added. A series that the engine already follows stays as it is.
    """
    newest: dict[str, int] = {}
    for state in (state for one in saved.values() for state in one.states):
        newest[state.name] = max(state.watermark_ns, newest.get(state.name, state.watermark_ns))
    followed = set(known_names(engine))
    chosen = {}
    for number in sorted(saved):
        states = [
            state
            for state in saved[number].states
            if state.name not in followed and state.watermark_ns == newest[state.name]
        ]
        followed |= {state.name for state in states}
        chosen[number] = replace(saved[number], states=states)
    return chosen


def _log_no_state(words: Mapping[str, Any], committed: int, topic: str) -> None:
    logs.event(
        "no saved state, though offsets are committed: series warm up",
        logging.WARNING,
        **words,
        committed=committed,
        remedy=f"none for a new group; else see that topic {topic} has cleanup.policy=compact",
    )


def _log_restored(words: Mapping[str, Any], resume: Resume, num_series: int, started: float) -> None:
    logs.event(
        "partition assigned: state restored",
        **words,
        series=num_series,
        replay_from=resume.read_from,
        committed=resume.publish_from,
        seconds=round(time.monotonic() - started, 3),
    )
