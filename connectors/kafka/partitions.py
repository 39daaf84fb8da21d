"""Which partitions a process reads, and how far: plain transitions without a client, a clock or a lock.

`connectors.kafka.source` feeds them with what the Kafka client reports and carries out what they return.
Partitions are named by their numbers in the one topic that is read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from connectors.times import EARLIEST_NS, NS_PER_MS

NOTHING: frozenset[int] = frozenset()
_EARLIEST_MS = EARLIEST_NS // NS_PER_MS


@dataclass(frozen=True, slots=True)
class GroupView:
    """The consumer group as one poll sees it.

    held     partitions that are assigned to this process now
    lost     partitions that left this process or must start over since the last poll; some may be held again
    is_new   whether the membership changed since the last poll: the client then resumes all partitions at
             their committed offsets
    """

    held: frozenset[int]
    lost: frozenset[int] = NOTHING
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What a poll must do after the bookkeeping was updated.

    assigned   partitions that are new to the reader, and hold no state yet
    seek       partition -> offset at which the client must go on reading
    restart    partitions to read on from their committed offset: pass that to `Partitions.resume`
    usable     partitions whose records of this poll may be used; others are read again, or not ours
    """

    assigned: frozenset[int]
    seek: Mapping[int, int]
    restart: frozenset[int]
    usable: frozenset[int]


class Partitions:
    """Tracks every partition from its assignment to its loss.

        assigned --(read_from, or at once)--> started --(lost)--> forgotten

    A source that waits for `read_from` offers an assigned partition and starts it later; any other source
    starts it at once. Per partition it keeps

        first       offset of the first record fetched: where to begin if nothing was ever committed
        next        offset behind the last record handed out
        committed   the committed offset as far as this process knows
        pending     offset whose commit is still to be made, or to be repeated
    """

    def __init__(self, awaits_start: bool) -> None:
        self._awaits_start = awaits_start
        self._started: set[int] = set()
        self._offered: frozenset[int] = NOTHING
        self._first: dict[int, int] = {}
        self._next: dict[int, int] = {}
        self._committed: dict[int, int | None] = {}
        self._pending: dict[int, int] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether an assigned partition still waits for its start, and so for its saved state."""
        return bool(self._offered)

    @property
    def started(self) -> frozenset[int]:
        """The partitions that are being read."""
        return frozenset(self._started)

    def unknown(self, group: GroupView) -> frozenset[int]:
        """Return the partitions that are held now and that have no known beginning."""
        return group.held - self._started - self._first.keys()

    def follow(self, group: GroupView, fetched: Mapping[int, int]) -> Change:
        """Take in the group's present state; return what the client must do.

        1 remember where fetched partitions begin, 2 forget lost ones, 3 find those to seek, 4 start or
        offer new ones.

        Args:
            group: what this process holds and has lost.
            fetched: partition -> offset of the first record that this poll fetched, or at which to begin.
        """
        for number, offset in fetched.items():  # 1
            self._first.setdefault(number, offset)
        for number in group.lost:  # 2
            self._forget(number)
            if number not in group.held:
                self._first.pop(number, None)
        restart = NOTHING if self._awaits_start else group.lost & group.held  # 3
        seek = self._positions(group.held - restart) if group.is_new else {}
        assigned = group.held - self._started  # 4
        if self._awaits_start:
            self._offered = assigned
        else:
            self._started |= assigned
        usable = NOTHING if group.is_new else (group.held & self._started) - restart
        return Change(assigned, seek, restart, usable)

    def resume(self, committed: Mapping[int, int | None]) -> dict[int, int]:
        """Return where to read on partitions that restart: at their committed offset, else where they began.

        Args:
            committed: the committed offset of each `Change.restart`, None if nothing was ever committed.
        """
        self.note_committed(committed)
        begins = {number: self._first.get(number) if at is None else at for number, at in committed.items()}
        seek = {number: at for number, at in begins.items() if at is not None}
        self._next |= seek
        return seek

    def start(self, starts: Mapping[int, int], held: Collection[int]) -> dict[int, int | None]:
        """Start the offered partitions that are still held.

        Args:
            starts: partition -> offset to begin at; an absent one begins where it was first fetched.
            held: what is assigned to this process now.

        Returns:
            The partitions that were started, each with the offset to seek, None to stay where the client is.
        """
        begins = {number: starts.get(number, self._first.get(number)) for number in self._offered & set(held)}
        self._next |= {number: at for number, at in begins.items() if at is not None}
        self._started |= begins.keys()
        self._offered = NOTHING
        return begins

    def advance(self, behind: Mapping[int, int]) -> None:
        """Note the offsets behind what was handed out or passed over."""
        self._next |= behind

    def kept(self, group: GroupView) -> frozenset[int]:
        """Return the partitions that are being read and seem to have stayed here."""
        return (group.held & self._started) - group.lost

    def overtaken(self, committed: Mapping[int, int | None]) -> frozenset[int]:
        """Return the partitions that another process has read meanwhile: the committed offset is not ours.

        The client reports a rebalance, but not that this process was out of the group for a while.
        """
        return frozenset(number for number, at in committed.items() if at != self._committed.get(number))

    def note_committed(self, committed: Mapping[int, int | None]) -> None:
        """Note offsets that are committed, by this process or as the broker reports them."""
        self._committed |= committed

    def to_commit(self, position: Mapping[int, int]) -> dict[int, int]:
        """Return these offsets and those whose commit failed before."""
        self._pending |= position
        return dict(self._pending)

    def commit_done(self) -> None:
        """Note that everything which `to_commit` returned is committed."""
        self._committed |= self._pending
        self._pending = {}

    def _forget(self, number: int) -> None:
        self._started.discard(number)
        self._pending.pop(number, None)
        self._next.pop(number, None)
        self._committed.pop(number, None)

    def _positions(self, numbers: frozenset[int]) -> dict[int, int]:
        """Where to read on, of those that were read or fetched before."""
        known = {**self._first, **self._next}
        return {number: known[number] for number in numbers & known.keys()}


class Lag:
    """How far the reader is behind, by partition. One thread writes; any thread may read."""

    def __init__(self) -> None:
        self._messages: Mapping[int, int] = {}
        self._newest_ms: Mapping[int, int] = {}

    @property
    def messages(self) -> Mapping[int, int]:
        """Partition -> messages between the position and the end at the last `measure`."""
        return self._messages

    def seconds(self, now_ms: float) -> dict[int, float]:
        """Return partition -> age of the newest record read, 0 if nothing is left to read.

        It is 0 where nothing is left to read. A partition without a record read yet is absent, and so is one
        whose newest record is stamped before 1990.
        """
        newest = self._newest_ms
        return {
            number: max(0.0, now_ms - newest[number]) / 1e3 if messages else 0.0
            for number, messages in self._messages.items()
            if not messages or newest.get(number, -1) >= _EARLIEST_MS
        }

    def read(self, newest_ms: Mapping[int, int]) -> None:
        """Note the timestamp of the newest record read, in epoch milliseconds, -1 if it has none."""
        self._newest_ms = {**self._newest_ms, **newest_ms}

    def measure(self, positions: Mapping[int, int], ends: Mapping[int, int | None]) -> None:
        """Compare the next offsets with the ends of the partitions; an end may be unknown."""
        known = {number: end for number, end in ends.items() if end is not None}
        self._messages = {
            number: max(0, known[number] - at) for number, at in positions.items() if number in known
        }

    def forget(self, lost: Collection[int]) -> None:
        """Forget partitions that are not read here any more."""
        self._newest_ms = {number: at for number, at in self._newest_ms.items() if number not in lost}
