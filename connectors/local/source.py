"""A source without Kafka: one partition over a feed of messages, with its position in a local store.

    feed      files, standard input or a subscription of MQTT: messages in order of arrival
    source    numbers them, decodes them, and resumes where the store was committed
    store     the committed position (`connectors.local.store`)

Offsets count messages. What a restart reads again depends on the feed: see `Feed.seek`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from connectors.errors import WaitingError
from connectors.local.store import LocalStore, Segment, Step
from connectors.records import (
    Batch,
    Codec,
    Decoded,
    Membership,
    Position,
    Raw,
    RawColumns,
    StreamSource,
)

PARTITION = 0
"""The number of the only partition."""

_LONGEST_WAIT_SECONDS = 1.0


class Feed(Protocol):
    """Gives messages in order. One thread calls it; `is_connected` may be read from any."""

    def seek(self, offset: int) -> int:
        """Read on from this offset; return the offset that comes next.

        Files come again from any offset whose segment is kept. A pipe and a subscription give again only
        what this process has received since the last `committed`.
        """

    def fetch(self, first: int, limit: int, timeout_seconds: float) -> list[Raw] | None:
        """Return at most `limit` messages, numbered from `first`; None once the input has ended.

        Waits for at most about `timeout_seconds`, and returns none if nothing arrived in time.
        """

    def take_segments(self) -> Sequence[Segment]:
        """Return where the messages since the last call lie, to be committed with them."""

    def committed(self, offset: int) -> None:
        """Note that the results of everything before `offset` are out, and its state is saved."""

    def earliest(self, committed: int) -> int:
        """Return the oldest offset that `seek` can reach after a restart."""

    @property
    def is_connected(self) -> bool:
        """Whether messages can arrive now."""

    def close(self) -> None:
        """Release what the feed holds. May be called more than once."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a LocalSource reads.

    topic         the topic in positions
    max_messages  most messages of a batch
    awaits_start  read only after `read_from`, as the daemon does
    has_clock     give batches the time of this host: for inputs that are live
    ends          return None at the end of the input; otherwise `has_ended` is set, and batches are empty
    """

    topic: str
    max_messages: int = 20_000
    awaits_start: bool = False
    has_clock: bool = True
    ends: bool = True


class LocalSource:
    """A `StreamSource` over a feed. Its only partition, number 0, is assigned with the first batch.

    >>> from connectors.files.pipe import PipeFeed
    >>> from connectors.wide_json.decoder import JsonWideCodec
    >>> source = LocalSource(PipeFeed(), LocalStore(None), JsonWideCodec(("flow",)), SourceOptions("stdin"))
    """

    def __init__(self, feed: Feed, store: LocalStore, codec: Codec, options: SourceOptions) -> None:
        """Begin behind the committed position of `store`. The feed is closed with the source."""
        self._feed, self._store, self._codec, self._options = feed, store, codec, options
        self._next: int | None = None
        self._is_offered = self._is_over = False
        self._is_caught_up = self._is_closed = False
        self.has_ended = False
        self.num_rebalances = 0

    def poll(self, timeout_seconds: float) -> Batch | None:
        """Return what has arrived; empty where nothing did; None at the end of an input that ends."""
        if self._is_closed or (self.has_ended and self._options.ends and not self._is_over):
            return None
        if self.num_rebalances == 0 or self._is_over:
            return self._assign()
        if self._next is None or self.has_ended:
            time.sleep(timeout_seconds if self.has_ended else 0.0)
            return self._batch([])
        found = self._feed.fetch(self._next, self._options.max_messages, timeout_seconds)
        self._is_caught_up = not found
        if found is None:
            self.has_ended = True
            return None if self._options.ends else self._batch([])
        return self._batch(found)

    @property
    def ends(self) -> bool:
        """Whether `poll` returns None at the end of the input."""
        return self._options.ends

    def close(self) -> None:
        """Release the feed; commit nothing."""
        self._is_closed = True
        self._feed.close()

    @property
    def membership(self) -> Membership:
        """An empty membership: there is no group."""
        return Membership(None)

    @property
    def has_lost(self) -> bool:
        """Whether the next batch reports the partition as lost, after `start_over`."""
        return self._is_over

    @property
    def is_assigned(self) -> bool:
        """Whether the partition is read, and the feed is connected."""
        return self._next is not None and self._feed.is_connected and not self._is_closed

    def identity_of(self, partition: int) -> str:
        """Return nothing: the store belongs to one input."""
        return ""

    @property
    def lag(self) -> Mapping[int, int]:
        """No messages, once everything that has arrived was read; unknown before."""
        return {PARTITION: 0} if self._is_caught_up else {}

    @property
    def lag_seconds(self) -> Mapping[int, float]:
        """0, once everything that has arrived was read; unknown before."""
        return {PARTITION: 0.0} if self._is_caught_up else {}

    def read_from(self, starts: Mapping[int, int]) -> None:
        """Start reading at this offset; without one, behind the last commit."""
        if self._is_offered:
            self._is_offered = False
            self._next = self._feed.seek(starts.get(PARTITION, self._store.position or 0))

    def committed(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        """Return the committed offset, None if nothing was ever committed."""
        return dict.fromkeys(partitions, self._store.position)

    def earliest(self, partitions: Collection[int]) -> Mapping[int, int]:
        """Return the oldest offset that can still be read."""
        return dict.fromkeys(partitions, self._feed.earliest(self._store.position or 0))

    def commit(self, position: Position) -> None:
        """Commit this offset. Raises StateError."""
        if position:
            self._store.commit(self.step(position))
            self.delivered(position)

    def step(self, position: Position) -> Step:
        """Return what a commit of this position must store, beside the results."""
        at = next(iter(position.values()), None)
        oldest = self._feed.earliest(0 if at is None else at)
        return Step(position=at, segments=self._feed.take_segments(), oldest=oldest)

    def delivered(self, position: Position) -> None:
        """Note that the store has this position, and the results are out."""
        for offset in position.values():
            self._feed.committed(offset)

    def start_over(self) -> None:
        """Report the partition as lost and assigned again, and read on from the commit."""
        self._is_over = True

    def use_codec(self, codec: Codec) -> None:
        """Decode with another codec from the next `poll` on."""
        self._codec = codec

    def _assign(self) -> Batch:
        lost = frozenset({PARTITION}) if self.num_rebalances else frozenset[int]()
        self.num_rebalances += 1 - len(lost)
        self._next, self._is_over, self._is_offered = None, False, True
        self.has_ended = self._is_caught_up = False
        decoded = self._codec.decode_columns(RawColumns.of([]))
        batch = Batch(decoded.readings, tick_ns=self._now_ns(), lost=lost, assigned=frozenset({PARTITION}))
        if not self._options.awaits_start:
            self.read_from({})
        return batch

    def _batch(self, found: Sequence[Raw]) -> Batch:
        if found:
            self._next = found[-1].offset + 1
        found, decoded, seconds = self._decode(found)
        position = {(self._options.topic, PARTITION): found[-1].offset + 1} if found else {}
        return Batch(
            decoded.readings,
            decoded.rejects,
            position,
            self._now_ns(),
            unknown_values=decoded.unknown_values,
            decode_seconds=seconds,
            strangers=decoded.strangers,
        )

    def _decode(self, found: Sequence[Raw]) -> tuple[Sequence[Raw], Decoded, float]:
        """Return the messages that can be decoded now, what they are, and the seconds that this took.

        The others are read again: what they need cannot be fetched now.
        """
        while True:
            began = time.perf_counter()
            try:
                decoded = self._codec.decode_columns(RawColumns.of(found))
                return found, decoded, time.perf_counter() - began
            except WaitingError as error:
                begin = min(error.begins.values())
                self._next = self._feed.seek(begin)
                time.sleep(min(error.retry_seconds, _LONGEST_WAIT_SECONDS))
                found = [one for one in found if one.offset < begin]

    def _now_ns(self) -> int | None:
        return time.time_ns() if self._options.has_clock else None


if TYPE_CHECKING:
    _: type[StreamSource] = LocalSource
